#include "event/decode.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "event/decoders.h"
#include "event/hec.h"
#include "event/json.h"
#include "event/stamp.h"

/* Where structured sources put the time of what happened, the surest first: UTC before what may be local. */
static const struct str time_names[] = {
	STR_INIT("@timestamp"),
	STR_INIT("timestamp"),
	STR_INIT("TimeCreated"),
	STR_INIT("Event.System.TimeCreated.#attributes.SystemTime"),
	STR_INIT("Event.System.TimeCreated.@SystemTime"),
	STR_INIT("Event.System.TimeCreated.SystemTime"),
	STR_INIT("UtcTime"),
	STR_INIT("Event.EventData.UtcTime"),
	STR_INIT("EventTime"),
	STR_INIT("eventTime"),
	STR_INIT("Timestamp"),
	STR_INIT("time"),
	STR_INIT("ts"),
	STR_INIT("__REALTIME_TIMESTAMP"),
	STR_INIT("event.created"),
	STR_INIT("eventtime"),
	STR_INIT("published"),
	STR_INIT("CreationTime"),
	STR_INIT("TimeGenerated"),
	STR_INIT("createdDateTime"),
	STR_INIT("activityDateTime"),
	STR_INIT("requestReceivedTimestamp"),
	STR_INIT("utc_time"),
	STR_INIT("created_at"),
};

/* Objects that are one log line: who wrote it and what, as the journal, rsyslog, Fluentd, Filebeat and Logstash name
 * them. */
static const struct {
	struct str program, text;
} line_names[] = {
	{STR_INIT("SYSLOG_IDENTIFIER"), STR_INIT("MESSAGE")},
	{STR_INIT("_COMM"), STR_INIT("MESSAGE")},
	{STR_INIT("programname"), STR_INIT("msg")},
	{STR_INIT("programname"), STR_INIT("message")},
	{STR_INIT("appname"), STR_INIT("message")},
	{STR_INIT("app-name"), STR_INIT("msg")},
	{STR_INIT("ident"), STR_INIT("message")},
	{STR_INIT("process.name"), STR_INIT("message")},
	{STR_INIT("program"), STR_INIT("message")},
};

struct decoder {
	const struct patterns *patterns;
	struct json *json;
	uint32_t time_hashes[ARRAY_LEN(time_names)];
	struct {
		uint32_t program, text;
	} line_hashes[ARRAY_LEN(line_names)];
};

struct decoder *decoder_new(const struct patterns *patterns)
{
	struct decoder *d = xcalloc(1, sizeof(*d));

	d->patterns = patterns;
	d->json = json_new();
	for (size_t i = 0; i < ARRAY_LEN(time_names); i++)
		d->time_hashes[i] = event_name_hash(time_names[i]);
	for (size_t i = 0; i < ARRAY_LEN(line_names); i++) {
		d->line_hashes[i].program = event_name_hash(line_names[i].program);
		d->line_hashes[i].text = event_name_hash(line_names[i].text);
	}
	return d;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	json_free(d->json);
	free(d);
}

static void time_from_fields(const struct decoder *d, struct event *e)
{
	for (size_t i = 0; i < ARRAY_LEN(time_names); i++) {
		const struct field *f = event_find_hashed(e, time_names[i], d->time_hashes[i]);
		uint64_t ns = 0;
		if (!f)
			continue;
		if (!stamp_epoch(f->value, &ns))
			stamp_parse(f->value, e->received_ns, &ns, NULL);
		if (ns) {
			e->time_ns = ns;
			return;
		}
	}
}

/* Firewalls that log pairs tell day and time apart: date=2026-11-23 time=18:00:00 tz="+0100" */
static void time_from_date(struct event *e)
{
	struct str date = event_value(e, STR("date")), time = event_value(e, STR("time"));
	struct str zone = event_value(e, STR("tz"));
	uint64_t ns = 0;

	if (!date.n || !time.n)
		return;
	struct str both = common_join(e, date, STR(" "), time);
	if (both.p && zone.n)
		both = common_join(e, both, STR(""), zone);
	if (both.p && stamp_parse(both, e->received_ns, &ns, NULL))
		e->time_ns = ns;
}

static const struct str facilities[] = {
	STR_INIT("kern"),   STR_INIT("user"),     STR_INIT("mail"),     STR_INIT("daemon"),
	STR_INIT("auth"),   STR_INIT("syslog"),   STR_INIT("lpr"),      STR_INIT("news"),
	STR_INIT("uucp"),   STR_INIT("cron"),     STR_INIT("authpriv"), STR_INIT("ftp"),
	STR_INIT("ntp"),    STR_INIT("security"), STR_INIT("console"),  STR_INIT("clock"),
	STR_INIT("local0"), STR_INIT("local1"),   STR_INIT("local2"),   STR_INIT("local3"),
	STR_INIT("local4"), STR_INIT("local5"),   STR_INIT("local6"),   STR_INIT("local7"),
};

static const struct str severities[] = {
	STR_INIT("emerg"),   STR_INIT("alert"),  STR_INIT("crit"), STR_INIT("err"),
	STR_INIT("warning"), STR_INIT("notice"), STR_INIT("info"), STR_INIT("debug"),
};

/* An object that holds a log line: its parts as if the line had come by itself. */
static void line_in_object(const struct decoder *d, struct event *e)
{
	for (size_t i = 0; d->patterns && i < ARRAY_LEN(line_names); i++) {
		const struct field *program =
			event_find_hashed(e, line_names[i].program, d->line_hashes[i].program);
		const struct field *text =
			program ? event_find_hashed(e, line_names[i].text, d->line_hashes[i].text)
				: NULL;
		if (text && patterns_decode(d->patterns, e, program->value, text->value))
			return;
	}
}

/* A body's decoder. The first that understands has it. */
struct body_decoder {
	const char *name;
	bool (*decode)(struct decoder *d, struct event *e, const struct envelope *v);
};

static bool body_json(struct decoder *d, struct event *e, const struct envelope *v)
{
	struct str text = v->body;

	if (str_starts(text, STR("@cee:")))
		text = str_trim(str_skip(text, 5));
	if (text.n == 0 || (text.p[0] != '{' && text.p[0] != '[') || !json_decode(d->json, e, text))
		return false;
	time_from_fields(d, e);
	line_in_object(d, e);
	return true;
}

static bool body_cef(struct decoder *d, struct event *e, const struct envelope *v)
{
	(void)d;
	return cef_decode(e, v->body);
}

static bool body_leef(struct decoder *d, struct event *e, const struct envelope *v)
{
	(void)d;
	return leef_decode(e, v->body);
}

static bool body_auditd(struct decoder *d, struct event *e, const struct envelope *v)
{
	(void)d;
	return auditd_decode(e, v->program, v->body);
}

static bool body_eventxml(struct decoder *d, struct event *e, const struct envelope *v)
{
	if (!eventxml_decode(e, v->body))
		return false;
	time_from_fields(d, e);
	return true;
}

static bool body_patterns(struct decoder *d, struct event *e, const struct envelope *v)
{
	if (!d->patterns ||
	    !patterns_decode(d->patterns, e, v->program, common_skip_uptime(v->body)))
		return false;
	if (!v->time_ns)
		time_from_fields(d, e);
	return true;
}

static bool body_keyvalue(struct decoder *d, struct event *e, const struct envelope *v)
{
	if (!keyvalue_decode(e, common_skip_uptime(v->body)))
		return false;
	if (!v->time_ns)
		time_from_fields(d, e);
	if (!v->time_ns && !e->time_ns)
		time_from_date(e);
	return true;
}

/* Patterns stand before key=value: what a pattern knows by name is better than what it looks like. */
static const struct body_decoder bodies[] = {
	{"json", body_json},         {"cef", body_cef},           {"leef", body_leef},
	{"auditd", body_auditd},     {"eventxml", body_eventxml}, {"patterns", body_patterns},
	{"keyvalue", body_keyvalue},
};

static void put_part(struct event *e, struct str name, struct str value)
{
	if (value.n)
		event_put(e, name, value, common_type(value));
}

static void put_text(struct event *e, struct str name, struct str value)
{
	if (value.n)
		event_put(e, name, value, VALUE_STRING);
}

/* What a header may be made of at most: whole log lines in messages of relays in messages of relays. */
#define NESTED_MAX 3

/* Takes a log line out of the message of whoever shipped it; the outermost sender is the relay. */
static void unwrap(struct event *e, struct envelope *v)
{
	struct envelope inner, outer = *v;

	for (int i = 0; i < NESTED_MAX; i++) {
		if (!syslog_nested_parse(v->body, e->received_ns, &inner))
			break;
		if (inner.priority < 0)
			inner.priority = v->priority;
		if (!inner.structured.p)
			inner.structured = v->structured;
		*v = inner;
	}
	if (v->body.p == outer.body.p)
		return;
	put_text(e, STR("relay.host"), outer.host);
	put_text(e, STR("relay.program"), outer.program);
}

static void put_envelope(struct event *e, struct envelope *v)
{
	bool audit = auditd_recognise(v->program, v->body);
	struct str node = audit ? auditd_node(v->body) : STR_NONE;

	/* An audit record names the machine and the process it is about; the header, who passed it on. */
	if (node.n) {
		put_text(e, STR("relay.host"), v->host);
		v->host = node;
	}
	put_text(e, STR("host"), v->host);
	put_text(e, STR("program"), v->program);
	if (!audit)
		put_part(e, STR("pid"), v->pid);
	put_text(e, STR("program_path"), v->program_path);
	put_text(e, STR("pam_module"), v->pam_module);
	put_text(e, STR("msgid"), v->msgid);
	if (v->priority >= 0) {
		put_text(e, STR("facility"), facilities[v->priority / 8]);
		put_text(e, STR("severity"), severities[v->priority % 8]);
	}
	syslog5424_put(e, v->structured);
}

/* What senders leave around a frame: a byte order mark, blanks and NULs. */
static struct str trim_frame(struct str s)
{
	if (str_starts(s, STR("\xef\xbb\xbf")))
		s = str_skip(s, 3);
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r' || s.p[0] == '\n'))
		s = str_skip(s, 1);
	while (s.n && (s.p[s.n - 1] == '\0' || s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

static bool parse_envelope(struct event *e, struct str frame, struct envelope *ret)
{
	if (!syslog5424_parse(frame, ret) && !syslog3164_parse(frame, e->received_ns, ret)) {
		*ret = (struct envelope){.priority = -1, .body = frame};
		return false;
	}
	unwrap(e, ret);
	e->decoder = ret->decoder;
	e->time_ns = ret->time_ns;
	e->message = ret->body;
	return true;
}

static const char *decode_body(struct decoder *d, struct event *e, const struct envelope *v)
{
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		if (bodies[i].decode(d, e, v))
			return bodies[i].name;
	return NULL;
}

/* `frame`: the whole, or a line that stood in it. */
static void decode_line(struct decoder *d, struct event *e, struct str frame)
{
	struct str trimmed = trim_frame(frame);
	struct envelope v;

	e->message = frame;
	bool syslog = parse_envelope(e, trimmed, &v);
	if (syslog || auditd_recognise(STR_NONE, v.body))
		put_envelope(e, &v);
	const char *body = decode_body(d, e, &v);
	if (body)
		e->decoder = body;
	/* JSON brings its own members, and its text is in event->raw. */
	if (!body || strcmp(body, "json") != 0)
		event_put(e, STR("message"), syslog || body ? v.body : frame, VALUE_STRING);
	if (!syslog && !body)
		e->flags |= EVENT_UNDECODED;
	/* simdjson has looked at what it decoded. */
	bool checked = body && !syslog && strcmp(body, "json") == 0;
	if (!checked)
		e->flags &=
			~(uint32_t)
				EVENT_JSON; /* the envelope's fields do not stand in the frame as they are */
	if (!checked && (!utf8_valid(trimmed) || str_find(trimmed, '\0') >= 0))
		e->flags |= EVENT_BAD_UTF8;
}

/* What came through an HTTP Event Collector: see event/hec.h. */
static void decode_hec(struct decoder *d, struct event *e, struct str frame)
{
	struct hec_envelope h;

	if (!hec_unwrap(d->json, e, frame, &h)) {
		decode_line(d, e, frame);
		return;
	}
	if (h.is_text) {
		decode_line(d, e, h.text);
	} else {
		hec_put_members(e, &h);
		e->decoder = "json";
		time_from_fields(d, e);
		line_in_object(d, e);
	}
	hec_put_rest(e, &h);
	/* Values stand in the frame, but not always as the members of one object that is the frame. */
	e->flags &= ~(uint32_t)EVENT_JSON;
}

void event_decode(struct decoder *d, struct event *e, struct str frame)
{
	e->raw = e->message = frame;
	if (e->meta.n)
		decode_hec(d, e, frame);
	else
		decode_line(d, e, frame);
	if (!e->time_ns)
		e->flags |= EVENT_NO_TIME;
}
