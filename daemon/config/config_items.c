/* What stands in lists of isod.yaml: who may do what with the API, and which assets count for more than others. */
#include "base/mem.h"
#include "config/config_parts.h"

/* ---- roles of the API ---- */

static const struct option_word roles[] = {
	{"viewer", ISOD__V1__ROLE__ROLE_VIEWER},
	{"responder", ISOD__V1__ROLE__ROLE_RESPONDER},
	{"admin", ISOD__V1__ROLE__ROLE_ADMIN},
	{"producer", ISOD__V1__ROLE__ROLE_PRODUCER},
	{0},
};

#define AT(member) .offset = offsetof(struct role_config, member)
static const struct option role_options[] = {
	{.name = "user",
         .type = OPTION_TEXT,
         AT(user),
         .help = "user name of the unix socket's peer"},
	{.name = "group",
         .type = OPTION_TEXT,
         AT(group),
         .help = "a group of the unix socket's peer"},
	{.name = "certificate",
         .type = OPTION_TEXT,
         AT(certificate),
         .help = "common name of a TLS peer's certificate"},
	{.name = "role",
         .type = OPTION_CHOICE,
         .flags = OPTION_REQUIRED,
         AT(role),
         .words = roles,
         .help = "what it may do: look, acknowledge and close, everything, or only hand in events"},
};
#undef AT

static void check_role(struct option_reader *r, void *item, const struct yaml_node *node)
{
	const struct role_config *c = item;

	if (!!c->user + !!c->group + !!c->certificate != 1)
		option_error(r, node,
		             "a role is for exactly one of `user`, `group` and "
		             "`certificate`");
}

const struct option_set config_role_options = {
	.what = "a role",
	.options = role_options,
	.count = ARRAY_LEN(role_options),
	.item_size = sizeof(struct role_config),
	.check = check_role,
};

/* ---- assets ---- */

static const struct option_word entity_kinds[] = {
	{"user", ISOD__V1__ENTITY_KIND__ENTITY_USER},
	{"host", ISOD__V1__ENTITY_KIND__ENTITY_HOST},
	{"address", ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS},
	{0},
};

#define AT(member) .offset = offsetof(struct asset_item, member)
static const struct option asset_options[] = {
	{.name = "kind",
         .type = OPTION_CHOICE,
         .flags = OPTION_REQUIRED,
         AT(kind),
         .words = entity_kinds,
         .help = "what it is"},
	{.name = "name",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(name),
         .help = "its name; a * at the end stands for any rest"},
	{.name = "weight",
         .type = OPTION_NUMBER32,
         .flags = OPTION_REQUIRED,
         AT(weight),
         .min = "0",
         .max = "1000",
         .help = "per cent: 100 is neutral, 200 makes every match count twice"},
};
#undef AT

const struct option_set config_asset_options = {
	.what = "an asset",
	.options = asset_options,
	.count = ARRAY_LEN(asset_options),
	.item_size = sizeof(struct asset_item),
};
