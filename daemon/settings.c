#include "settings.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sigma/rules.h"

void settings_init(struct settings *s, const struct config *c, const struct content *content)
{
	Isod__V1__Settings *m = &s->message;

	isod__v1__settings__init(m);
	s->routes = xcalloc(c->route_count, sizeof(*s->routes));
	s->assets = xcalloc(c->asset_count, sizeof(*s->assets));
	for (size_t i = 0; i < c->route_count; i++)
		s->routes[i] = &c->routes[i];
	for (size_t i = 0; i < c->asset_count; i++)
		s->assets[i] = &c->assets[i];
	m->n_correlations = content->parts.rules->correlation_count;
	m->correlations = content->parts.rules->correlations;
	m->n_routes = c->route_count;
	m->routes = s->routes;
	m->n_assets = c->asset_count;
	m->assets = s->assets;
	m->incident_window_ns = c->incident_window_ns;
	m->incident_open_level = c->incident_open_level;
	m->incident_kept_ns = c->incident_kept_ns;
	m->incident_kept_max = c->incident_kept_max;
	m->incident_open_max = c->incident_open_max;
	m->notification_kept_ns = c->notification_kept_ns;
	m->notification_kept_max = c->notification_kept_max;
	m->risk_half_life_ns = c->risk_half_life_ns;
	m->correlation_skew_ns = c->correlation_skew_ns;
	m->correlation_lateness_ns = c->correlation_lateness_ns;
}

void settings_release(struct settings *s)
{
	free(s->routes);
	free(s->assets);
}
