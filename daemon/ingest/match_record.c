/* What goes into a match is what the officer can ever know of the event: entities to group by, the fields that
 * correlations and the rule's author ask for, a line for people. Everything else stays in evidence, which the record
 * points to. Peers choose the values, so each has a limit, and all become valid UTF-8 before protobuf sees them. */
#include "ingest/match_record.h"

#include "base/net.h"
#include "base/utf8.h"

/* Where an event tells of an entity, best first: the decoders' own names, then those of Windows events. */
static const char *const user_fields[] = {"user", "User", "TargetUserName", "SubjectUserName",
                                          NULL};
static const char *const host_fields[] = {"host", "Computer", "Hostname", "ComputerName", NULL};
static const char *const address_fields[] = {"src_ip", "IpAddress", NULL};

/* Accounts that every Windows machine has: they name nobody. */
static const char *const machine_accounts[] = {"SYSTEM", "LOCAL SERVICE", "NETWORK SERVICE",
                                               "ANONYMOUS LOGON", NULL};
static const char *const machine_domains[] = {"NT AUTHORITY\\", "Window Manager\\",
                                              "Font Driver Host\\", NULL};

void match_record_init(struct match_record *r)
{
	*r = (struct match_record){0};
	arena_init(&r->event_arena, 0);
	arena_init(&r->rule_arena, 0);
	buf_init(&r->text, 0);
}

void match_record_release(struct match_record *r)
{
	arena_release(&r->event_arena);
	arena_release(&r->rule_arena);
	buf_release(&r->text);
}

/* A terminated copy of at most `max` bytes that protobuf accepts. */
static char *text_of(struct match_record *r, struct arena *a, struct str s, size_t max)
{
	s = utf8_cut(s, max);
	if (utf8_valid(s) && str_find(s, '\0') < 0)
		return arena_strdup(a, s);
	buf_reset(&r->text);
	utf8_repair(&r->text, s);
	return arena_strdup(a, utf8_cut(buf_str(&r->text), max));
}

/* ---- entities ---- */

static bool is_nothing(struct str s)
{
	return s.n == 0 || str_eq(s, STR("-")) || str_ieq(s, STR("(unknown)"));
}

static bool is_machine_account(struct str s)
{
	if (s.n && s.p[s.n - 1] == '$')
		return true;
	for (size_t i = 0; machine_accounts[i]; i++)
		if (str_ieq(s, str_of(machine_accounts[i])))
			return true;
	for (size_t i = 0; machine_domains[i]; i++) {
		struct str domain = str_of(machine_domains[i]);
		if (s.n >= domain.n && str_ieq(str_head(s, domain.n), domain))
			return true;
	}
	return false;
}

static bool is_user(struct str s)
{
	return !is_nothing(s) && !is_machine_account(s);
}

static bool is_host(struct str s)
{
	return !is_nothing(s);
}

static bool is_remote(struct str s)
{
	return net_is_address(s, NULL) && !net_is_local(s);
}

/* The first value under any of `names` that is `good`, or STR_NONE. */
static struct str first_of(const struct event *e, const char *const *names,
                           bool (*good)(struct str))
{
	for (; *names; names++) {
		const struct field *f = event_find(e, str_of(*names));
		for (; f; f = event_next(e, f)) {
			struct str value = str_trim(f->value);
			if (good(value))
				return value;
		}
	}
	return STR_NONE;
}

static void add_entity(struct match_record *r, Isod__V1__EntityKind kind, char *name)
{
	Isod__V1__Entity *entity = &r->entities[r->match.n_entities];

	isod__v1__entity__init(entity);
	entity->kind = kind;
	entity->name = name;
	r->entity_list[r->match.n_entities++] = entity;
}

/* An account without a domain of its own is local to its host. */
static char *user_at_host(struct match_record *r, struct str user, struct str host)
{
	bool has_domain = str_find(user, '\\') >= 0 || str_find(user, '@') >= 0;
	char *name = text_of(r, &r->event_arena, user, MATCH_NAME_MAX);

	if (has_domain || !host.p)
		return name;
	char *where = text_of(r, &r->event_arena, host, MATCH_NAME_MAX);
	buf_reset(&r->text);
	buf_printf(&r->text, "%s@%s", name, where);
	return arena_strdup(&r->event_arena, buf_str(&r->text));
}

static void add_entities(struct match_record *r, const struct event *e)
{
	struct str user = first_of(e, user_fields, is_user);
	struct str host = first_of(e, host_fields, is_host);
	struct str address = first_of(e, address_fields, is_remote);
	char canonical[NET_TEXT_MAX];

	if (user.p)
		add_entity(r, ISOD__V1__ENTITY_KIND__ENTITY_USER, user_at_host(r, user, host));
	if (host.p)
		add_entity(r, ISOD__V1__ENTITY_KIND__ENTITY_HOST,
		           text_of(r, &r->event_arena, host, MATCH_NAME_MAX));
	if (address.p && net_is_address(address, canonical))
		add_entity(r, ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS,
		           arena_strdup(&r->event_arena, str_of(canonical)));
	r->match.entities = r->entity_list;
}

/* ---- the record ---- */

void match_record_event(struct match_record *r, const struct event *e, uint32_t worker,
                        uint64_t sequence)
{
	Isod__V1__Match *m = &r->match;
	struct str outcome = event_value(e, STR("outcome"));

	arena_reset(&r->event_arena);
	isod__v1__evidence_ref__init(&r->evidence);
	r->evidence.worker = worker;
	r->evidence.sequence = sequence;
	isod__v1__match__init(m);
	m->evidence = &r->evidence;
	m->event_time_ns = e->time_ns;
	m->received_ns = e->received_ns;
	m->source = text_of(r, &r->event_arena, e->source, MATCH_NAME_MAX);
	m->summary = text_of(r, &r->event_arena, e->message, MATCH_SUMMARY_MAX);
	if (str_eq(outcome, STR("failure")) || str_eq(outcome, STR("success")))
		m->outcome = arena_strdup(&r->event_arena, outcome);
	add_entities(r, e);
}

static bool has_field(const Isod__V1__Match *m, const char *name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (strcmp(m->fields[i]->name, name) == 0)
			return true;
	return false;
}

/* Adds those of `names` that the event has. *bytes: what they have taken so far. */
static void add_fields(struct match_record *r, const struct event *e, const struct str *names,
                       size_t count, size_t *bytes)
{
	Isod__V1__Match *m = &r->match;

	for (size_t i = 0; i < count; i++) {
		const struct field *f = event_find(e, names[i]);
		if (!f)
			continue;
		char *name = text_of(r, &r->rule_arena, names[i], MATCH_NAME_MAX);
		char *value = text_of(r, &r->rule_arena, f->value, MATCH_VALUE_MAX);
		size_t size = strlen(name) + strlen(value);
		if (has_field(m, name) || *bytes + size > MATCH_FIELDS_BYTES)
			continue;
		Isod__V1__Field *field = arena_alloc(&r->rule_arena, sizeof(*field));
		isod__v1__field__init(field);
		field->name = name;
		field->value = value;
		m->fields[m->n_fields++] = field;
		*bytes += size;
	}
}

const Isod__V1__Record *match_record_rule(struct match_record *r, const struct event *e,
                                          const struct rule *rule)
{
	Isod__V1__Match *m = &r->match;
	size_t tags = rule->tag_count < MATCH_TAGS_MAX ? rule->tag_count : MATCH_TAGS_MAX;
	size_t fields = rule->group_field_count + rule->field_count, bytes = 0;

	arena_reset(&r->rule_arena);
	m->rule = text_of(r, &r->rule_arena, rule->id, MATCH_TITLE_MAX);
	m->title = text_of(r, &r->rule_arena, rule->title, MATCH_TITLE_MAX);
	m->level = rule->level;
	m->silent = rule->silent;
	m->tags = arena_alloc(&r->rule_arena, (tags + 1) * sizeof(*m->tags));
	m->n_tags = tags;
	for (size_t i = 0; i < tags; i++)
		m->tags[i] = text_of(r, &r->rule_arena, rule->tags[i], MATCH_NAME_MAX);
	m->fields = arena_alloc(&r->rule_arena, (fields + 1) * sizeof(*m->fields));
	m->n_fields = 0;
	/* What correlations group by comes first: the budget must not run out before it. */
	add_fields(r, e, rule->group_fields, rule->group_field_count, &bytes);
	add_fields(r, e, rule->fields, rule->field_count, &bytes);
	isod__v1__record__init(&r->record);
	r->record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	r->record.match = m;
	return &r->record;
}
