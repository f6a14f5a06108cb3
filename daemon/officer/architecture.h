/* The architecture desk: which sources report, how much, since when, with what clock. */
#ifndef ISOD_OFFICER_ARCHITECTURE_H
#define ISOD_OFFICER_ARCHITECTURE_H

#include "officer/desk.h"

#define SOURCES_MAX                                                                                \
	50000 /* peers can forge UDP addresses; past this they share the source "(other)" */

struct architecture_desk {
	struct map sources; /* LISTENER/PEER → Isod__V1__SourceStatus */
	uint64_t events;    /* all frames that ever became events */
};

void architecture_init(struct architecture_desk *d);
void architecture_release(struct architecture_desk *d);
void architecture_on_tally(struct architecture_desk *d, const struct step *s,
                           const Isod__V1__Tally *t);

void architecture_save(const struct architecture_desk *d, struct saver *to);
int architecture_load(struct architecture_desk *d, Isod__V1__SnapshotSources *from);

const Isod__V1__SourceStatus *architecture_get(const struct architecture_desk *d,
                                               struct str source);

#endif
