/* What the files of config/ share: the tables, each with the struct it fills, and the checks that need more than one
 * option. */
#ifndef ISOD_CONFIG_CONFIG_PARTS_H
#define ISOD_CONFIG_CONFIG_PARTS_H

#include "config/config_table.h"

#define CONFIG_NAME_MAX                                                                            \
	64 /* bytes of a listener's, plugin's, route's or node's name: they become keys */

/* conf/isod.yaml → struct config, but for what escalation.yaml holds. */
extern const struct option_set config_daemon_options;
/* conf/escalation.yaml → the plugins and routes of struct config. */
extern const struct option_set config_escalation_options;

/* One item of `listeners`, of `api.roles`, of `risk.assets`. */
extern const struct option_set config_listener_options;
extern const struct option_set config_role_options;
extern const struct option_set config_asset_options;

/* An asset as it is written; becomes an Isod__V1__AssetWeight. */
struct asset_item {
	int kind; /* Isod__V1__EntityKind */
	char *name;
	uint32_t weight;
};

/* What isod.yaml fills: `config` first, so that one is the other. */
struct config_file {
	struct config config;
	struct asset_item *assets;
	size_t asset_count;
};

extern const struct option_word config_levels[];

/* Checks across options; `root` is the file's root map. */
void config_check_daemon(struct option_reader *r, const struct yaml_node *root,
                         struct config_file *c);
void config_check_escalation(struct option_reader *r, const struct yaml_node *root,
                             struct config *c);

/* A name of letters, digits and "._-" that fits CONFIG_NAME_MAX; else an error. */
bool config_check_name(struct option_reader *r, const struct yaml_node *at, const char *what,
                       const char *name);
/* Errors when `path` cannot be read. NULL is allowed. */
void config_check_file(struct option_reader *r, const struct yaml_node *at, const char *path);

/* Makes the path one beside the file; an error when it is too long for a socket. */
void config_check_socket_path(struct option_reader *r, const struct yaml_node *at, char **path);
/* Errors when it is no HOST:PORT. */
void config_check_address(struct option_reader *r, const struct yaml_node *at, const char *address);
/* Loads the files as a server will, so that `isod --check` finds what would stop the start. `node` holds the options. */
void config_check_tls_files(struct option_reader *r, const struct yaml_node *node,
                            const struct tls_settings *s);
/* Reads the tokens of an HTTP Event Collector from the file that the listener names; what is wrong there is told with the
 * file's line and column, but never a token. */
void config_read_tokens(struct option_reader *r, struct listener_config *l,
                        const struct yaml_node *node);
void config_free_tokens(struct listener_config *l);
/* No two listeners have one name. */
void config_check_listener_names(struct option_reader *r, const struct yaml_node *root,
                                 const struct config *c);

#endif
