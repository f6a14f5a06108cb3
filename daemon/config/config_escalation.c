/* The options of escalation.yaml: plugin processes, and which incidents go to which of them. */
#include "config/config_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"

/* ---- plugins ---- */

#define AT(member) .offset = offsetof(struct plugin_config, member)
static const struct option plugin_options[] = {
	{.name = "name",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(name),
         .help = "what routes call it"},
	{.name = "program",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(program),
         .help = "a path, or a name in plugin_dir"},
	{.name = "timeout",
         .type = OPTION_DURATION,
         AT(timeout_ns),
         .fallback = "30s",
         .min = "100ms",
         .max = "1h",
         .help = "an alert not answered by then is a failed attempt"},
	{.name = "options",
         .type = OPTION_PAIRS,
         AT(options),
         .count = offsetof(struct plugin_config, option_count),
         .help = "the plugin's own settings"},
};
#undef AT

static void check_plugin(struct option_reader *r, void *item, const struct yaml_node *node)
{
	struct plugin_config *p = item;

	config_check_name(r, option_at(node, NULL, "name"), "a plugin", p->name);
	if (strchr(p->program, '/')) {
		char *full = path_beside(r->file, p->program);
		free(p->program);
		p->program = full;
	}
	p->file = r->file;
	p->line = node->line;
	p->column = node->column;
}

static const struct option_set plugin_set = {
	.what = "a plugin",
	.options = plugin_options,
	.count = ARRAY_LEN(plugin_options),
	.item_size = sizeof(struct plugin_config),
	.check = check_plugin,
};

/* ---- routes ---- */

#define AT(member) .offset = offsetof(Isod__V1__Route, member)
static const struct option route_options[] = {
	{.name = "name",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(name),
         .help = "what notifications and the log call it"},
	{.name = "plugin",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(plugin),
         .help = "the name of a plugin"},
	{.name = "min_level",
         .type = OPTION_CHOICE,
         AT(min_level),
         .fallback = "high",
         .words = config_levels,
         .help = "the least severity that is told"},
	{.name = "tactics",
         .type = OPTION_TEXTS,
         AT(tactics),
         .count = offsetof(Isod__V1__Route, n_tactics),
         .help = "ATT&CK tactics, one of which the incident must show; none: all incidents"},
	{.name = "attempts",
         .type = OPTION_NUMBER32,
         AT(attempts),
         .fallback = "5",
         .min = "1",
         .max = "1000",
         .help = "deliveries tried before the notification is a dead letter"},
	{.name = "backoff",
         .type = OPTION_DURATION,
         AT(backoff_ns),
         .fallback = "30s",
         .min = "100ms",
         .max = "1d",
         .help = "time before the second attempt; doubles with each further one"},
	{.name = "backoff_max",
         .type = OPTION_DURATION,
         AT(backoff_max_ns),
         .fallback = "15m",
         .min = "100ms",
         .max = "7d",
         .help = "and grows no longer than this"},
};
#undef AT

/* The texts are ours to free, so none may be protobuf-c's shared empty string. */
static void init_route(void *item)
{
	Isod__V1__Route *route = item;

	isod__v1__route__init(route);
	route->name = NULL;
	route->plugin = NULL;
}

/* ATT&CK's tactics, enterprise and ICS, as Sigma tags them; old names and new. */
static const char *const tactics[] = {
	"reconnaissance",
	"resource-development",
	"initial-access",
	"execution",
	"persistence",
	"privilege-escalation",
	"defense-evasion",
	"stealth",
	"defense-impairment",
	"credential-access",
	"discovery",
	"lateral-movement",
	"collection",
	"command-and-control",
	"exfiltration",
	"impact",
	"evasion",
	"inhibit-response-function",
	"impair-process-control",
};

/* As the incident desk has them: lower case, dashes. ATT&CK grows, so an unknown one is a warning only. */
static void check_tactic(struct option_reader *r, const struct yaml_node *at, char *tactic)
{
	char hint[160];

	for (char *c = tactic; *c; c++)
		*c = *c == '_' || *c == ' ' ? '-' : (char)tolower((unsigned char)*c);
	for (size_t i = 0; i < ARRAY_LEN(tactics); i++)
		if (strcmp(tactic, tactics[i]) == 0)
			return;
	option_hint(tactic, tactics, ARRAY_LEN(tactics), hint, sizeof(hint));
	option_warning(r, at, "`%.60s` is no ATT&CK tactic known here%s", tactic, hint);
}

static void check_route(struct option_reader *r, void *item, const struct yaml_node *node)
{
	Isod__V1__Route *route = item;
	const struct yaml_node *list = yaml_get(node, "tactics");

	config_check_name(r, option_at(node, NULL, "name"), "a route", route->name);
	for (size_t i = 0; i < route->n_tactics; i++)
		check_tactic(r, list->kind == YAML_LIST ? list->items[i] : list, route->tactics[i]);
	if (route->backoff_max_ns < route->backoff_ns && option_given(node, "backoff_max"))
		option_error(r, option_at(node, NULL, "backoff_max"),
		             "`backoff_max` is less than `backoff`");
	else if (route->backoff_max_ns < route->backoff_ns)
		route->backoff_max_ns = route->backoff_ns;
}

static const struct option_set route_set = {
	.what = "a route",
	.options = route_options,
	.count = ARRAY_LEN(route_options),
	.item_size = sizeof(Isod__V1__Route),
	.init = init_route,
	.check = check_route,
};

/* ---- the file ---- */

#define AT(member) .offset = offsetof(struct config, member)
static const struct option options[] = {
	{.name = "plugins",
         .type = OPTION_ITEMS,
         AT(plugins),
         .count = offsetof(struct config, plugin_count),
         .items = &plugin_set,
         .help = "the processes that isod starts and keeps running"},
	{.name = "routes",
         .type = OPTION_ITEMS,
         AT(routes),
         .count = offsetof(struct config, route_count),
         .items = &route_set,
         .help = "which incidents go to which plugin; all that fit"},
};
#undef AT

const struct option_set config_escalation_options = {
	.options = options,
	.count = ARRAY_LEN(options),
};

/* ---- across options ---- */

static void check_plugins(struct option_reader *r, const struct yaml_node *list,
                          const struct config *c)
{
	for (size_t i = 0; i < c->plugin_count; i++) {
		const struct plugin_config *p = &c->plugins[i];
		for (size_t j = 0; p->name && j < i; j++)
			if (c->plugins[j].name && strcmp(p->name, c->plugins[j].name) == 0) {
				option_error(r, option_at(list->items[i], NULL, "name"),
				             "a plugin named `%s` stands in line %d already",
				             p->name, list->items[j]->line);
				break;
			}
		if (!p->program)
			continue;
		char *program = strchr(p->program, '/')
		                        ? xstrdup(p->program)
		                        : xasprintf("%s/%s", c->plugin_dir, p->program);
		if (access(program, X_OK) < 0)
			option_error(r, option_at(list->items[i], NULL, "program"), "%s: %m",
			             program);
		free(program);
	}
}

static void check_routes(struct option_reader *r, const struct yaml_node *list,
                         const struct config *c)
{
	const char **names = xcalloc(c->plugin_count, sizeof(*names));
	size_t count = 0;
	char hint[160];

	for (size_t i = 0; i < c->plugin_count; i++)
		if (c->plugins[i].name)
			names[count++] = c->plugins[i].name;
	for (size_t i = 0; i < c->route_count; i++) {
		const Isod__V1__Route *route = &c->routes[i];
		bool known = !route->plugin;
		for (size_t j = 0; j < count && !known; j++)
			known = strcmp(route->plugin, names[j]) == 0;
		if (!known)
			option_error(r, option_at(list->items[i], NULL, "plugin"),
			             "no plugin is named `%.60s`%s", route->plugin,
			             option_hint(route->plugin, names, count, hint, sizeof(hint)));
		for (size_t j = 0; route->name && j < i; j++)
			if (c->routes[j].name && strcmp(route->name, c->routes[j].name) == 0) {
				option_error(r, option_at(list->items[i], NULL, "name"),
				             "a route named `%s` stands in line %d already",
				             route->name, list->items[j]->line);
				break;
			}
	}
	free(names);
}

void config_check_escalation(struct option_reader *r, const struct yaml_node *root,
                             struct config *c)
{
	check_plugins(r, yaml_get(root, "plugins"), c);
	check_routes(r, yaml_get(root, "routes"), c);
}
