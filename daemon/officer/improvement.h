/* The improvement desk: security metrics. Counters per minute, hour and day of events per source, matches per
 * rule and severity, incidents opened and closed; totals since the ledger began. */
#ifndef ISOD_OFFICER_IMPROVEMENT_H
#define ISOD_OFFICER_IMPROVEMENT_H

#include <stdbool.h>

#include "officer/desk.h"

#define METRIC_MINUTES 180 /* points kept: three hours, */
#define METRIC_HOURS   168 /* a week, */
#define METRIC_DAYS    400 /* and a year with room to compare */
#define METRIC_SERIES_MAX                                                                          \
	20000 /* names come from peers and rules; past this: counted under NAME "(other)" */

struct metric_ring {
	uint64_t *counts; /* of `size` spans; a span's place is its number modulo `size` */
	uint64_t newest;  /* number of the newest span (time / width); 0: none yet */
	uint32_t size;
};

struct metric_series {
	char *scope, *name;
	uint64_t total;
	struct metric_ring rings[4]; /* by Isod__V1__Resolution; [0] unused */
};

struct improvement_desk {
	struct map series; /* "SCOPE/NAME" → struct metric_series */
};

void improvement_init(struct improvement_desk *d);
void improvement_release(struct improvement_desk *d);
void improvement_on_record(struct improvement_desk *d, const struct step *s);
void improvement_on_match(struct improvement_desk *d, const struct step *s,
                          const Isod__V1__Match *m, bool opened_incident);

void improvement_save(const struct improvement_desk *d, struct saver *to);
int improvement_load(struct improvement_desk *d, const Isod__V1__SnapshotSeries *from);

/* NULL when there is none. Walk all with map_next over d->series. */
const struct metric_series *improvement_get(const struct improvement_desk *d, struct str key);
/* Width of a span in ns. */
uint64_t metric_width(Isod__V1__Resolution r);
/* The newest `max` spans up to `now_ns`, oldest first, zeros included but for leading ones.
 * Returns how many were written to `out` (start_ns and count). */
size_t metric_points(const struct metric_series *m, Isod__V1__Resolution r, uint64_t now_ns,
                     Isod__V1__MetricPoint *out, size_t max);

#endif
