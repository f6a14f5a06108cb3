#include "officer/digest.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "officer/save.h"

#define OWN_SOURCES STR("isod/") /* what isod tells of itself */

static int add_bytes(void *hash, struct str bytes)
{
	sha256_add(hash, bytes);
	return 0;
}

void state_digest(const struct state *s, uint8_t ret[static SHA256_BYTES])
{
	struct sha256 *hash = sha256_new();

	sha256_begin(hash);
	state_save(s, add_bytes, hash); /* which cannot fail */
	sha256_end(hash, ret);
	sha256_free(hash);
}

/* ---- the books ---- */

struct line_digest {
	uint8_t bytes[SHA256_BYTES];
};

struct books {
	const struct state *state;
	struct line_digest *lines;
	size_t count, cap;
	struct buf line;
	struct buf *set; /* its parts, sorted before they join the line */
	size_t set_count, set_cap;
};

static void line_end(struct books *b)
{
	struct str line = buf_str(&b->line);

	xgrow(&b->lines, &b->cap, b->count + 1, sizeof(*b->lines));
	sha256(&line, 1, b->lines[b->count++].bytes);
	buf_reset(&b->line);
}

/* Names come from peers: each goes with its length, so that no two lines are the same by accident. */
static void put_text(struct buf *out, const char *text)
{
	buf_printf(out, " %zu:%s", strlen(text), text);
}

static struct buf *set_add(struct books *b)
{
	if (b->set_count == b->set_cap) {
		xgrow(&b->set, &b->set_cap, b->set_count + 1, sizeof(*b->set));
		for (size_t i = b->set_count; i < b->set_cap; i++)
			buf_init(&b->set[i], 0);
	}
	struct buf *part = &b->set[b->set_count++];
	buf_reset(part);
	return part;
}

static int by_bytes(const void *x, const void *y)
{
	const struct buf *a = x, *b = y;
	int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);

	return order ? order : (a->n > b->n) - (a->n < b->n);
}

static void set_end(struct books *b, const char *name)
{
	buf_printf(&b->line, "\n%s %zu", name, b->set_count);
	if (b->set_count)
		qsort(b->set, b->set_count, sizeof(*b->set), by_bytes);
	for (size_t i = 0; i < b->set_count; i++)
		buf_add(&b->line, buf_str(&b->set[i]));
	b->set_count = 0;
}

static void put_names(struct books *b, const char *what, char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		put_text(set_add(b), names[i]);
	set_end(b, what);
}

static void put_entities(struct books *b, const Isod__V1__Incident *i)
{
	char key[ENTITY_KEY_MAX];

	if (i->n_entities >= INCIDENT_ENTITIES_MAX)
		return; /* which ones stand there is by who came first */
	for (size_t n = 0; n < i->n_entities; n++) {
		entity_key(i->entities[n], key);
		put_text(set_add(b), key);
	}
	set_end(b, "entities");
}

static void put_evidence(struct books *b, const Isod__V1__Incident *i)
{
	buf_printf(&b->line, "\nevidence of %" PRIu64, i->n_evidence + i->evidence_omitted);
	for (size_t n = 0; n < i->n_evidence && !i->evidence_omitted; n++)
		buf_printf(set_add(b), " %" PRIu32 "/%" PRIu64, i->evidence[n]->worker,
		           i->evidence[n]->sequence);
	set_end(b, "references");
}

static void put_rules(struct books *b, const Isod__V1__Incident *i)
{
	for (size_t n = 0; n < i->n_rules; n++) {
		const Isod__V1__RuleCount *rule = i->rules[n];
		struct buf *part = set_add(b);
		put_text(part, rule->rule);
		buf_printf(part, " %d %" PRIu64 " %" PRIu64 " %" PRIu64, (int)rule->level,
		           rule->count, rule->first_ns, rule->last_ns);
	}
	set_end(b, "rules");
}

/* The outbox by incident: routes that it was notified by, each once. */
struct told {
	uint64_t incident;
	const char *route;
};

static int by_incident(const void *x, const void *y)
{
	const struct told *a = x, *b = y;

	if (a->incident != b->incident)
		return a->incident < b->incident ? -1 : 1;
	return strcmp(a->route, b->route);
}

/* NULL when some have left memory: which ones is by when they came to their end, which is by the ledger's time. */
static struct told *told_new(const struct reporting_desk *d, size_t *ret_count)
{
	struct told *told;
	const Isod__V1__Notification *n;

	*ret_count = 0;
	if (d->items.held == 0 || d->items.held < d->count)
		return NULL;
	told = xcalloc(d->items.held, sizeof(*told));
	for (uint64_t id = 0; (n = reporting_next(d, &id));)
		told[(*ret_count)++] = (struct told){n->incident, n->route};
	qsort(told, *ret_count, sizeof(*told), by_incident);
	return told;
}

static void put_incidents(struct books *b)
{
	const struct incident_desk *d = &b->state->incident;
	size_t told_count, at = 0;
	struct told *told = told_new(&b->state->reporting, &told_count);
	const Isod__V1__Incident *i;

	for (uint64_t id = 0; (i = incident_next(d, &id));) {
		buf_printf(&b->line, "incident %d %d %d %" PRIu64 " %" PRIu64 " %" PRIu64,
		           (int)i->severity, (int)i->state, (int)i->disposition, i->matches,
		           i->first_ns, i->last_ns);
		put_text(&b->line, i->owner);
		put_entities(b, i);
		put_names(b, "tactics", i->tactics, i->n_tactics);
		put_names(b, "techniques", i->techniques, i->n_techniques);
		put_rules(b, i);
		put_evidence(b, i);
		for (; at < told_count && told[at].incident <= i->id; at++)
			if (told[at].incident == i->id &&
			    (at == 0 || by_incident(&told[at - 1], &told[at]) != 0))
				put_text(set_add(b), told[at].route);
		set_end(b, "routes");
		line_end(b);
	}
	free(told);
}

static void put_risk(struct books *b)
{
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&b->state->risk.entities, &at));) {
		const Isod__V1__EntityRisk *r = e->value;
		buf_printf(&b->line, "risk %" PRIu64, r->matches);
		put_text(&b->line, e->key.p);
		line_end(b);
	}
}

static void put_sources(struct books *b)
{
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&b->state->architecture.sources, &at));) {
		const Isod__V1__SourceStatus *s = e->value;
		if (str_starts(e->key, OWN_SOURCES))
			continue;
		buf_printf(&b->line,
		           "source %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		           " %" PRIu64 " %" PRIu64,
		           s->received - s->refused - s->shed, s->matched, s->unmatched,
		           s->undecoded, s->truncated, s->bytes, s->last_received_ns);
		put_text(&b->line, s->source);
		line_end(b);
	}
}

static void put_counts(struct books *b)
{
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&b->state->improvement.series, &at));) {
		const struct metric_series *m = e->value;
		if (strcmp(m->scope, "rule") != 0 && strcmp(m->scope, "severity") != 0)
			continue;
		buf_printf(&b->line, "%s %" PRIu64, m->scope, m->total);
		put_text(&b->line, m->name);
		line_end(b);
	}
	for (size_t at = 0; (e = map_next(&b->state->producers, &at));) {
		const struct producer_mark *m = e->value;
		if (m->upto == 0)
			continue; /* bound: evidence knows nothing of that */
		buf_printf(&b->line, "producer %" PRIu64, m->upto);
		put_text(&b->line, e->key.p);
		line_end(b);
	}
	buf_printf(&b->line, "matches %" PRIu64, b->state->matches);
	line_end(b);
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct line_digest));
}

void state_books_digest(const struct state *s, uint8_t ret[static SHA256_BYTES])
{
	struct books b = {.state = s};

	buf_init(&b.line, 0);
	put_incidents(&b);
	put_risk(&b);
	put_sources(&b);
	put_counts(&b);
	qsort(b.lines, b.count, sizeof(*b.lines), by_digest);
	struct str all = str_make((const char *)b.lines, b.count * sizeof(*b.lines));
	sha256(&all, 1, ret);
	for (size_t i = 0; i < b.set_cap; i++)
		buf_release(&b.set[i]);
	free(b.set);
	free(b.lines);
	buf_release(&b.line);
}
