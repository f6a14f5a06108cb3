/* Producers: senders that number their frames (isod.v1 IngestBatch), and what passes between the API, which hears them,
 * and the workers, which write their frames to evidence. */
#ifndef ISOD_LOG_PRODUCER_H
#define ISOD_LOG_PRODUCER_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Of such a frame's source, "producer/ID" or "producer/ID/FROM": no listener may have that name. */
#define PRODUCER_LISTENER "producer"
#define PRODUCER_ID_MAX   64 /* bytes: it is part of a source's name and stands in the ledger */
#define PRODUCER_FROM_MAX 128
#define PRODUCER_FRAMES_MAX                                                                        \
	65536 /* of one batch: its memory is some 24 bytes for each beside its own */
/* Producers that are known. One more is refused, until another has been silent for so long that it is forgotten
 * (producers.forget_after): what that one was acknowledged would be taken again if it came back with it. */
#define PRODUCERS_MAX 10000

/* 1 to PRODUCER_ID_MAX of letters, digits, '.', '_', '-'. */
bool producer_id_is_valid(struct str id);
/* Whose source that is: the ID in "producer/ID…", or STR_NONE. */
struct str producer_of_source(struct str source);

/* One request of a producer on its way through a worker. The asker owns it and everything it points to, and leaves it
 * alone until it is given back. */
struct producer_batch {
	const char *producer; /* valid */
	const char *from;     /* may be "" */
	uint64_t first;       /* sequence of frames[0]; 0: only asks for the mark */
	const ProtobufCBinaryData *frames;
	size_t count;
	size_t bytes; /* of all frames */
	/* The answer: 0; -ERANGE when frames are missing before `first`; -EDQUOT when it would be one producer too many;
	 * -ESHUTDOWN when the daemon is stopping: nothing was taken. */
	int result;
	uint64_t upto; /* the mark: for 0 it is on the disk */
	uint64_t taken, repeated;
	struct producer_batch *next; /* whoever has it */
};

#endif
