#include "replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "officer/digest.h"
#include "officer/replay.h"
#include "officer/snapshot.h"

static char *ledger_in(const char *dir)
{
	char *inside = xasprintf("%s/ledger", dir);
	struct stat st;

	if (stat(inside, &st) == 0 && S_ISDIR(st.st_mode))
		return inside;
	free(inside);
	return xstrdup(dir);
}

static void print_line(const char *name, const uint8_t hash[static SHA256_BYTES])
{
	char hex[HEX_BYTES(SHA256_BYTES)];

	printf("%-10s%s\n", name, hex_encode(hash, SHA256_BYTES, hex));
}

static void print_state(const struct state *s, const struct replay_facts *facts, uint64_t took_ns)
{
	uint8_t digest[SHA256_BYTES];
	char when[CLOCK_TEXT_MAX];
	uint64_t us = took_ns / 1000 + 1;

	printf("%-10s%" PRIu64 ", the last with sequence %" PRIu64 "\n", "records", facts->records,
	       s->sequence);
	printf("%-10s%s\n", "time", clock_format(s->time_ns, when));
	printf("%-10s%zu open of %zu\n", "incidents", s->incident.open, s->incident.count);
	print_line("head", facts->chain);
	state_digest(s, digest);
	print_line("digest", digest);
	state_books_digest(s, digest);
	print_line("books", digest);
	printf("%-10s%" PRIu64 ".%03" PRIu64 " s, %" PRIu64 " records/s\n", "took", us / 1000000,
	       us / 1000 % 1000, facts->records * 1000000 / us);
}

/* The ledger's beginning is gone: from the oldest snapshot that will do. */
static int replay_from_snapshot(const char *dir, const char *ledger, struct state *s,
                                uint64_t until, struct replay_facts *facts, char *error,
                                size_t error_size)
{
	char *snapshots = xasprintf("%s/snapshots", dir);
	uint8_t chain[SHA256_BYTES];
	uint64_t *all = NULL;
	size_t count = 0;

	int r = -ENOENT;
	if (snapshot_list(snapshots, &all, &count) < 0)
		count = 0;
	for (; r < 0 && count-- > 0 && all[count] <= until;) {
		state_release(s);
		state_init(s);
		r = snapshot_load(snapshots, all[count], s, chain, error, error_size);
		if (r == 0)
			r = replay_ledger(ledger, s, chain, until, facts, error, error_size);
		if (r == 0)
			printf("%-10ssnapshot of record %" PRIu64 "\n", "from", all[count]);
	}
	free(all);
	free(snapshots);
	return r;
}

int isod_replay(const char *dir, uint64_t until)
{
	struct replay_facts facts = {0};
	char error[512] = "", safe[1024], *ledger = ledger_in(dir);
	struct state state;
	uint64_t began = clock_mono();

	state_init(&state);
	int r = replay_ledger(ledger, &state, NULL, until, &facts, error, sizeof(error));
	if (r == -EBADMSG && state.sequence == 0 &&
	    replay_from_snapshot(dir, ledger, &state, until, &facts, error, sizeof(error)) == 0)
		r = 0;
	if (r == 0 && state.sequence == 0) {
		snprintf(error, sizeof(error), "%s: there is no ledger here", ledger);
		r = -ENOENT;
	}
	if (r == 0 || facts.records)
		print_state(&state, &facts, clock_mono() - began);
	if (r < 0)
		fprintf(stderr, "isod: %s\n", log_escape(str_of(error), safe, sizeof(safe)));
	state_release(&state);
	free(ledger);
	return r;
}
