/* The Prometheus text format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/): families of
 * samples. It knows the format only; what is measured, and when, is the caller's. */
#ifndef ISOD_BASE_PROMETHEUS_H
#define ISOD_BASE_PROMETHEUS_H

#include "base/buf.h"

#define PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct prometheus_label {
	const char *name;
	const char *value; /* UTF-8 */
};

/* Begins a family. `type`: "counter" (its name then ends in _total), "gauge", "histogram" or "untyped". All samples of a family follow
 * it at once. Whatever in `name` no metric may be called becomes '_'. */
void prometheus_family(struct buf *out, const char *name, const char *type, const char *help);
/* One sample of the family `name`. */
void prometheus_sample(struct buf *out, const char *name, const struct prometheus_label *labels,
                       size_t label_count, uint64_t value);
/* All samples of a histogram: `counts` has one more than there are bounds, which rise. */
void prometheus_histogram(struct buf *out, const char *name, const uint64_t *bounds_ns,
                          const uint64_t *counts, size_t bound_count, uint64_t sum_ns);
/* The same of nanoseconds, in seconds. */
void prometheus_seconds(struct buf *out, const char *name, const struct prometheus_label *labels,
                        size_t label_count, int64_t ns);

#endif
