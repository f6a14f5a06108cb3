/* What two states are compared by. */
#ifndef ISOD_OFFICER_DIGEST_H
#define ISOD_OFFICER_DIGEST_H

#include "base/hash.h"
#include "officer/state.h"

/* Everything: the SHA-256 of what state_save() writes (officer/save.h). The same ledger gives the same digest on every
 * run and machine, whether it was folded from its beginning or from a snapshot. */
void state_digest(const struct state *s, uint8_t ret[static SHA256_BYTES]);

/* The books: what must be the same in two runs over the same evidence, of which one was killed again and again. Two such
 * runs have different ledgers: other times and sequences, more Started records, tallies cut elsewhere, workers' records
 * interleaved in another order. So this holds no time of the ledger's, no number that the ledger gives out, and no order:
 * it is the SHA-256 of the sorted SHA-256 of one line each for
 *
 *   each incident      severity, state, disposition, owner, matches; first and last time by the events' clocks; the sets
 *                      of entities, tactics, techniques, rules (with level, count, first and last time) and evidence,
 *                      as far as none was left out of them, else how many there were; the routes it was notified by, while no
 *                      notification has left memory
 *   each risk entity   its matches (its score depends on when the ledger was written)
 *   each source        events, matched, unmatched, undecoded, truncated, bytes, the last time received; but not
 *                      isod's own events, and not what was refused or shed before it became evidence
 *   each rule          how often it held, and how often each severity did
 *   each producer      how far it is counted
 *   all                matches
 *
 * Not in it: timelines and titles (of what came first, which workers decide), attempts and times of notifications,
 * open windows of correlations (what they yield is in the incidents; the full digest has them), and what has left memory
 * (settings.incident_kept_ns and its like).
 *
 * Both runs must have folded the workers' records in about the order of arrival, which a daemon that is killed and goes on
 * does. A re-detection of everything, from an EMPTY ledger, does not: each worker goes through its own evidence, and their
 * logs are not merged by time. With one worker the books are equal; with several, an incident that is bridged by matches of
 * two workers, and correlations over events of two, can come out differently. */
void state_books_digest(const struct state *s, uint8_t ret[static SHA256_BYTES]);

#endif
