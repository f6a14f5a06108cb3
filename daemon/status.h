/* What `isoctl status` and the metrics tell of the daemon as a whole: each stage is asked for what it knows of itself. */
#ifndef ISOD_STATUS_H
#define ISOD_STATUS_H

#include "api.pb-c.h"
#include "config/config.h"

struct api;
struct books;
struct content;
struct escalate;
struct forget;
struct watch;
struct ingest;
struct officer;
struct view;

struct status_parts {
	const struct config *config;
	const struct content *content;
	struct officer *officer;
	struct view *view;
	struct escalate *escalate;
	struct api *api;
	struct ingest *ingest;
	struct books *books;
	struct forget *forget;
	const struct watch *watch;
	const char *version;
	const char *rules_error; /* of the last reload; NULL: it was good */
	uint64_t rules_loaded, rules_refused;
	uint64_t started_ns;
};

/* Fills the initialised message, which owns what it gets. In the loop's thread. */
void status_fill(const struct status_parts *p, Isod__V1__Status *status);

#endif
