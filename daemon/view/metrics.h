/* What isod knows of itself in the Prometheus text format, made from the status that the API gives: isoctl prints it, and
 * an HTTP endpoint serves it, from the same code.
 *
 * Every name begins with isod_. Per source (label `source`, LISTENER/PEER) there is the closed account:
 *
 *   isod_source_received_total = isod_source_events_total of all outcomes (matched, unmatched, undecoded)
 *                              + isod_source_refused_total + isod_source_shed_total of all reasons
 *
 * and isod_account_difference is what is missing in all of them together: anything but 0 is a fault of isod's. */
#ifndef ISOD_VIEW_METRICS_H
#define ISOD_VIEW_METRICS_H

#include "api.pb-c.h"
#include "base/buf.h"

#define METRICS_OTHER "(other)"

/* Appends all. `s` holds all sources; those after the first `sources_max` are added up under the source METRICS_OTHER. The
 * order of sources is that in which they were first heard, so that a source never moves in or out of it and no counter
 * ever falls. */
void metrics_render(struct buf *out, const Isod__V1__Status *s, uint64_t sources_max);

/* All sources added up, with METRICS_OTHER as its name (not to be freed); times are the latest, the skew is 0. */
Isod__V1__SourceStatus metrics_sum(Isod__V1__SourceStatus *const *sources, size_t count);
/* What the account is out by: received less all that became of it. 0: it closes. */
int64_t metrics_difference(const Isod__V1__SourceStatus *s);

/* Each reason for which frames were refused or shed, with its word, NULL ends them. What is in `refused` or `shed` and in
 * none of their reasons an older isod has counted: the reason "unknown" comes last. */
struct metrics_reason {
	bool shed; /* else refused */
	const char *word;
	size_t at; /* where its number stands in the message; 0: what no other reason tells */
};
extern const struct metrics_reason metrics_reasons[];
/* How many by that reason. */
uint64_t metrics_lost(const Isod__V1__SourceStatus *s, const struct metrics_reason *reason);

#endif
