/* The decoders behind event_decode(), one file each. Internal to event/. */
#ifndef ISOD_EVENT_DECODERS_H
#define ISOD_EVENT_DECODERS_H

#include "event/decode.h"

/* What a syslog header tells. Parts that it leaves out are STR_NONE; slices of the frame or constant. */
struct envelope {
	const char *decoder; /* "rfc5424" or "rfc3164" */
	int priority;        /* 8 * facility + severity, -1: none or out of range */
	uint64_t time_ns;    /* 0: none */
	struct str host, program, pid, msgid;
	struct str program_path; /* "/usr/sbin/cron[12]:" is the program "cron" */
	struct str pam_module;   /* "su(pam_unix)[12]:" is the program "su" */
	struct str structured;   /* RFC 5424 section 6.3, with its brackets */
	struct str body;
};

/* syslog5424.c */

/* "<PRI>" at the start: true, *s moved past it, *ret_priority the value, -1 past 191 (RFC 5424 section 6.2.1). */
bool syslog_priority(struct str *s, int *ret_priority);
bool syslog5424_parse(struct str frame, struct envelope *ret);
/* SDID.PARAM fields of what syslog5424_parse found. */
void syslog5424_put(struct event *e, struct str structured);

/* syslog3164.c */

bool syslog3164_parse(struct str frame, uint64_t received_ns, struct envelope *ret);
/* A whole log line inside a message: time, host and tag with colon must all be there. */
bool syslog_nested_parse(struct str body, uint64_t received_ns, struct envelope *ret);

/* Bodies. True when they understood and have added fields; else the event is unchanged. */

/* cef.c, leef.c: "CEF:0|…", "LEEF:1.0|…". They set event->time_ns when the body tells a time. */
bool cef_decode(struct event *e, struct str body);
bool leef_decode(struct event *e, struct str body);

/* auditd.c. `program` is the syslog tag, STR_NONE for a bare line. */
bool auditd_recognise(struct str program, struct str body);
/* The node= that such a body begins with, or STR_NONE. */
struct str auditd_node(struct str body);
bool auditd_decode(struct event *e, struct str program, struct str body);

/* eventxml.c: the Windows event log's "<Event …>…</Event>", as Sysmon for Linux and some shippers send it. */
bool eventxml_recognise(struct str body);
bool eventxml_decode(struct event *e, struct str body);

/* keyvalue.c */

struct pair {
	struct str name; /* p == NULL: a bare word, in `value` */
	struct str value;
	bool quoted;
};

/* The next of name=value, name="value" (with \" inside), name='value', word. Cuts it off *rest; false at the end.
 * Blanks, and a comma or semicolon before a blank, stand between them. */
bool pair_next(struct str *rest, struct pair *ret);
/* The value with the escapes of a quoted one undone (into the event's arena when there are any). */
struct str pair_value(struct event *e, const struct pair *p);
/* When the body is mostly pairs: all of them, derived, with the common names for those that have one. */
bool keyvalue_decode(struct event *e, struct str body);

/* patterns.c */

/* The first pattern of the program, then of any program, that fits the body. */
bool patterns_decode(const struct patterns *p, struct event *e, struct str program,
                     struct str body);

/* common.c: names that decoders agree on (event.h). */

struct alias {
	struct str from, to; /* STR_INIT("…") */
};

/* Adds a derived field of a common name. Nothing for an empty value, "-", "?" or when the event has one of
 * that name already. A src_ip or dst_ip that is no address goes to src_host or dst_host. */
void common_put(struct event *e, struct str name, struct str value, enum value_type type);
/* The same always added, as patterns want it. */
void common_add(struct event *e, struct str name, struct str value, enum value_type type);
/* For each field from `first` on with a common name in the table (ordered, `count` rows): common_put. */
void common_from_table(struct event *e, size_t first, const struct alias *table, size_t count);
/* VALUE_NUMBER if `s` is decimal digits only, else VALUE_STRING. */
enum value_type common_type(struct str s);
/* The next field of a CEF or LEEF header: up to an unescaped '|', with \\| and \\\\ undone. STR_NONE, and *rest
 * unchanged, when no '|' comes. */
struct str common_piped(struct event *e, struct str *rest);
/* The named fields of such a header, in order; some leave out the bar behind the last. False when there are too few:
 * then all fields since `first` are taken back. */
bool common_header(struct event *e, size_t first, struct str *rest, const char *const *names,
                   size_t count);
/* The event's own time: that of the first of the named fields that tells one. */
void common_time(struct event *e, const char *const *names, size_t count);
/* Without the "[12345.678901] " of the kernel's ring buffer. */
struct str common_skip_uptime(struct str s);
/* a + separator + b in the event's arena; STR_NONE at its limit, which is flagged. */
struct str common_join(struct event *e, struct str a, struct str separator, struct str b);

#endif
