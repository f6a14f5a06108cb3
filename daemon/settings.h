/* What of the configuration and the rules shapes the fold: the ledger record that stands at its beginning and at each change
 * of the rules. */
#ifndef ISOD_SETTINGS_H
#define ISOD_SETTINGS_H

#include "config/config.h"
#include "ledger.pb-c.h"
#include "sigma/content.h"

struct settings {
	Isod__V1__Settings message; /* borrows everything but the two arrays */
	Isod__V1__Route **routes;
	Isod__V1__AssetWeight **assets;
};

/* Both must outlive it. */
void settings_init(struct settings *s, const struct config *c, const struct content *content);
void settings_release(struct settings *s);

#endif
