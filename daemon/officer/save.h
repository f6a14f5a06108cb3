/* The state as bytes and back: what a snapshot file holds, what a digest is taken of, what a simulated restart goes
 * through. The form is a row of varint-delimited isod.v1.SnapshotPart (proto/snapshot.proto), each of about
 * SAVE_PART_BYTES, so that a state of gigabytes is written and read through a small buffer.
 *
 * It holds everything that can ever show in what the fold does next, down to the order of eviction and the numbers of
 * correlation groups, and nothing else: a state that was loaded and the one it was saved from fold the same records
 * with the same effects into the same state. It is canonical: the same ledger gives the same bytes on every run and
 * machine. Maps are written in the order of insertion, which is part of what clients see. Nothing in it is floating
 * point. The parts, in this order:
 *
 *   head           sequence, time, settings, the desks' counters, the hash seeds of correlation
 *   cursor …       each worker's evidence: counted up to, and the matches past it
 *   producers …    how far each is counted, when it was heard of, whose it is
 *   incidents …, incident_keys …, opener …, risk …, sources …, series …, notifications …
 *   definition …   each correlation: then its groups …, extra …, entries …
 *   end            the number of parts, so that a row that was cut off is known */
#ifndef ISOD_OFFICER_SAVE_H
#define ISOD_OFFICER_SAVE_H

#include "base/buf.h"
#include "officer/state.h"
#include "snapshot.pb-c.h"

#define SAVE_FORMAT     2
#define SAVE_PART_BYTES ((size_t)256 << 10) /* a part is ended when it is so long */
#define SAVE_PART_ITEMS 8192                /* or has so many items */
/* The highest id of an incident or notification that is believed: room is made by it. */
#define LOAD_ID_MAX (UINT64_C(1) << 30)
/* The longest part there can be: the head, with settings that once were one ledger record (RECORD_BODY_MAX). */
#define LOAD_PART_MAX ((size_t)17 << 20)

/* ---- saving ---- */

struct saver {
	/* Takes the next bytes. 0, or -errno, which ends the saving. */
	int (*write)(void *arg, struct str bytes);
	void *arg;
	struct buf part;
	uint64_t parts;
	int error;
};

/* The state as one row of parts through `write`. Changes nothing, takes no lock, logs nothing, and needs of the process
 * only malloc: it can run in a forked child. 0, or what `write` answered. */
int state_save(const struct state *s, int (*write)(void *arg, struct str bytes), void *arg);

/* ---- loading ---- */

struct state_loader;

/* Into `s`, which is as state_init() leaves it. */
struct state_loader *state_loader_new(struct state *s);
void state_loader_free(struct state_loader *l);
/* The next bytes, cut anywhere. 0; -EBADMSG when they are no state (state_loader_error says why), -ENOTSUP when they are one
 * of a newer format. From then on the state can only be released, and every call gives the same answer. */
int state_loader_feed(struct state_loader *l, struct str bytes);
/* Nothing follows. 0, or -EBADMSG when something is missing. */
int state_loader_end(struct state_loader *l);
const char *state_loader_error(const struct state_loader *l);

/* All of it at once. `error` as above. */
int state_load(struct state *s, struct str bytes, char *error, size_t error_size);

/* ---- for the desks' save and load ---- */

/* Writes a part; `body` is set by the caller. Does nothing after an error. */
void save_part(struct saver *to, const Isod__V1__SnapshotPart *part);
/* How many of the messages at `items`, of `count` > 0, go into one part; at least one. */
size_t save_fit(void *const *items, size_t count);
/* The values of a map in its order: `count` of them. The caller frees. */
void **save_values(const struct map *m);
/* A key as bytes that are not copied. */
ProtobufCBinaryData save_bytes(struct str s);

#define SAVE_PART(part, kind)                                                                      \
	Isod__V1__SnapshotPart part = ISOD__V1__SNAPSHOT_PART__INIT;                               \
	(part).part_case = ISOD__V1__SNAPSHOT_PART__PART_##kind

#endif
