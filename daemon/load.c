#include "load.h"

#include <stdio.h>

#include "reload.h"
#include "sigma/content.h"
#include "sigma/rules.h"

static void print_diags(const struct diags *diags)
{
	char line[1024];

	for (size_t i = 0; i < diags->count; i++)
		fprintf(stderr, "%s\n", diag_format(&diags->items[i], line, sizeof(line)));
	if (diags->errors > diags->count)
		fprintf(stderr, "… and %zu more\n", diags->errors + diags->warnings - diags->count);
}

int load_config(const char *file, struct config **ret)
{
	struct diags diags;

	diags_init(&diags);
	int r = config_load(file, &diags, ret);
	print_diags(&diags);
	diags_release(&diags);
	return r;
}

int load_content(const struct config *config, struct content **ret)
{
	struct diags diags;

	diags_init(&diags);
	int r = reload_content(config, &diags, ret);
	print_diags(&diags);
	diags_release(&diags);
	return r;
}

int load_check(struct config *config)
{
	struct content *content = NULL;
	int r = load_content(config, &content);

	if (r == 0)
		printf("%s: %zu rules, %zu correlations, %zu listeners, %zu plugins, %zu routes\n",
		       config->file, content->parts.rules->count,
		       content->parts.rules->correlation_count, config->listener_count,
		       config->plugin_count, config->route_count);
	content_unref(content);
	config_free(config);
	return r;
}
