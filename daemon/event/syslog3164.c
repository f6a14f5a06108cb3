/* RFC 3164 describes what was seen, and devices have gone on from there: each part of the header may be missing
 * or written in another way. So each part is recognised by its own shape, and what is no header is message:
 *   [<PRI>] [sequence:] [host:] [*]time[:] [host] [tag[pid]:] message
 * A frame needs a priority or a time to count as syslog at all. */
#include "base/chars.h"
#include "base/mem.h"
#include "base/net.h"
#include "event/decoders.h"
#include "event/stamp.h"

#define HOST_MAX      255
#define TAG_MAX       128 /* RFC 3164 says 32; systemd units and paths are longer */
#define TAG_WORDS_MAX 4
#define SEQUENCES_MAX 2 /* Cisco IOS sends up to two message counters before the time */

static struct str skip_space(struct str s)
{
	return str_skip(s, char_run(s, CHAR_SPACE));
}

static struct str first_word(struct str s)
{
	return str_head(s, char_run_not(s, CHAR_SPACE));
}

static bool last_is(struct str s, char c)
{
	return s.n && s.p[s.n - 1] == c;
}

/* Bodies that other decoders know by their start: no host or tag stands there. */
static bool begins_body(struct str s)
{
	switch (s.n ? s.p[0] : 0) {
	case '{': return true;
	case '[': return str_starts(s, STR("[{"));
	case '@': return str_starts(s, STR("@cee:"));
	case 'C': return str_starts(s, STR("CEF:"));
	case 'L': return str_starts(s, STR("LEEF:"));
	case 't': return str_starts(s, STR("type="));
	case 'n': return str_starts(s, STR("node="));
	case '<': return str_starts(s, STR("<Event"));
	default: return false;
	}
}

/* Words that stand where a host would, in what is written without one. */
static bool is_no_host(struct str w)
{
	static const struct str words[] = {
		STR_INIT("last"),    STR_INIT("message"), STR_INIT("INFO"),    STR_INIT("WARN"),
		STR_INIT("WARNING"), STR_INIT("stdout"),  STR_INIT("stderr"),  STR_INIT("ERROR"),
		STR_INIT("DEBUG"),   STR_INIT("TRACE"),   STR_INIT("FATAL"),   STR_INIT("NOTICE"),
		STR_INIT("[INFO]"),  STR_INIT("[WARN]"),  STR_INIT("[ERROR]"), STR_INIT("CRITICAL"),
		STR_INIT("SEVERE"),
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(w, words[i]))
			return true;
	return false;
}

static struct str unbracket(struct str w)
{
	return w.n > 2 && w.p[0] == '[' && last_is(w, ']') ? str_make(w.p + 1, w.n - 2) : w;
}

static bool is_host(struct str w)
{
	if (w.n == 0 || w.n > HOST_MAX)
		return false;
	if (net_is_address(unbracket(w), NULL))
		return true;
	return (char_is(w.p[0], CHAR_ALNUM) || w.p[0] == '_') &&
	       char_run(w, CHAR_HOST | CHAR_HOST_TOO) == w.n && !last_is(w, ':');
}

/* One word that may be a tag: some letter in it, nothing that only text has. */
static bool is_tag_word(struct str w)
{
	if (w.n == 0 || w.n > TAG_MAX || w.p[0] == '[' || w.p[0] == '(')
		return false;
	return char_run(w, CHAR_TAG) == w.n && char_run_not(w, CHAR_ALPHA) < w.n;
}

static bool is_version(struct str w)
{
	for (size_t i = 0; i < w.n; i++)
		if (!char_is(w.p[i], CHAR_DIGIT) && w.p[i] != '.')
			return false;
	return w.n && char_is(w.p[0], CHAR_DIGIT);
}

/* "name[123]" */
static bool has_pid(struct str w)
{
	ptrdiff_t open = str_find(w, '[');
	return open > 0 && last_is(w, ']') && (size_t)open + 2 < w.n;
}

/* "My App[12]:", "syslogd 1.4.1:", "-- root[2421]:": several words, but with the marks of a tag. */
static size_t tag_of_words(struct str s)
{
	struct str area = str_head(s, TAG_MAX);
	ptrdiff_t colon = str_find(area, ':');
	size_t words = 0;
	struct str last = STR_NONE;

	if (colon <= 0 || ((size_t)colon + 1 < s.n && !char_is(s.p[colon + 1], CHAR_SPACE)))
		return 0;
	struct str rest = skip_space(str_head(s, (size_t)colon));
	for (; rest.n; rest = skip_space(rest)) {
		last = first_word(rest);
		rest = str_skip(rest, last.n);
		words++;
		if (char_run(last, CHAR_TAG) < last.n)
			return 0;
	}
	if (words < 2 || words > TAG_WORDS_MAX || net_is_address(first_word(s), NULL))
		return 0;
	bool marked = has_pid(last) || (last.n > 2 && last.p[0] == '[' && last_is(last, ']')) ||
	              (words == 2 && is_version(last));
	return marked ? (size_t)colon : 0;
}

struct tag {
	struct str text; /* without the colon */
	struct str body;
	bool colon;
};

/* Length of the tag that the word `w` begins with, without its colon; 0: none. */
static size_t tag_of_word(struct str w)
{
	ptrdiff_t close = str_search(w, STR("]:"));

	if (close > 0 && has_pid(str_head(w, (size_t)close + 1)) &&
	    is_tag_word(str_head(w, (size_t)close + 1)))
		return (size_t)close + 1;
	if (last_is(w, ':') && is_tag_word(str_head(w, w.n - 1)))
		return w.n - 1;
	return has_pid(w) && is_tag_word(w) ? w.n : 0;
}

static bool tag_of(struct str s, struct tag *ret)
{
	struct str w = first_word(s);
	size_t n = tag_of_word(w);

	ret->colon = true;
	if (n == 0)
		n = tag_of_words(s);
	if (n == 0)
		return false;
	ret->text = str_head(s, n);
	struct str rest = str_skip(s, n);
	if (n == w.n && has_pid(w)) {
		struct str colon = skip_space(rest);
		ret->colon = colon.n && colon.p[0] == ':';
		rest = ret->colon ? colon : rest;
	}
	ret->body = skip_space(ret->colon ? str_skip(rest, 1) : rest);
	return true;
}

/* Program, process id, path and PAM module out of a tag. */
static void split_tag(struct str tag, struct envelope *v)
{
	if (last_is(tag, ']')) {
		ptrdiff_t open = str_find(tag, '[');
		/* GDM calls its own processes "gdm-password]". */
		if (open < 0)
			tag.n--;
		if (open >= 0) {
			v->pid = str_make(tag.p + open + 1, tag.n - (size_t)open - 2);
			tag = str_trim(str_head(tag, (size_t)open));
		}
	}
	ptrdiff_t paren = str_search(tag, STR("(pam_"));
	if (paren > 0 && last_is(tag, ')')) {
		v->pam_module = str_make(tag.p + paren + 1, tag.n - (size_t)paren - 2);
		tag = str_head(tag, (size_t)paren);
	}
	/* "syslogd 1.4.1:" */
	struct str name = first_word(tag), version = skip_space(str_skip(tag, name.n));
	if (is_version(version))
		tag = name;
	if (str_starts(tag, STR("-- ")))
		tag = skip_space(str_skip(tag, 3));
	if (tag.n > 1 && tag.p[0] == '%')
		v->msgid = str_skip(tag, 1);
	if (tag.n > 1 && tag.p[0] == '/' && !last_is(tag, '/')) {
		size_t base = tag.n;
		while (tag.p[base - 1] != '/')
			base--;
		v->program_path = tag;
		tag = str_skip(tag, base);
	}
	v->program = tag;
}

/* A relay that put its own word, without a colon, before a whole log line (rsyslog's imfile with a bare tag). */
static bool tag_before_line(struct str s, uint64_t received_ns, struct envelope *v)
{
	struct envelope inner;
	struct str w = first_word(s), rest = skip_space(str_skip(s, w.n));

	if (last_is(w, ':'))
		w.n--;
	if (!is_tag_word(w) || !syslog_nested_parse(rest, received_ns, &inner))
		return false;
	split_tag(w, v);
	v->body = rest;
	return true;
}

/* AIX relays name the sender behind their own name: "Message forwarded from HOST: sshd[1]: …". */
static struct str forwarded_by_aix(struct str s, struct envelope *v)
{
	const struct str mark = STR("Message forwarded from ");

	if (!str_starts(s, mark))
		return s;
	struct str rest = str_skip(s, mark.n), w = first_word(rest);
	if (!last_is(w, ':') || !is_host(str_head(w, w.n - 1)))
		return s;
	v->host = str_head(w, w.n - 1);
	return skip_space(str_skip(rest, w.n));
}

/* Host, tag and message behind the time. */
static void host_and_tag(struct str s, uint64_t received_ns, struct envelope *v)
{
	struct envelope inner;
	struct tag tag;

	s = skip_space(s);
	struct str w = first_word(s), after = skip_space(str_skip(s, w.n));
	v->body = s;
	if (begins_body(s) || syslog_nested_parse(s, received_ns, &inner))
		return;
	/* A tag of several words leaves its first word to be the host. */
	bool tagged = tag_of_word(w) && !net_is_address(w, NULL);
	struct str named = last_is(w, ':') ? str_head(w, w.n - 1) : STR_NONE;
	/* "router1: %SYS-5-CONFIG_I: …", "10.0.0.1: …" */
	if (is_host(named) && (str_starts(after, STR("%")) || net_is_address(named, NULL))) {
		v->host = named;
		s = after;
	} else if (!tagged && after.n && is_host(w) && !is_no_host(w)) {
		v->host = unbracket(w);
		s = after;
		/* "asa01 : %ASA-6-302013: …" */
		if (str_starts(s, STR(": ")))
			s = skip_space(str_skip(s, 1));
	}
	s = forwarded_by_aix(s, v);
	v->body = s;
	if (begins_body(s) || tag_before_line(s, received_ns, v))
		return;
	if (tag_of(s, &tag)) {
		split_tag(tag.text, v);
		v->body = tag.body;
	}
}

/* No time: a host is told from a tag of several words only by a tag with a process id behind it. */
static void host_without_time(struct str s, struct envelope *v)
{
	struct tag tag;
	struct str w = first_word(s), after = skip_space(str_skip(s, w.n));

	v->body = s;
	if (begins_body(s))
		return;
	struct str second = first_word(after);
	ptrdiff_t close = str_search(second, STR("]:"));
	if (is_host(w) && close > 0 && has_pid(str_head(second, (size_t)close + 1))) {
		v->host = w;
		s = after;
	}
	v->body = s;
	if (tag_of(s, &tag)) {
		split_tag(tag.text, v);
		v->body = tag.body;
	}
}

static bool time_of(struct str *s, uint64_t received_ns, uint64_t *ret_ns)
{
	struct str at = skip_space(*s);
	size_t used;

	if (at.n && (at.p[0] == '*' || at.p[0] == '.'))
		at = str_skip(at, 1);
	if (!stamp_parse(at, received_ns, ret_ns, &used))
		return false;
	at = str_skip(at, used);
	if (at.n && at.p[0] == ':')
		at = str_skip(at, 1);
	*s = at;
	return true;
}

/* "29: 000123: ": a Cisco's counters of messages. */
static struct str skip_counters(struct str at)
{
	for (int i = 0; i < SEQUENCES_MAX; i++) {
		size_t n = 0;
		while (n < at.n && char_is(at.p[n], CHAR_DIGIT))
			n++;
		if (n == 0 || n + 1 >= at.n || at.p[n] != ':' || at.p[n + 1] != ' ')
			break;
		at = skip_space(str_skip(at, n + 1));
	}
	return at;
}

/* Cisco IOS: "<189>29: 000123: *Nov 23 18:00:00.123 UTC: %SYS-5-…", with `logging origin-id` "<189>29: router1:
 * 000123: …"; an ASA in EMBLEM format: "<165>:Nov 23 18:00:00 UTC: %ASA-…" */
static bool counters_and_time(struct str *s, uint64_t received_ns, struct envelope *v)
{
	struct str at = skip_counters(str_starts(*s, STR(":")) ? str_skip(*s, 1) : *s);

	if (time_of(&at, received_ns, &v->time_ns)) {
		*s = at;
		return true;
	}
	struct str w = first_word(at), rest = skip_counters(skip_space(str_skip(at, w.n)));
	if (last_is(w, ':') && is_host(str_head(w, w.n - 1)) &&
	    time_of(&rest, received_ns, &v->time_ns)) {
		v->host = str_head(w, w.n - 1);
		*s = rest;
		return true;
	}
	if (at.n && at.p[0] == '%')
		*s = at;
	return false;
}

bool syslog3164_parse(struct str frame, uint64_t received_ns, struct envelope *ret)
{
	struct envelope v = {.decoder = "rfc3164", .priority = -1};
	struct str s = frame;

	bool has_priority = syslog_priority(&s, &v.priority);
	if (!has_priority) {
		if (!time_of(&s, received_ns, &v.time_ns))
			return false;
		if (s.n && !char_is(s.p[0], CHAR_SPACE))
			return false;
		host_and_tag(s, received_ns, &v);
	} else if (counters_and_time(&s, received_ns, &v)) {
		struct str host = v.host;
		host_and_tag(s, received_ns, &v);
		if (host.p)
			v.host = host;
	} else {
		host_without_time(skip_space(s), &v);
	}
	*ret = v;
	return true;
}

bool syslog_nested_parse(struct str body, uint64_t received_ns, struct envelope *ret)
{
	int priority = -1;
	uint64_t time_ns;
	struct tag tag;
	struct str s = body;

	if (syslog_priority(&s, &priority)) {
		struct envelope v;
		if (syslog5424_parse(body, &v) && v.host.p && v.program.p && v.time_ns) {
			*ret = v;
			return true;
		}
	}
	if (!time_of(&s, received_ns, &time_ns) || time_ns == 0 || s.n == 0 || s.p[0] != ' ')
		return false;
	s = skip_space(s);
	struct str w = first_word(s);
	if (!is_host(w) || has_pid(w) || is_no_host(w))
		return false;
	s = skip_space(str_skip(s, w.n));
	if (!tag_of(s, &tag) || !tag.colon)
		return false;
	*ret = (struct envelope){
		.decoder = "rfc3164",
		.priority = priority,
		.time_ns = time_ns,
		.host = unbracket(w),
		.body = tag.body,
	};
	split_tag(tag.text, ret);
	return true;
}
