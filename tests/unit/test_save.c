/* A state that was saved and loaded is the one it was: the same bytes when saved again, and whatever comes, the same
 * effects and the same state after it. What is no state is refused with its place, never folded. */
#include <criterion/criterion.h>
#include <errno.h>

#include "base/hash.h"
#include "base/wire.h"
#include "officer/correlate_internal.h"
#include "officer/save.h"
#include "random_records.h"

static int to_buf(void *arg, struct str bytes)
{
	return buf_add(arg, bytes);
}

static struct buf save(const struct state *s)
{
	struct buf out;

	buf_init(&out, 0);
	cr_assert_eq(state_save(s, to_buf, &out), 0);
	return out;
}

static void load(struct state *s, struct str bytes)
{
	char error[256] = "";

	state_init(s);
	cr_assert_eq(state_load(s, bytes, error, sizeof(error)), 0, "%s", error);
}

static void assert_same(const struct state *a, const struct state *b, const char *when)
{
	struct buf x = save(a), y = save(b);

	cr_assert(str_eq(buf_str(&x), buf_str(&y)), "%s, after record %llu", when,
	          (unsigned long long)a->sequence);
	buf_release(&x);
	buf_release(&y);
}

/* ---- everything that effects are told, as one digest ---- */

struct heard {
	struct sha256 *hash;
	size_t count;
};

static void hear(struct heard *h, const char *what, struct str bytes)
{
	sha256_add(h->hash, str_of(what));
	sha256_add(h->hash, bytes);
	h->count++;
}

static void hear_message(struct heard *h, const char *what, const ProtobufCMessage *m)
{
	struct buf packed;

	buf_init(&packed, 0);
	wire_append(&packed, m);
	hear(h, what, buf_str(&packed));
	buf_release(&packed);
}

static void hear_dirty(void *arg, enum view_kind kind, struct str key)
{
	char text[16];

	snprintf(text, sizeof(text), "dirty %d ", (int)kind);
	hear(arg, text, key);
}

static void hear_incident(void *arg, const Isod__V1__Incident *i)
{
	hear_message(arg, "incident", &i->base);
}

static void hear_notify(void *arg, const Isod__V1__Notification *n, const Isod__V1__Incident *i)
{
	hear_message(arg, "notify", &n->base);
	hear_message(arg, "of", &i->base);
}

static void hear_evicted(void *arg, const char *correlation, uint64_t count)
{
	hear(arg, correlation, str_make((const char *)&count, sizeof(count)));
}

static struct effects heard_by(struct heard *h)
{
	h->hash = sha256_new();
	sha256_begin(h->hash);
	h->count = 0;
	return (struct effects){.arg = h,
	                        .dirty = hear_dirty,
	                        .incident = hear_incident,
	                        .notify = hear_notify,
	                        .evicted = hear_evicted};
}

static size_t same_heard(struct heard *a, struct heard *b)
{
	uint8_t x[SHA256_BYTES], y[SHA256_BYTES];

	sha256_end(a->hash, x);
	sha256_end(b->hash, y);
	sha256_free(a->hash);
	sha256_free(b->hash);
	cr_assert_eq(a->count, b->count);
	cr_assert_arr_eq(x, y, SHA256_BYTES);
	return a->count;
}

/* ---- the same ever after ---- */

#define SMALL_SHARE 1200 /* bytes of a correlation: so little that groups are evicted */

static void apply(struct state *s, const struct random_records *r, const Isod__V1__Record *record,
                  const struct effects *effects)
{
	state_apply(s, s->sequence + 1, r->now, record, effects);
	s->correlate->bytes_max = SMALL_SHARE;
}

static void run(struct state *s, struct random_records *r, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		Isod__V1__Record *record = random_next(r);
		apply(s, r, record, NULL);
		isod__v1__record__free_unpacked(record, NULL);
	}
}

/* Saves, loads, and folds `steps` more records into both. */
static void run_both(struct state *s, struct random_records *r, unsigned steps)
{
	struct buf saved = save(s);
	struct state loaded;
	struct heard heard_a, heard_b;
	const struct effects a = heard_by(&heard_a), b = heard_by(&heard_b);

	load(&loaded, buf_str(&saved));
	loaded.correlate->bytes_max = SMALL_SHARE;
	buf_release(&saved);
	assert_same(s, &loaded, "just loaded");
	for (unsigned i = 0; i < steps; i++) {
		Isod__V1__Record *record = random_next(r);
		if (record->body_case == ISOD__V1__RECORD__BODY_MATCH)
			cr_assert_eq(state_has_match(s, record->match),
			             state_has_match(&loaded, record->match));
		apply(s, r, record, &a);
		apply(&loaded, r, record, &b);
		isod__v1__record__free_unpacked(record, NULL);
		cr_assert_eq(state_next_deadline(s), state_next_deadline(&loaded));
	}
	assert_same(s, &loaded, "after the same records");
	cr_assert_gt(same_heard(&heard_a, &heard_b), 0);
	state_release(&loaded);
}

Test(save, a_loaded_state_goes_on_as_the_saved_one_would_have)
{
	uint64_t evicted = 0, results = 0, groups = 0, notified = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct state s;
		struct random_records r;
		state_init(&s);
		random_init(&r, seed, &s);
		for (unsigned part = 0; part < 6; part++) {
			run(&s, &r, 2 + (unsigned)random_below(&r, 400));
			run_both(&s, &r, 200);
		}
		evicted += correlate_evicted(s.correlate);
		groups += correlate_groups(s.correlate);
		results += s.correlate->counts.suppressed;
		notified += s.reporting.count;
		state_release(&s);
	}
	cr_assert_gt(evicted, 100, "the script makes correlations full");
	cr_assert_gt(groups, 100);
	cr_assert_gt(results, 100);
	cr_assert_gt(notified, 100);
}

Test(save, an_empty_state_is_saved_too)
{
	struct state s, loaded;

	state_init(&s);
	struct buf saved = save(&s);
	load(&loaded, buf_str(&saved));
	assert_same(&s, &loaded, "empty");
	buf_release(&saved);
	state_release(&s);
	state_release(&loaded);
}

Test(save, large_states_go_in_small_parts_and_may_come_in_any)
{
	struct state s, loaded;
	struct random_records r;
	struct str body;
	size_t used, longest = 0;

	state_init(&s);
	random_init(&r, 5, &s);
	run(&s, &r, 2);
	s.correlate->bytes_max = CORRELATE_SHARE_MAX;
	for (unsigned i = 0; i < 20000; i++) {
		Isod__V1__Record *record = random_match(&r);
		char *user = xasprintf("u%u", i);
		for (size_t f = 0; f < record->match->n_fields; f++)
			if (strcmp(record->match->fields[f]->name, "user") == 0)
				pb_set_text(&record->match->fields[f]->value, user);
		free(user);
		state_apply(&s, s.sequence + 1, r.now, record, NULL);
		isod__v1__record__free_unpacked(record, NULL);
	}
	cr_assert_gt(correlate_groups(s.correlate), 2 * SAVE_PART_ITEMS, "%zu groups",
	             correlate_groups(s.correlate));
	struct buf saved = save(&s);
	for (struct str rest = buf_str(&saved); rest.n; rest = str_skip(rest, used)) {
		cr_assert_eq(wire_next(rest, LOAD_PART_MAX, &body, &used), 0);
		longest = body.n > longest ? body.n : longest;
	}
	cr_assert_lt(longest, 4 * SAVE_PART_BYTES);
	state_init(&loaded);
	struct state_loader *l = state_loader_new(&loaded);
	for (struct str rest = buf_str(&saved); rest.n;) {
		size_t n = 1 + random_below(&r, 100000);
		cr_assert_eq(state_loader_feed(l, str_head(rest, n)), 0, "%s",
		             state_loader_error(l));
		rest = str_skip(rest, n);
	}
	cr_assert_eq(state_loader_end(l), 0, "%s", state_loader_error(l));
	state_loader_free(l);
	assert_same(&s, &loaded, "in pieces");
	buf_release(&saved);
	state_release(&s);
	state_release(&loaded);
}

/* ---- what is no state ---- */

static void refuse(struct str bytes, int expected, const char *words)
{
	struct state s;
	char error[256] = "";

	state_init(&s);
	cr_assert_eq(state_load(&s, bytes, error, sizeof(error)), expected, "%s", error);
	cr_assert_not_null(strstr(error, words), "%s", error);
	state_release(&s);
}

Test(save, what_is_cut_off_is_refused)
{
	struct state s;
	struct random_records r;
	struct str body;
	size_t used;

	state_init(&s);
	random_init(&r, 3, &s);
	run(&s, &r, 500);
	struct buf saved = save(&s);
	refuse(STR(""), -EBADMSG, "the end is missing");
	for (size_t at = 0; at < saved.n; at += used) {
		struct str rest = str_skip(buf_str(&saved), at);
		refuse(str_head(buf_str(&saved), at + 1), -EBADMSG, "the end is missing");
		cr_assert_eq(wire_next(rest, LOAD_PART_MAX, &body, &used), 0);
		if (at + used < saved.n)
			refuse(str_head(buf_str(&saved), at + used), -EBADMSG,
			       "the end is missing");
	}
	buf_putc(&saved, 0);
	refuse(buf_str(&saved), -EBADMSG, "something follows");
	buf_release(&saved);
	state_release(&s);
}

Test(save, a_part_left_out_or_doubled_is_refused)
{
	struct state s;
	struct random_records r;
	struct str body;
	size_t used;

	state_init(&s);
	random_init(&r, 4, &s);
	run(&s, &r, 500);
	struct buf saved = save(&s), changed;
	buf_init(&changed, 0);
	for (size_t at = 0; at < saved.n; at += used) {
		struct str all = buf_str(&saved), rest = str_skip(all, at);
		cr_assert_eq(wire_next(rest, LOAD_PART_MAX, &body, &used), 0);
		for (int doubled = 0; doubled < 2; doubled++) {
			buf_reset(&changed);
			buf_add(&changed, str_head(all, doubled ? at + used : at));
			buf_add(&changed, str_skip(all, doubled ? at : at + used));
			refuse(buf_str(&changed), -EBADMSG, "part ");
		}
	}
	buf_release(&changed);
	buf_release(&saved);
	state_release(&s);
}

Test(save, a_newer_format_is_told_apart_from_damage)
{
	Isod__V1__SnapshotHead head = ISOD__V1__SNAPSHOT_HEAD__INIT;
	struct buf bytes;
	SAVE_PART(part, HEAD);

	buf_init(&bytes, 0);
	part.head = &head;
	head.format = SAVE_FORMAT + 1;
	wire_append(&bytes, &part.base);
	refuse(buf_str(&bytes), -ENOTSUP, "newer version");
	buf_release(&bytes);
}

Test(save, the_first_failure_to_write_ends_the_saving)
{
	struct state s;
	struct random_records r;

	state_init(&s);
	random_init(&r, 6, &s);
	run(&s, &r, 300);
	struct buf little;
	buf_init(&little, 500);
	cr_assert_eq(state_save(&s, to_buf, &little), -ENOBUFS);
	buf_release(&little);
	state_release(&s);
}

/* As format 1 had it: the head tells no numbers. */
static struct buf older(struct str saved)
{
	struct buf out;
	struct str body;
	size_t used;

	buf_init(&out, 0);
	cr_assert_eq(wire_next(saved, LOAD_PART_MAX, &body, &used), 0);
	Isod__V1__SnapshotPart *part =
		isod__v1__snapshot_part__unpack(NULL, body.n, (const uint8_t *)body.p);
	part->head->format = 1;
	part->head->incidents = part->head->incidents_overflowed = 0;
	part->head->notifications = 0;
	cr_assert_eq(wire_append(&out, &part->base), 0);
	isod__v1__snapshot_part__free_unpacked(part, NULL);
	buf_add(&out, str_skip(saved, used));
	return out;
}

Test(save, a_state_of_format_1_is_read)
{
	struct state s, loaded;
	struct random_records r;
	char why[256];

	state_init(&s);
	random_init(&r, 11, &s);
	run(&s, &r, 2);
	s.settings->incident_kept_ns = s.settings->incident_kept_max = 0;
	s.settings->notification_kept_ns = s.settings->notification_kept_max = 0;
	for (unsigned i = 0; i < 400; i++) {
		Isod__V1__Record *record = random_match(&r);
		state_apply(&s, s.sequence + 1, r.now, record, NULL);
		isod__v1__record__free_unpacked(record, NULL);
	}
	cr_assert_gt(s.incident.count, 5);
	cr_assert_gt(s.reporting.count, 5);
	s.incident.overflowed = 0;
	struct buf saved = save(&s), old = older(buf_str(&saved));
	load(&loaded, buf_str(&old));
	assert_same(&s, &loaded, "from format 1");
	state_release(&loaded);
	/* What has gaps is no format 1. */
	free(shelf_take(&s.incident.items, 2));
	buf_release(&saved);
	buf_release(&old);
	saved = save(&s);
	old = older(buf_str(&saved));
	state_init(&loaded);
	cr_assert_eq(state_load(&loaded, buf_str(&old), why, sizeof(why)), -EBADMSG);
	state_release(&loaded);
	state_release(&s);
	buf_release(&saved);
	buf_release(&old);
}
