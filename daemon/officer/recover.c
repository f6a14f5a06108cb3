#include "officer/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "officer/snapshot.h"

static void refuse(struct recovery *r, const char *why)
{
	log_warning("snapshot refused: %s", why);
	if (r->refused++ == 0)
		snprintf(r->why, sizeof(r->why), "%s", why);
}

/* 0; -ESTALE: not with this snapshot; another -errno: not at all. */
static int recover_from(struct state *s, const char *ledger, const char *snapshots,
                        uint64_t sequence, struct recovery *r, char *error, size_t error_size)
{
	uint8_t chain[SHA256_BYTES];

	if (snapshot_load(snapshots, sequence, s, chain, error, error_size) < 0)
		return -ESTALE;
	r->snapshot = sequence;
	return replay_ledger(ledger, s, chain, UINT64_MAX, &r->facts, error, error_size);
}

int state_recover(struct state *s, const char *ledger, const char *snapshots, struct recovery *ret,
                  char *error, size_t error_size)
{
	uint64_t *sequences = NULL;
	size_t count = 0;
	int e = -ESTALE;

	*ret = (struct recovery){0};
	if (snapshots && snapshot_list(snapshots, &sequences, &count) < 0)
		refuse(ret, snapshots);
	for (size_t i = 0; i < count && e == -ESTALE; i++) {
		e = recover_from(s, ledger, snapshots, sequences[i], ret, error, error_size);
		if (e != -ESTALE)
			break;
		refuse(ret, error);
		state_release(s);
		state_init(s);
	}
	free(sequences);
	if (e != -ESTALE)
		return e;
	ret->snapshot = 0;
	e = replay_ledger(ledger, s, NULL, UINT64_MAX, &ret->facts, error, error_size);
	if (e == -EBADMSG && s->sequence == 0 && snapshots) {
		size_t n = strlen(error);
		snprintf(error + n, error_size - n, "; and no snapshot in %s can stand in for it",
		         snapshots);
	}
	return e;
}
