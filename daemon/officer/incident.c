/* Why grouping goes by the strongest entity only: every match on a busy server shares its host with every other, and
 * every password guesser tries root. Grouping by whatever is shared would weld all attackers of a night into one
 * incident; grouping by nothing would page a thousand times. So an address binds first; a user binds only through
 * what that user did (not through guesses at the name); the host binds what tells nothing else. */
#include "officer/incident.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "base/utf8.h"
#include "officer/save.h"

#define PRUNES_PER_WINDOW 16  /* of by_entity, when it is full */
#define TIMELINE_TEXT_MAX 400 /* bytes of one entry: title and the beginning of the message */
#define LINE_BYTES        64  /* of the processor's cache, on most */

#define LEVEL(x) ISOD__V1__LEVEL__LEVEL_##x
#define STATE(x) ISOD__V1__INCIDENT_STATE__INCIDENT_##x

/* The latest incidents that one rule opened, and the storm that its further ones fold into. */
struct opener {
	uint64_t opened_ns[INCIDENTS_PER_RULE]; /* a ring */
	unsigned next;
	uint64_t storm; /* incident id, 0: none */
};

static void free_opener(void *p)
{
	free(p);
}

static void free_item(void *p)
{
	struct incident_item *item = p;

	isod__v1__incident__free_unpacked(item->incident, NULL);
	free(item);
}

void incident_init(struct incident_desk *d, uint64_t seed)
{
	*d = (struct incident_desk){0};
	map_init_seed(&d->by_entity, seed);
	map_init(&d->by_rule);
}

void incident_release(struct incident_desk *d)
{
	shelf_release(&d->items, free_item);
	departures_release(&d->closed);
	map_release(&d->by_entity, NULL);
	map_release(&d->by_rule, free_opener);
}

static Isod__V1__Incident *incident_at(const struct incident_desk *d, uint64_t id)
{
	const struct incident_item *item = shelf_get(&d->items, id);

	return item ? item->incident : NULL;
}

static struct incident_glance *glance_of(const struct incident_desk *d, uint64_t id)
{
	return &((struct incident_item *)shelf_get(&d->items, id))->glance;
}

const Isod__V1__Incident *incident_get(const struct incident_desk *d, uint64_t id)
{
	return incident_at(d, id);
}

const Isod__V1__Incident *incident_next(const struct incident_desk *d, uint64_t *id)
{
	const struct incident_item *item = shelf_next(&d->items, id);

	return item ? item->incident : NULL;
}

bool incident_is_open(const Isod__V1__Incident *i)
{
	return i->state < STATE(CLOSED);
}

/* ---- grouping ---- */

static bool joinable(const Isod__V1__Incident *i, const struct step *s)
{
	return i && incident_is_open(i) &&
	       s->time_ns - i->changed_ns <= s->settings->incident_window_ns;
}

static Isod__V1__Incident *find_by_entity(const struct incident_desk *d, const struct step *s,
                                          const struct entity_at *at)
{
	uint64_t id = (uintptr_t)map_get_at(&d->by_entity, at->key, at->hash);
	Isod__V1__Incident *i = incident_at(d, id);

	return joinable(i, s) ? i : NULL;
}

/* What fails from an address may be a stranger's guess at the name; what fails without one was tried by the user. */
static bool user_binds(const Isod__V1__Match *m)
{
	return strcmp(m->outcome, "failure") != 0 ||
	       !match_entity(m, ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS);
}

static const struct entity_at *first_of(const Isod__V1__Match *m, const struct match_at *at,
                                        Isod__V1__EntityKind kind)
{
	for (size_t i = 0; i < m->n_entities; i++)
		if (m->entities[i]->kind == kind)
			return &at->entities[i];
	return NULL;
}

static Isod__V1__Incident *incident_find(const struct incident_desk *d, const struct step *s,
                                         const Isod__V1__Match *m, const struct match_at *at)
{
	const struct entity_at *address = first_of(m, at, ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS);
	const struct entity_at *user = first_of(m, at, ISOD__V1__ENTITY_KIND__ENTITY_USER);
	const struct entity_at *host = first_of(m, at, ISOD__V1__ENTITY_KIND__ENTITY_HOST);
	Isod__V1__Incident *i = address ? find_by_entity(d, s, address) : NULL;

	if (!i && user && user_binds(m))
		i = find_by_entity(d, s, user);
	if (!i && host && !address && !user)
		i = find_by_entity(d, s, host);
	return i;
}

/* Drops what points at incidents that nothing can join any more. */
static void prune_keys(struct incident_desk *d, const struct step *s)
{
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&d->by_entity, &at));)
		if (!joinable(incident_at(d, (uintptr_t)e->value), s))
			map_remove(&d->by_entity, e->key);
}

static void remember(struct incident_desk *d, const struct step *s, const struct entity_at *at,
                     uint64_t id)
{
	/* Looking through all of them costs: not again before some may have become stale. */
	if (d->by_entity.count >= INCIDENT_KEYS_MAX &&
	    s->time_ns - d->pruned_ns >= s->settings->incident_window_ns / PRUNES_PER_WINDOW) {
		prune_keys(d, s);
		d->pruned_ns = s->time_ns;
	}
	if (d->by_entity.count < INCIDENT_KEYS_MAX)
		map_put_at(&d->by_entity, at->key, at->hash, (void *)(uintptr_t)id);
}

/* ---- what a match adds to an incident ---- */

/* Notes the entity. False if it was certainly not noted before. */
static bool note_entity(struct incident_desk *d, uint64_t id, uint64_t hash)
{
	uint64_t bit = UINT64_C(1) << (hash & 63);
	uint64_t *word = &glance_of(d, id)->entities[(hash >> 6) % ENTITY_WORDS];
	bool maybe = *word & bit;

	*word |= bit;
	return maybe;
}

static bool has_entity(const Isod__V1__Incident *i, const Isod__V1__Entity *e)
{
	for (size_t n = 0; n < i->n_entities; n++)
		if (i->entities[n]->kind == e->kind && strcmp(i->entities[n]->name, e->name) == 0)
			return true;
	return false;
}

static void add_entities(struct incident_desk *d, Isod__V1__Incident *i, const Isod__V1__Match *m,
                         const struct match_at *match)
{
	for (size_t a = 0; a < m->n_entities && i->n_entities < INCIDENT_ENTITIES_MAX; a++) {
		const Isod__V1__Entity *e = m->entities[a];
		const struct entity_at *at = &match->entities[a];
		/* Whatever points at this incident went through here before. */
		if ((uintptr_t)map_get_at(&d->by_entity, at->key, at->hash) == i->id ||
		    (note_entity(d, i->id, at->hash) && has_entity(i, e)))
			continue;
		Isod__V1__Entity **to = pb_add(&i->entities, &i->n_entities, sizeof(*to));
		*to = xmalloc(sizeof(**to));
		isod__v1__entity__init(*to);
		(*to)->kind = e->kind;
		pb_set_text(&(*to)->name, e->name);
	}
}

static void add_name(char ***names, size_t *count, const char *name)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp((*names)[i], name) == 0)
			return;
	pb_add_text(names, count, name);
}

/* "attack.t1110.001" is technique T1110.001; "attack.credential-access" or "…_access" a tactic;
 * "attack.g0007" and "attack.s0002" (groups, software) are neither. */
static void add_tags(Isod__V1__Incident *i, const Isod__V1__Match *m)
{
	for (size_t t = 0; t < m->n_tags; t++) {
		struct str tag = str_of(m->tags[t]);
		char name[64];
		if (!str_starts(tag, STR("attack.")) || tag.n - 7 >= sizeof(name) || tag.n == 7)
			continue;
		memcpy(name, tag.p + 7, tag.n - 6);
		bool numbered = isdigit((unsigned char)name[1]);
		for (char *c = name; *c; c++)
			*c = numbered ? (char)toupper((unsigned char)*c) : (*c == '_' ? '-' : *c);
		if (!numbered)
			add_name(&i->tactics, &i->n_tactics, name);
		else if (name[0] == 'T' && i->n_techniques < INCIDENT_ENTITIES_MAX)
			add_name(&i->techniques, &i->n_techniques, name);
	}
}

static uint64_t *highest_of(struct incident_desk *d, const Isod__V1__Incident *i, uint32_t worker)
{
	return &glance_of(d, i->id)->highest[worker % EVIDENCE_SLOTS];
}

static bool has_evidence(const Isod__V1__Incident *i, const Isod__V1__EvidenceRef *ref)
{
	for (size_t e = i->n_evidence; e-- > 0;)
		if (i->evidence[e]->sequence == ref->sequence &&
		    i->evidence[e]->worker == ref->worker)
			return true; /* several rules held for one frame */
	return false;
}

static void add_evidence_ref(struct incident_desk *d, Isod__V1__Incident *i,
                             const Isod__V1__EvidenceRef *ref)
{
	if (!ref || !ref->sequence)
		return;
	uint64_t *highest = highest_of(d, i, ref->worker);
	if (ref->sequence <= *highest && has_evidence(i, ref))
		return;
	if (i->n_evidence >= INCIDENT_EVIDENCE_MAX) {
		i->evidence_omitted++;
		return;
	}
	Isod__V1__EvidenceRef **at = pb_add(&i->evidence, &i->n_evidence, sizeof(*at));
	*at = xmalloc(sizeof(**at));
	isod__v1__evidence_ref__init(*at);
	(*at)->worker = ref->worker;
	(*at)->sequence = ref->sequence;
	*highest = ref->sequence > *highest ? ref->sequence : *highest;
}

static void add_evidence(struct incident_desk *d, Isod__V1__Incident *i, const Isod__V1__Match *m)
{
	for (size_t c = 0; c < m->n_contributing; c++)
		add_evidence_ref(d, i, m->contributing[c]);
	if (m->n_contributing == 0)
		add_evidence_ref(d, i, m->evidence);
}

static uint8_t *rule_hint(const struct incident_desk *d, const Isod__V1__Incident *i, uint64_t hash)
{
	return &glance_of(d, i->id)->rules[hash % RULE_HINTS];
}

/* The rule's count in the incident, or NULL. */
static Isod__V1__RuleCount *find_rule(const struct incident_desk *d, const Isod__V1__Incident *i,
                                      const char *rule, uint64_t hash)
{
	uint8_t hint = *rule_hint(d, i, hash);

	if (hint == 0)
		return NULL;
	if (hint < RULE_ANYWHERE && strcmp(i->rules[hint - 1]->rule, rule) == 0)
		return i->rules[hint - 1];
	for (size_t r = 0; r < i->n_rules; r++)
		if (strcmp(i->rules[r]->rule, rule) == 0)
			return i->rules[r];
	return NULL;
}

/* The incident's rule at `place` has this hash. */
static void note_rule(const struct incident_desk *d, const Isod__V1__Incident *i, size_t place,
                      uint64_t hash)
{
	*rule_hint(d, i, hash) = place + 1 < RULE_ANYWHERE ? (uint8_t)(place + 1) : RULE_ANYWHERE;
}

static void add_rule(struct incident_desk *d, Isod__V1__Incident *i, const Isod__V1__Match *m,
                     uint64_t hash, uint64_t when)
{
	Isod__V1__RuleCount *rule = find_rule(d, i, m->rule, hash);

	if (!rule) {
		Isod__V1__RuleCount **at = pb_add(&i->rules, &i->n_rules, sizeof(*at));
		rule = *at = xmalloc(sizeof(*rule));
		isod__v1__rule_count__init(rule);
		pb_set_text(&rule->rule, m->rule);
		pb_set_text(&rule->title, m->title);
		rule->level = m->level;
		rule->first_ns = when;
		note_rule(d, i, i->n_rules - 1, hash);
	}
	rule->count++;
	rule->first_ns = when < rule->first_ns ? when : rule->first_ns;
	rule->last_ns = when > rule->last_ns ? when : rule->last_ns;
}

/* The entry to fill, or NULL past the limit (then it is counted). */
static Isod__V1__TimelineEntry *timeline_add(Isod__V1__Incident *i, uint64_t when)
{
	if (i->n_timeline >= INCIDENT_TIMELINE_MAX) {
		i->timeline_omitted++;
		return NULL;
	}
	Isod__V1__TimelineEntry **at = pb_add(&i->timeline, &i->n_timeline, sizeof(*at));
	*at = xmalloc(sizeof(**at));
	isod__v1__timeline_entry__init(*at);
	(*at)->time_ns = when;
	(*at)->count = 1;
	return *at;
}

static void timeline_match(Isod__V1__Incident *i, const Isod__V1__Match *m, uint64_t when)
{
	Isod__V1__TimelineEntry *last = i->n_timeline ? i->timeline[i->n_timeline - 1] : NULL;

	if (last && !i->timeline_omitted && strcmp(last->rule, m->rule) == 0) {
		last->count++;
		return;
	}
	Isod__V1__TimelineEntry *entry = timeline_add(i, when);
	if (!entry)
		return;
	char *text = m->summary[0] ? xasprintf("%s: %s", m->title, m->summary) : xstrdup(m->title);
	pb_set(&entry->text, utf8_cut(str_of(text), TIMELINE_TEXT_MAX));
	free(text);
	pb_set_text(&entry->rule, m->rule);
	if (m->evidence)
		entry->evidence = pb_copy(&m->evidence->base);
}

static void timeline_note(Isod__V1__Incident *i, const struct step *s, const char *who,
                          const char *what, const char *note)
{
	Isod__V1__TimelineEntry *entry = timeline_add(i, s->time_ns);

	if (!entry)
		return;
	char *text = note[0] ? xasprintf("%s: %s", what, note) : xstrdup(what);
	pb_set(&entry->text, utf8_cut(str_of(text), TIMELINE_TEXT_MAX));
	free(text);
	pb_set_text(&entry->who, who);
}

/* ---- opening ---- */

static void set_title(Isod__V1__Incident *i, const Isod__V1__Match *m, bool storm)
{
	static const Isod__V1__EntityKind strongest[] = {ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS,
	                                                 ISOD__V1__ENTITY_KIND__ENTITY_USER,
	                                                 ISOD__V1__ENTITY_KIND__ENTITY_HOST};
	const Isod__V1__Entity *e = NULL;

	for (size_t k = 0; k < ARRAY_LEN(strongest) && !e; k++)
		e = match_entity(m, strongest[k]);
	char *text = storm ? xasprintf("Storm: %s", m->title)
	             : e   ? xasprintf("%s (%s)", m->title, e->name)
	                   : xstrdup(m->title);
	pb_set_text(&i->title, text);
	free(text);
}

static void append(struct incident_desk *d, Isod__V1__Incident *i)
{
	struct incident_item *item = xcalloc(1, sizeof(*item));

	item->incident = i;
	shelf_put(&d->items, i->id, item);
	if (d->count < i->id)
		d->count = i->id;
}

static Isod__V1__Incident *incident_new(struct incident_desk *d, const struct step *s)
{
	Isod__V1__Incident *i = xmalloc(sizeof(*i));

	isod__v1__incident__init(i);
	i->id = d->count + 1;
	append(d, i);
	d->open++;
	i->state = STATE(DETECTED);
	i->opened_ns = s->time_ns;
	return i;
}

static struct opener *opener_get(struct incident_desk *d, const char *rule)
{
	struct opener *o = map_get(&d->by_rule, str_of(rule));

	if (!o) {
		o = xcalloc(1, sizeof(*o));
		map_put(&d->by_rule, str_of(rule), o);
	}
	return o;
}

/* A new incident for the match, or the storm that its rule's further incidents fold into. */
static Isod__V1__Incident *incident_open(struct incident_desk *d, const struct step *s,
                                         const Isod__V1__Match *m, bool *ret_storm)
{
	struct opener *o = opener_get(d, m->rule);
	uint64_t oldest = o->opened_ns[o->next];

	Isod__V1__Incident *storm = incident_at(d, o->storm);
	bool full = s->settings->incident_open_max && d->open >= s->settings->incident_open_max;

	d->overflowed += full;
	*ret_storm = full || (oldest && s->time_ns - oldest <= s->settings->incident_window_ns);
	if (*ret_storm && (joinable(storm, s) || (full && storm && incident_is_open(storm))))
		return storm;
	Isod__V1__Incident *i = incident_new(d, s);
	if (full)
		timeline_note(i, s, "isod", "incidents.open_max are open",
		              "what this rule finds gathers here until some are closed");
	if (*ret_storm) {
		o->storm = i->id;
		return i;
	}
	o->opened_ns[o->next] = s->time_ns;
	o->next = (o->next + 1) % INCIDENTS_PER_RULE;
	return i;
}

/* "opened", "severity raised to …" or NULL; sets severity and title. */
static const char *judge(Isod__V1__Incident *i, const Isod__V1__Match *m, bool storm)
{
	static const char *const raised[] = {NULL,
	                                     NULL,
	                                     "severity raised to low",
	                                     "severity raised to medium",
	                                     "severity raised to high",
	                                     "severity raised to critical"};
	bool fresh = i->matches == 0;

	if (!fresh && m->level <= i->severity)
		return NULL;
	i->severity = m->level;
	set_title(i, m, storm);
	return fresh ? "opened" : raised[m->level];
}

const Isod__V1__Incident *incident_on_match(struct incident_desk *d, const struct step *s,
                                            const Isod__V1__Match *m, const struct match_at *at,
                                            const char **ret_reason)
{
	Isod__V1__Incident *i = incident_find(d, s, m, at);
	uint64_t when = match_time(m, s->settings);
	bool storm = false;

	*ret_reason = NULL;
	if ((unsigned)m->level > LEVEL(CRITICAL))
		return NULL;
	if (!i && m->level < s->settings->incident_open_level)
		return NULL;
	if (!i)
		i = incident_open(d, s, m, &storm);
	*ret_reason = judge(i, m, storm);
	i->matches++;
	i->changed_ns = s->time_ns;
	if (!i->first_ns || when < i->first_ns)
		i->first_ns = when;
	if (when > i->last_ns)
		i->last_ns = when;
	add_entities(d, i, m, at);
	add_tags(i, m);
	add_evidence(d, i, m);
	add_rule(d, i, m, at->rule, when);
	timeline_match(i, m, when);
	/* A storm gathers strangers: what they share is the rule, so their entities bind nothing to it. */
	for (size_t e = 0; e < m->n_entities && !storm; e++)
		if (m->entities[e]->kind != ISOD__V1__ENTITY_KIND__ENTITY_USER || user_binds(m))
			remember(d, s, &at->entities[e], i->id);
	step_dirty_id(s, VIEW_INCIDENT, i->id);
	if (s->effects->incident)
		s->effects->incident(s->effects->arg, i);
	return i;
}

static void fetch(const void *p, size_t size)
{
	for (size_t at = 0; at < size; at += LINE_BYTES)
		__builtin_prefetch((const char *)p + at, 1);
}

/* Where the rule may stand, or NULL. */
static Isod__V1__RuleCount **rule_guess(const struct incident_desk *d, const Isod__V1__Incident *i,
                                        const struct match_at *at)
{
	uint8_t hint = *rule_hint(d, i, at->rule);

	return hint && hint < RULE_ANYWHERE ? &i->rules[hint - 1] : NULL;
}

static void fetch_parts(const struct incident_desk *d, const Isod__V1__Incident *i,
                        const struct match_at *at, int round)
{
	Isod__V1__RuleCount **rule = rule_guess(d, i, at);
	Isod__V1__TimelineEntry **last = i->n_timeline ? i->timeline + i->n_timeline - 1 : NULL;
	char **technique = i->n_techniques ? i->techniques : NULL;

	switch (round) {
	case 2:
		__builtin_prefetch(rule);
		__builtin_prefetch(last);
		__builtin_prefetch(technique);
		break;
	case 3:
		if (rule)
			fetch(*rule, sizeof(**rule));
		if (last)
			fetch(*last, sizeof(**last));
		__builtin_prefetch(technique ? *technique : NULL);
		break;
	default:
		__builtin_prefetch(rule ? (*rule)->rule : NULL);
		__builtin_prefetch(last ? (*last)->rule : NULL);
		break;
	}
}

void incident_fetch(const struct incident_desk *d, const struct map_entry *e,
                    const struct match_at *at, int round)
{
	const struct incident_item *item = shelf_get(&d->items, (uintptr_t)e->value);

	if (!item)
		return;
	if (round == 0)
		fetch(item, sizeof(*item));
	else if (round == 1)
		fetch(item->incident, sizeof(*item->incident));
	else
		fetch_parts(d, item->incident, at, round);
}

/* ---- commands ---- */

static uint64_t command_target(const Isod__V1__Command *c)
{
	switch (c->action_case) {
	case ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE: return c->acknowledge->incident;
	case ISOD__V1__COMMAND__ACTION_CLOSE: return c->close->incident;
	default: return 0;
	}
}

int incident_check(const struct incident_desk *d, const Isod__V1__Command *c)
{
	const Isod__V1__Incident *i = incident_get(d, command_target(c));

	if (!i)
		return -ENOENT;
	if (c->action_case == ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE && i->state != STATE(DETECTED))
		return -EALREADY;
	return incident_is_open(i) ? 0 : -EALREADY;
}

static void acknowledge(Isod__V1__Incident *i, const struct step *s, const Isod__V1__Command *c)
{
	i->state = STATE(TRIAGED);
	i->acknowledged_ns = s->time_ns;
	pb_set_text(&i->owner, c->user);
	timeline_note(i, s, c->user, "acknowledged", c->acknowledge->note);
}

static void close_incident(struct incident_desk *d, Isod__V1__Incident *i, const struct step *s,
                           const Isod__V1__Command *c)
{
	static const char *const as[] = {"closed", "closed as true positive",
	                                 "closed as false positive", "closed as benign",
	                                 "closed as duplicate"};
	unsigned disposition = c->close->disposition;

	i->state = STATE(CLOSED);
	i->closed_ns = s->time_ns;
	i->disposition = c->close->disposition;
	pb_set_text(&i->note, c->close->note);
	timeline_note(i, s, c->user, as[disposition < ARRAY_LEN(as) ? disposition : 0],
	              c->close->note);
	d->open--;
	departures_add(&d->closed, i->closed_ns, i->id);
}

const Isod__V1__Incident *incident_on_command(struct incident_desk *d, const struct step *s,
                                              const Isod__V1__Command *c)
{
	if (incident_check(d, c) < 0)
		return NULL;
	Isod__V1__Incident *i = incident_at(d, command_target(c));

	if (c->action_case == ISOD__V1__COMMAND__ACTION_ACKNOWLEDGE)
		acknowledge(i, s, c);
	else
		close_incident(d, i, s, c);
	i->changed_ns = s->time_ns;
	step_dirty_id(s, VIEW_INCIDENT, i->id);
	if (s->effects->incident)
		s->effects->incident(s->effects->arg, i);
	return i;
}

void incident_on_clock(struct incident_desk *d, const struct step *s)
{
	uint64_t id;

	while ((id = departures_next(&d->closed, s->time_ns, s->settings->incident_kept_ns,
	                             s->settings->incident_kept_max))) {
		free_item(shelf_take(&d->items, id));
		step_dirty_id(s, VIEW_INCIDENT, id);
	}
}

/* ---- saved ---- */

static void save_keys(const struct incident_desk *d, struct saver *to)
{
	Isod__V1__SnapshotIncidentKeys m = ISOD__V1__SNAPSHOT_INCIDENT_KEYS__INIT;
	ProtobufCBinaryData keys[SAVE_PART_ITEMS / 8];
	uint64_t ids[ARRAY_LEN(keys)];
	const struct map_entry *e;
	SAVE_PART(part, INCIDENT_KEYS);

	part.incident_keys = &m;
	m.keys = keys;
	m.incidents = ids;
	for (size_t at = 0; (e = map_next(&d->by_entity, &at));) {
		if (m.n_keys == ARRAY_LEN(keys)) {
			save_part(to, &part);
			m.n_keys = 0;
		}
		keys[m.n_keys] = save_bytes(e->key);
		ids[m.n_keys++] = (uintptr_t)e->value;
		m.n_incidents = m.n_keys;
	}
	if (m.n_keys)
		save_part(to, &part);
}

static void save_openers(const struct incident_desk *d, struct saver *to)
{
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&d->by_rule, &at));) {
		Isod__V1__SnapshotOpener m = ISOD__V1__SNAPSHOT_OPENER__INIT;
		struct opener *o = e->value;
		SAVE_PART(part, OPENER);
		part.opener = &m;
		m.rule = save_bytes(e->key);
		m.n_opened_ns = INCIDENTS_PER_RULE;
		m.opened_ns = o->opened_ns;
		m.next = o->next;
		m.storm = o->storm;
		save_part(to, &part);
	}
}

void incident_save(const struct incident_desk *d, struct saver *to)
{
	Isod__V1__SnapshotIncidents m = ISOD__V1__SNAPSHOT_INCIDENTS__INIT;
	SAVE_PART(part, INCIDENTS);

	Isod__V1__Incident **all = xcalloc(d->items.held, sizeof(Isod__V1__Incident *));
	const Isod__V1__Incident *i;
	size_t count = 0;

	for (uint64_t id = 0; (i = incident_next(d, &id));)
		all[count++] = (Isod__V1__Incident *)(uintptr_t)i;
	part.incidents = &m;
	for (size_t at = 0; at < count; at += m.n_incidents) {
		m.incidents = all + at;
		m.n_incidents = save_fit((void *const *)m.incidents, count - at);
		save_part(to, &part);
	}
	free(all);
	save_keys(d, to);
	save_openers(d, to);
}

static void glance(struct incident_desk *d, const Isod__V1__Incident *i)
{
	char text[ENTITY_KEY_MAX];

	for (size_t n = 0; n < i->n_evidence; n++) {
		uint64_t *highest = highest_of(d, i, i->evidence[n]->worker);
		if (i->evidence[n]->sequence > *highest)
			*highest = i->evidence[n]->sequence;
	}
	for (size_t n = 0; n < i->n_rules; n++)
		note_rule(d, i, n, map_hash(0, str_of(i->rules[n]->rule)));
	for (size_t n = 0; n < i->n_entities; n++)
		note_entity(d, i->id,
		            map_hash(d->by_entity.seed, entity_key(i->entities[n], text)));
}

/* Ids rise. The head told the highest that there can be; in format 1 they have no gaps, and it told nothing. */
static bool id_follows(const struct incident_desk *d, uint64_t id)
{
	return id > d->loaded && (id <= d->count || (d->loaded == d->count && id == d->count + 1));
}

int incident_load(struct incident_desk *d, Isod__V1__SnapshotIncidents *from)
{
	for (size_t n = 0; n < from->n_incidents; n++) {
		Isod__V1__Incident *i = from->incidents[n];
		if (!id_follows(d, i->id))
			return -EBADMSG;
		from->incidents[n] = NULL;
		pb_open(&i->base);
		append(d, i);
		d->loaded = i->id;
		d->open += incident_is_open(i);
		if (!incident_is_open(i))
			departures_add(&d->closed, i->closed_ns, i->id);
		glance(d, i);
	}
	return 0;
}

int incident_load_keys(struct incident_desk *d, const Isod__V1__SnapshotIncidentKeys *from)
{
	if (from->n_keys != from->n_incidents)
		return -EBADMSG;
	for (size_t i = 0; i < from->n_keys; i++) {
		if (from->incidents[i] == 0 || from->incidents[i] > d->count)
			return -EBADMSG;
		map_put(&d->by_entity,
		        str_make((const char *)from->keys[i].data, from->keys[i].len),
		        (void *)(uintptr_t)from->incidents[i]);
	}
	return 0;
}

int incident_load_opener(struct incident_desk *d, const Isod__V1__SnapshotOpener *from)
{
	struct str rule = str_make((const char *)from->rule.data, from->rule.len);

	if (from->n_opened_ns != INCIDENTS_PER_RULE || from->next >= INCIDENTS_PER_RULE ||
	    from->storm > d->count || map_get(&d->by_rule, rule))
		return -EBADMSG;
	struct opener *o = xcalloc(1, sizeof(*o));
	memcpy(o->opened_ns, from->opened_ns, sizeof(o->opened_ns));
	o->next = from->next;
	o->storm = from->storm;
	map_put(&d->by_rule, rule, o);
	return 0;
}
