/* The state as Redis commands: for each key of the view, the commands that make Redis hold its present value. The keys
 * themselves are documented in view.h; the table by enum view_kind stands in projection.c. */
#ifndef ISOD_VIEW_PROJECTION_H
#define ISOD_VIEW_PROJECTION_H

#include "officer/state.h"
#include "view/command.h"

#define VIEW_NODE_MAX                                                                              \
	256 /* bytes of a node's name in a key, after escaping; a host name has at most 64 */

struct projection;

struct projection_options {
	const struct state *state;
	const char *node;
	struct command_sink sink;
};

struct projection *projection_new(const struct projection_options *o);
void projection_free(struct projection *p);

/* The node's name as it stands in keys: ':', '%', white space and control characters as %XX. */
const char *projection_node(const struct projection *p);

/* The commands that write this key's present value, or remove it when the state has no such thing. Of a metric only the
 * spans are written that may have changed since it was last put; `whole`: nothing is taken for known, the key is deleted
 * and written in one transaction. `now_ns`: what decaying scores are shown for. */
void projection_put(struct projection *p, enum view_kind kind, struct str key, bool whole,
                    uint64_t now_ns);

/* XADD of its present value to iso:changes under the id SEQUENCE-N. False, and no command, for kinds that are not told
 * and for what the state does not hold. */
bool projection_tell(struct projection *p, enum view_kind kind, struct str key, uint64_t sequence,
                     uint64_t n);

/* What belongs to keys that are the view's own. The writes of iso:node:NODE (`more`: name, value, … NULL). */
void projection_put_node(struct projection *p, uint64_t now_ns, const uint8_t *head,
                         const char *const *more);

/* True if the state has it. */
bool projection_has(const struct projection *p, enum view_kind kind, struct str key);

/* Which thing a Redis key, or a member of the sorted set `in` (NULL: a key), belongs to. False: none of this node's.
 * *ret_key points into `name`, or to `room` for a metric. */
#define PROJECTION_KEY_MAX 1024
bool projection_parse(const struct projection *p, const char *in, struct str name,
                      char room[static PROJECTION_KEY_MAX], enum view_kind *ret_kind,
                      struct str *ret_key);

/* The sorted sets of the view, ended by NULL; and what type each key that several things share must have. */
extern const char *const projection_sets[];
struct shared_key {
	const char *key, *type;
};
extern const struct shared_key projection_shared[];
#define PROJECTION_SHARED 4
#define PROJECTION_STREAM "iso:changes"

/* A walk over all things of some kinds (bits 1 << enum view_kind), in pieces between which the state may change: what
 * is there at the beginning and at the end is visited. */
struct projection_walk {
	unsigned kinds;
	unsigned kind;
	uint64_t id;      /* the last one of a kind with ids */
	size_t at;        /* in a kind's map */
	const char *last; /* the entry before `at`: tells when a map has moved its entries */
};

#define PROJECTION_ALL ((1u << VIEW_KINDS) - 1)

void projection_walk_begin(struct projection_walk *w, unsigned kinds);
/* False at the end. *ret_key as for projection_parse, valid until the state changes. */
bool projection_walk_next(const struct projection *p, struct projection_walk *w,
                          char room[static PROJECTION_KEY_MAX], enum view_kind *ret_kind,
                          struct str *ret_key);

#endif
