/* Why a form of its own and not a copy of memory: a snapshot outlives the daemon that wrote it. It is read by newer
 * ones, on other machines, after a restore; and its digest is what two runs are compared by, so that it must not show a
 * hash seed, an address or how much memory was reserved. */
#include "officer/save.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "base/wire.h"

#define PRODUCERS_PER_PART 1000 /* their names have at most some 300 bytes */

#define CASE(kind) ISOD__V1__SNAPSHOT_PART__PART_##kind

/* ---- saving ---- */

void save_part(struct saver *to, const Isod__V1__SnapshotPart *part)
{
	if (to->error < 0)
		return;
	buf_reset(&to->part);
	to->error = wire_append(&to->part, &part->base);
	if (to->error == 0)
		to->error = to->write(to->arg, buf_str(&to->part));
	to->parts++;
}

size_t save_fit(void *const *items, size_t count)
{
	size_t n = 0, bytes = 0;

	while (n < count && n < SAVE_PART_ITEMS && bytes < SAVE_PART_BYTES)
		bytes += protobuf_c_message_get_packed_size(items[n++]);
	return n;
}

void **save_values(const struct map *m)
{
	void **values = xcalloc(m->count, sizeof(*values));
	const struct map_entry *e;
	size_t n = 0;

	for (size_t at = 0; (e = map_next(m, &at));)
		values[n++] = e->value;
	return values;
}

ProtobufCBinaryData save_bytes(struct str s)
{
	return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.p};
}

static void save_head(const struct state *s, struct saver *to)
{
	Isod__V1__SnapshotHead head = ISOD__V1__SNAPSHOT_HEAD__INIT;
	Isod__V1__SnapshotCorrelate correlate = ISOD__V1__SNAPSHOT_CORRELATE__INIT;
	SAVE_PART(part, HEAD);

	part.head = &head;
	head.format = SAVE_FORMAT;
	head.sequence = s->sequence;
	head.time_ns = s->time_ns;
	head.matches = s->matches;
	head.started_ns = s->started_ns;
	head.settings = s->settings;
	head.access_refusals = s->access.refusals;
	head.access_commands = s->access.commands;
	head.events = s->architecture.events;
	head.risk_evicted = s->risk.evicted;
	head.incident_pruned_ns = s->incident.pruned_ns;
	head.incidents = s->incident.count;
	head.incidents_overflowed = s->incident.overflowed;
	head.notifications = s->reporting.count;
	head.correlate = &correlate;
	correlate_save_head(s->correlate, &correlate);
	save_part(to, &part);
}

static void save_cursor(const struct cursor *c, uint32_t worker, struct saver *to)
{
	Isod__V1__SnapshotCursor cursor = ISOD__V1__SNAPSHOT_CURSOR__INIT;
	ProtobufCBinaryData *keys =
		xcalloc(c->matched.count < SAVE_PART_ITEMS ? c->matched.count : SAVE_PART_ITEMS,
	                sizeof(*keys));
	const struct map_entry *e;
	SAVE_PART(part, CURSOR);

	part.cursor = &cursor;
	cursor.worker = worker;
	cursor.upto = c->upto;
	cursor.seen_max = c->seen_max;
	cursor.matched = keys;
	for (size_t at = 0; (e = map_next(&c->matched, &at));) {
		if (cursor.n_matched == SAVE_PART_ITEMS) {
			save_part(to, &part);
			cursor.n_matched = 0;
		}
		keys[cursor.n_matched++] = save_bytes(e->key);
	}
	save_part(to, &part);
	free(keys);
}

static void save_producers(const struct map *producers, struct saver *to)
{
	Isod__V1__SnapshotProducers m = ISOD__V1__SNAPSHOT_PRODUCERS__INIT;
	Isod__V1__ProducerMark marks[PRODUCERS_PER_PART], *list[PRODUCERS_PER_PART];
	const struct map_entry *e;
	SAVE_PART(part, PRODUCERS);

	part.producers = &m;
	m.producers = list;
	for (size_t at = 0; (e = map_next(producers, &at));) {
		if (m.n_producers == PRODUCERS_PER_PART) {
			save_part(to, &part);
			m.n_producers = 0;
		}
		Isod__V1__ProducerMark *mark = list[m.n_producers] = &marks[m.n_producers];
		m.n_producers++;
		isod__v1__producer_mark__init(mark);
		mark->producer = (char *)(uintptr_t)e->key.p;
		const struct producer_mark *known = e->value;
		mark->upto = known->upto;
		mark->heard_ns = known->heard_ns;
		if (known->owner)
			mark->owner = known->owner;
	}
	if (m.n_producers)
		save_part(to, &part);
}

int state_save(const struct state *s, int (*write)(void *arg, struct str bytes), void *arg)
{
	struct saver to = {.write = write, .arg = arg};
	Isod__V1__SnapshotEnd end = ISOD__V1__SNAPSHOT_END__INIT;
	SAVE_PART(part, END);

	buf_init(&to.part, 0);
	save_head(s, &to);
	for (size_t i = 0; i < s->cursor_count; i++)
		save_cursor(&s->cursors[i], (uint32_t)i, &to);
	save_producers(&s->producers, &to);
	incident_save(&s->incident, &to);
	risk_save(&s->risk, &to);
	architecture_save(&s->architecture, &to);
	improvement_save(&s->improvement, &to);
	reporting_save(&s->reporting, &to);
	correlate_save(s->correlate, &to);
	part.end = &end;
	end.parts = to.parts;
	save_part(&to, &part);
	buf_release(&to.part);
	return to.error;
}

/* ---- loading ---- */

struct state_loader {
	struct state *state;
	struct correlate_loader *correlate;
	struct buf in; /* a part that has not come whole */
	uint64_t parts;
	bool ended;
	int failed;
	char error[256];
};

struct state_loader *state_loader_new(struct state *s)
{
	struct state_loader *l = xcalloc(1, sizeof(*l));

	l->state = s;
	l->correlate = correlate_loader_new(s->correlate);
	buf_init(&l->in, 0);
	return l;
}

void state_loader_free(struct state_loader *l)
{
	if (!l)
		return;
	correlate_loader_free(l->correlate);
	buf_release(&l->in);
	free(l);
}

const char *state_loader_error(const struct state_loader *l)
{
	return l->error;
}

static int fail(struct state_loader *l, int error, const char *why)
{
	snprintf(l->error, sizeof(l->error), "part %" PRIu64 ": %s", l->parts + 1, why);
	return l->failed = error;
}

static int load_head(struct state *s, Isod__V1__SnapshotHead *head)
{
	if (!head->settings || !head->correlate || head->incidents > LOAD_ID_MAX ||
	    head->notifications > LOAD_ID_MAX)
		return -EBADMSG;
	s->sequence = head->sequence;
	s->time_ns = head->time_ns;
	s->matches = head->matches;
	s->started_ns = head->started_ns;
	s->access.refusals = head->access_refusals;
	s->access.commands = head->access_commands;
	s->architecture.events = head->events;
	s->risk.evicted = head->risk_evicted;
	s->incident.pruned_ns = head->incident_pruned_ns;
	s->incident.count = head->incidents;
	s->incident.overflowed = head->incidents_overflowed;
	s->reporting.count = head->notifications;
	state_take_settings(s, head->settings);
	return correlate_load_head(s->correlate, head->correlate);
}

static int load_cursor(struct state *s, const Isod__V1__SnapshotCursor *cursor)
{
	struct cursor *c = state_cursor(s, cursor->worker);

	if (!c)
		return -EBADMSG;
	c->upto = cursor->upto;
	c->seen_max = cursor->seen_max;
	for (size_t i = 0; i < cursor->n_matched; i++)
		map_put(&c->matched,
		        str_make((const char *)cursor->matched[i].data, cursor->matched[i].len), c);
	return 0;
}

static int load_end(struct state_loader *l, const Isod__V1__SnapshotEnd *end)
{
	l->ended = true;
	return end->parts == l->parts ? correlate_loader_done(l->correlate) : -EBADMSG;
}

static int load_producers(struct state *s, const Isod__V1__SnapshotProducers *from)
{
	for (size_t i = 0; i < from->n_producers; i++) {
		const Isod__V1__ProducerMark *m = from->producers[i];
		struct str name = str_of(m->producer);
		if (map_get(&s->producers, name))
			return -EBADMSG;
		struct producer_mark *mark = xcalloc(1, sizeof(*mark));
		mark->upto = m->upto;
		/* An older isod did not say: not before the snapshot was taken. */
		mark->heard_ns = m->heard_ns ? m->heard_ns : s->time_ns;
		mark->owner = m->owner[0] ? xstrdup(m->owner) : NULL;
		map_put(&s->producers, name, mark);
	}
	return 0;
}

/* -EBADMSG when the part makes no sense where it stands. */
static int load_part(struct state_loader *l, Isod__V1__SnapshotPart *part)
{
	struct state *s = l->state;

	switch (part->part_case) {
	case CASE(HEAD): return load_head(s, part->head);
	case CASE(CURSOR): return load_cursor(s, part->cursor);
	case CASE(PRODUCERS): return load_producers(s, part->producers);
	case CASE(INCIDENTS): return incident_load(&s->incident, part->incidents);
	case CASE(INCIDENT_KEYS): return incident_load_keys(&s->incident, part->incident_keys);
	case CASE(OPENER): return incident_load_opener(&s->incident, part->opener);
	case CASE(RISK): return risk_load(&s->risk, part->risk);
	case CASE(SOURCES): return architecture_load(&s->architecture, part->sources);
	case CASE(SERIES): return improvement_load(&s->improvement, part->series);
	case CASE(NOTIFICATIONS):
		return reporting_load(&s->reporting, part->notifications, &s->incident);
	case CASE(DEFINITION): return correlate_load_definition(l->correlate, part->definition);
	case CASE(GROUPS): return correlate_load_groups(l->correlate, part->groups);
	case CASE(EXTRA): return correlate_load_extra(l->correlate, part->extra);
	case CASE(ENTRIES): return correlate_load_entries(l->correlate, part->entries);
	case CASE(END): return load_end(l, part->end);
	default: return -EBADMSG;
	}
}

static int load_body(struct state_loader *l, struct str body)
{
	Isod__V1__SnapshotPart *part =
		isod__v1__snapshot_part__unpack(NULL, body.n, (const uint8_t *)body.p);
	int r = -EBADMSG;

	if (!part)
		return fail(l, -EBADMSG, "no part of a state");
	bool head = part->part_case == CASE(HEAD);
	if (head && part->head->format > SAVE_FORMAT)
		r = fail(l, -ENOTSUP, "a newer version of isod wrote this");
	else if (l->ended)
		r = fail(l, -EBADMSG, "something follows the end");
	else if (head != (l->parts == 0))
		r = fail(l, -EBADMSG, "the head is not the first part");
	else if (load_part(l, part) < 0)
		r = fail(l, -EBADMSG, "it contradicts what came before it");
	else
		r = 0;
	isod__v1__snapshot_part__free_unpacked(part, NULL);
	l->parts++;
	return r;
}

/* Loads the whole parts at the beginning of *bytes and takes them off it. */
static int load_whole(struct state_loader *l, struct str *bytes)
{
	struct str body;
	size_t used;

	for (;;) {
		int r = wire_next(*bytes, LOAD_PART_MAX, &body, &used);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return fail(l, -EBADMSG, "its length is impossible");
		r = load_body(l, body);
		if (r < 0)
			return r;
		*bytes = str_skip(*bytes, used);
	}
}

int state_loader_feed(struct state_loader *l, struct str bytes)
{
	int r = l->failed;

	if (r == 0 && l->in.n == 0)
		r = load_whole(l, &bytes);
	if (r < 0 || bytes.n == 0)
		return r;
	buf_add(&l->in, bytes);
	struct str rest = buf_str(&l->in);
	r = load_whole(l, &rest);
	buf_consume(&l->in, l->in.n - rest.n);
	return r;
}

int state_loader_end(struct state_loader *l)
{
	if (l->failed)
		return l->failed;
	if (!l->ended || l->in.n)
		return fail(l, -EBADMSG, "the end is missing");
	return 0;
}

int state_load(struct state *s, struct str bytes, char *error, size_t error_size)
{
	struct state_loader *l = state_loader_new(s);
	int r = state_loader_feed(l, bytes);

	if (r == 0)
		r = state_loader_end(l);
	if (r < 0)
		snprintf(error, error_size, "%s", l->error);
	state_loader_free(l);
	return r;
}
