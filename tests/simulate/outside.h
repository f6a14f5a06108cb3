/* The world around the officer in a simulation: what workers, operators and plugins do at each instant. The same seed
 * gives the same world, whatever befalls the officer meanwhile: every instant draws from a generator of its own. */
#ifndef ISOD_TESTS_SIMULATE_OUTSIDE_H
#define ISOD_TESTS_SIMULATE_OUTSIDE_H

#include <stdbool.h>

#include "../unit/random_records.h"

#define WORKERS     3
#define MATCHES_MAX 3 /* of one frame */

/* A frame that a worker has in evidence, and what its rules find in it, now and whenever it is detected again. */
struct frame {
	uint32_t worker;
	uint64_t sequence;
	uint64_t received_ns;
	char source[24];
	Isod__V1__Record *matches[MATCHES_MAX];
	unsigned match_count;
};

/* Something that reaches the officer: a frame's matches, a worker's tally, or a record of somebody else's. */
enum input_kind { INPUT_FRAME, INPUT_TALLY, INPUT_RECORD };
struct input {
	enum input_kind kind;
	size_t frame;             /* INPUT_FRAME: its index */
	uint32_t worker;          /* INPUT_TALLY */
	Isod__V1__Record *record; /* INPUT_RECORD: Settings, Command or Refusal */
};

/* An attempt at a notification that a plugin has not answered yet. */
struct delivery {
	uint64_t notification, due_ns;
	uint32_t attempt;
	bool lost; /* the process that made it was killed: it is answered when it is made again */
};

struct outside {
	uint64_t seed, step;
	bool absences; /* correlations that wait for what does not come */
	uint64_t now;
	const struct state *state; /* commands and results are about what is in it */
	struct frame *frames;      /* all evidence, in the order of its arrival */
	size_t frame_count, frame_cap;
	uint64_t sequences[WORKERS];
	uint64_t tallied[WORKERS]; /* what each worker has put into tallies since its start */
	struct input *inputs;      /* of this instant */
	size_t input_count, input_cap;
	struct delivery *deliveries;
	size_t delivery_count, delivery_cap;
	uint64_t delivered; /* attempts that were answered with success */
};

void outside_init(struct outside *o, uint64_t seed, const struct state *state);
void outside_release(struct outside *o);

/* The next instant: moves `now` on (rarely back, as clocks do) and sets `inputs`. */
void outside_step(struct outside *o);

/* Worker `worker` sums up its frames up to `upto` since its last tally. NULL when there are none. Free with
 * free_unpacked. */
Isod__V1__Record *outside_tally(struct outside *o, uint32_t worker, uint64_t upto);

/* The officer asks for an attempt. */
void outside_notify(struct outside *o, const Isod__V1__Notification *n);
/* When the next plugin answers, or NEVER; and its answer then. */
uint64_t outside_next_answer(const struct outside *o);
Isod__V1__Record *outside_answer(struct outside *o);

/* The daemon was killed: plugins died with it, workers begin behind what the ledger has counted. */
void outside_killed(struct outside *o);
/* The daemon runs again: workers have put `upto` into tallies. */
void outside_restarted(struct outside *o);

#endif
