/* Walking over the evidence that isod has stored, also while it stores more. */
#ifndef ISOD_ISOCTL_RULES_EVIDENCE_H
#define ISOD_ISOCTL_RULES_EVIDENCE_H

#include "log/evidence.h"

struct walk {
	const char *dir;         /* a state directory, its evidence, or one worker's folder in it */
	uint64_t from_ns, to_ns; /* arrival: from_ns <= time < to_ns; to_ns 0: to the end */
	/* Called for each frame; the frame is valid until it returns. */
	void (*frame)(void *arg, const struct record *r, uint32_t worker, const struct evidence *e);
	void *arg;
	struct evidence_peers *peers; /* the walk's own */
	/* What came of it: */
	uint64_t frames;
	uint64_t
		damaged; /* places that could not be read: each was told on stderr, what stands behind it in the next
	                     segment was read */
	size_t workers;
	char said[512]; /* the last of these messages */
};

/* 0, or -errno after a message. */
int walk_evidence(struct walk *w);

#endif
