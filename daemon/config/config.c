/* Both files are read to their ends, and every check that still makes sense is made, before anything is refused: one
 * run of `isod --check` tells all that is wrong. */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config_parts.h"

#define CONFIG_ARENA_MAX ((size_t)256 << 20) /* a list of 100,000 assets takes 60 MB */

static const struct yaml_node nothing = {.kind = YAML_NULL};

/* The root of the file's only document, `nothing` for an empty file, NULL after an error (*ret_error). */
static const struct yaml_node *load_root(struct arena *arena, const char *file, struct diags *diags,
                                         int *ret_error)
{
	struct yaml_node **docs;
	size_t count;
	int r = yaml_load(arena, file, diags, &docs, &count);

	if (r < 0) {
		*ret_error = r;
		return NULL;
	}
	if (count > 1)
		diag_add(diags, DIAG_ERROR, file, docs[1]->line, docs[1]->column,
		         "a second document: the configuration is one");
	return count ? docs[0] : &nothing;
}

static char *host_name(void)
{
	char name[CONFIG_NAME_MAX + 1] = "";

	if (gethostname(name, sizeof(name) - 1) < 0 || !name[0])
		return xstrdup("localhost");
	/* It becomes part of keys, as a configured name does. */
	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '-';
	return xstrdup(name);
}

static void take_assets(struct config_file *c)
{
	c->config.assets = xcalloc(c->asset_count, sizeof(*c->config.assets));
	c->config.asset_count = c->asset_count;
	for (size_t i = 0; i < c->asset_count; i++) {
		Isod__V1__AssetWeight *w = &c->config.assets[i];
		isod__v1__asset_weight__init(w);
		w->weight_percent = c->assets[i].weight;
		w->entity = xmalloc(sizeof(*w->entity));
		isod__v1__entity__init(w->entity);
		w->entity->kind = (Isod__V1__EntityKind)c->assets[i].kind;
		w->entity->name = c->assets[i].name;
		c->assets[i].name = NULL;
	}
}

/* The file of option `name` that nobody has named need not be there, a named one must. */
static void choose_file(struct option_reader *r, const struct yaml_node *root, const char *name,
                        char **file)
{
	if (!*file || access(*file, R_OK) == 0)
		return;
	if (option_given(root, name)) {
		config_check_file(r, option_at(root, NULL, name), *file);
	} else {
		free(*file);
		*file = NULL;
	}
}

static int load_escalation(struct arena *arena, struct diags *diags, struct config *c)
{
	struct option_reader reader = {.file = c->escalation, .diags = diags};
	int r = 0;
	const struct yaml_node *root = load_root(arena, c->escalation, diags, &r);

	if (!root)
		return r;
	options_read(&reader, &config_escalation_options, root, c);
	config_check_escalation(&reader, root, c);
	return 0;
}

static void free_config_file(struct config_file *c)
{
	for (size_t i = 0; i < c->config.listener_count; i++)
		config_free_tokens(&c->config.listeners[i]);
	options_release(&config_daemon_options, c);
	options_release(&config_escalation_options, c);
	for (size_t i = 0; i < c->config.asset_count; i++) {
		free(c->config.assets[i].entity->name);
		free(c->config.assets[i].entity);
	}
	free(c->config.assets);
	free(c->config.file);
	free(c);
}

static int load_daemon(struct arena *arena, struct diags *diags, struct config_file *c)
{
	struct option_reader reader = {.file = c->config.file, .diags = diags};
	int r = 0;
	const struct yaml_node *root = load_root(arena, c->config.file, diags, &r);

	if (!root)
		return r;
	options_read(&reader, &config_daemon_options, root, c);
	config_check_daemon(&reader, root, c);
	choose_file(&reader, root, "escalation", &c->config.escalation);
	choose_file(&reader, root, "placeholders", &c->config.placeholders);
	if (c->config.escalation && access(c->config.escalation, R_OK) == 0)
		r = load_escalation(arena, diags, &c->config);
	if (!c->config.node)
		c->config.node = host_name();
	take_assets(c);
	return r;
}

int config_load(const char *file, struct diags *diags, struct config **ret)
{
	struct config_file *c = xcalloc(1, sizeof(*c));
	size_t errors = diags->errors, told = diags->count;
	struct arena arena;

	c->config.file = xstrdup(file);
	arena_init(&arena, CONFIG_ARENA_MAX);
	int r = load_daemon(&arena, diags, c);
	arena_release(&arena);
	diags_sort(diags, told);
	if (r == 0 && diags->errors > errors)
		r = -EINVAL;
	if (r < 0) {
		free_config_file(c);
		return r;
	}
	*ret = &c->config;
	return 0;
}

void config_free(struct config *c)
{
	if (c)
		free_config_file((struct config_file *)c);
}

void config_describe(struct buf *out)
{
	buf_add(out, STR("isod.yaml:\n"));
	options_describe(&config_daemon_options, "  ", out);
	buf_add(out, STR("escalation.yaml:\n"));
	options_describe(&config_escalation_options, "  ", out);
}
