/* One security event: flat fields, each a name and a value, in an arena that is reused for the next event.
 *
 * Names may repeat: an array of values is several fields of one name (Sigma: any of them may match). Nested
 * structures are flattened with dots. Names that decoders agree on (others keep the source's own):
 *   host program pid facility severity msgid message user src_ip src_port dst_ip dst_port protocol method
 *   outcome ("success"|"failure") command target_user tty uid gid session
 * Slices point into the frame or the arena: nothing outlives event_reset. */
#ifndef ISOD_EVENT_EVENT_H
#define ISOD_EVENT_EVENT_H

#include "base/arena.h"
#include "base/buf.h"

#define EVENT_FIELDS_MAX 4096 /* the widest real event seen has 320; past this: counted, left out */
#define EVENT_ARENA_MAX  ((size_t)8 << 20) /* 64 KiB frames flatten to a few times their size */
#define EVENT_DEPTH_MAX  32 /* levels of nested JSON; below it the rest stays as text */

enum value_type { VALUE_STRING, VALUE_NUMBER, VALUE_BOOL, VALUE_NULL };

struct field {
	struct str name;
	struct str value; /* a number as it was written; "true"/"false"; "" for null */
	uint32_t hash;    /* of the name: event_name_hash() */
	uint16_t next;    /* chain in the index, EVENT_NO_FIELD at the end */
	uint8_t type;     /* enum value_type */
	uint8_t derived; /* 1: a second name or a part for another field's value; keyword searches skip it */
};

#define EVENT_NO_FIELD UINT16_MAX
#define EVENT_BUCKETS  256

enum event_flag {
	EVENT_TRUNCATED = 1 << 0,  /* the frame was longer than the limit and was cut */
	EVENT_UNDECODED = 1 << 1,  /* no decoder understood it: only the raw text is there */
	EVENT_NO_TIME = 1 << 2,    /* it told no time of its own that could be read */
	EVENT_INCOMPLETE = 1 << 3, /* fields past a limit were left out */
	EVENT_BAD_UTF8 = 1 << 4,
	/* The frame is one JSON text: every value that is not derived stands in it, as it is but for short escapes
	   (\n, \", \\ …). */
	EVENT_JSON = 1 << 5,
};

struct event {
	struct arena arena;
	struct field *fields;
	size_t count, cap;
	uint16_t buckets[EVENT_BUCKETS];
	uint16_t tails
		[EVENT_BUCKETS]; /* last field of each chain, so that many fields of one name stay cheap */
	uint32_t flags;
	struct str raw;       /* the whole frame */
	struct str message;   /* the text a person would read: the syslog body, or the raw frame */
	struct str source;    /* LISTENER/PEER, set by the caller of event_decode */
	struct str meta;      /* what came around the frame, set likewise: event/hec.h */
	uint64_t time_ns;     /* its own time; 0 with EVENT_NO_TIME */
	uint64_t received_ns; /* set by the caller of event_decode */
	const char *decoder; /* name of the last decoder that understood it ("rfc3164", "json" …) */
};

/* Not event_init, and below event_put instead of event_add: libevent exports those two names, and a program's own
 * definition would take the library's place inside the library. (`struct event` is also its tag for an opaque
 * type: a file that needs <event2/event_struct.h> must not include this header.) */
void event_setup(struct event *e);
void event_release(struct event *e);
/* Forgets everything, keeps the memory. */
void event_reset(struct event *e);

uint32_t event_name_hash(struct str name);

/* Adds a field; name and value must live as long as the event (in the frame, the arena or constant).
 * False when a limit is reached: EVENT_INCOMPLETE is set and the field is left out. */
bool event_put(struct event *e, struct str name, struct str value, enum value_type type);
/* The same marked as derived: see struct field. */
bool event_put_derived(struct event *e, struct str name, struct str value, enum value_type type);
/* Gives the field at index `at` another name, which lives as long as the event; its place in the order stays.
 * After the last of them event_reindex, before any event_find: so that renaming all of a hostile event is linear. */
void event_rename(struct event *e, size_t at, struct str name);
void event_reindex(struct event *e);

/* Takes back all fields past the first `count`: for a decoder that finds out late that it does not understand. */
void event_rollback(struct event *e, size_t count);

/* The first field of that exact name, or NULL; event_next gives the following one of the same name. */
const struct field *event_find(const struct event *e, struct str name);
const struct field *event_find_hashed(const struct event *e, struct str name, uint32_t hash);
const struct field *event_next(const struct event *e, const struct field *f);
/* The first value of that name, or STR_NONE. */
struct str event_value(const struct event *e, struct str name);

/* A number as JSON writes it (RFC 8259 section 6), the whole slice. */
bool event_is_number(struct str s);

/* As text, for tests and `--json`: appends {"name":"value",…} in field order, a repeated name as often as it is
 * there; numbers, true, false and null as JSON has them. 0 or -ENOBUFS. */
int event_to_json(const struct event *e, struct buf *out);

#endif
