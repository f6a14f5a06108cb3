/* The options of one listener, and what sockets and certificates are checked for. */
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "base/net.h"
#include "base/path.h"
#include "config/config_parts.h"

static const struct option_word listener_kinds[] = {
	{"tls", LISTENER_TLS},   {"tcp", LISTENER_TCP},         {"udp", LISTENER_UDP},
	{"unix", LISTENER_UNIX}, {"relp", LISTENER_RELP},       {"relp-tls", LISTENER_RELP_TLS},
	{"hec", LISTENER_HEC},   {"hec-tls", LISTENER_HEC_TLS}, {0},
};

static const struct option_word peer_checks[] = {
	{"none", TLS_PEER_NONE},
	{"optional", TLS_PEER_OPTIONAL},
	{"required", TLS_PEER_REQUIRED},
	{0},
};

static const struct option_word switches[] = {{"off", false}, {"on", true}, {0}};

#define AT(member) .offset = offsetof(struct listener_config, member)
static const struct option listener_options[] = {
	{.name = "name",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(name),
         .help = "unique; the first part of every source, NAME/PEER"},
	{.name = "kind",
         .type = OPTION_CHOICE,
         .flags = OPTION_REQUIRED,
         AT(kind),
         .words = listener_kinds,
         .help = "syslog over TLS (RFC 5425), TCP (RFC 6587), UDP (RFC 5426), a unix datagram "
                 "socket, RELP, which is acknowledged when it is on the disk, or HTTP Event "
                 "Collector, the same"},
	{.name = "address",
         .type = OPTION_TEXT,
         .flags = OPTION_REQUIRED,
         AT(address),
         .help = "HOST:PORT with a numeric host or * for all, or the path of the unix socket"},
	{.name = "certificate",
         .type = OPTION_PATH,
         AT(certificate),
         .help = "tls: PEM file with the server's certificate and its chain"},
	{.name = "key", .type = OPTION_PATH, AT(key), .help = "tls: PEM file with its key"},
	{.name = "ca",
         .type = OPTION_PATH,
         AT(ca),
         .help = "tls: PEM file with the CAs that client certificates are verified against"},
	{.name = "peers",
         .type = OPTION_CHOICE,
         AT(peers),
         .fallback = "none",
         .words = peer_checks,
         .help = "tls: whether clients must show a certificate"},
	{.name = "allowed",
         .type = OPTION_TEXTS,
         AT(allowed),
         .count = offsetof(struct listener_config, allowed_count),
         .help = "tls: whose certificates are let in: names or *.names, addresses, subject:…, "
                 "sha-256:…; none: all that the CAs vouch for"},
	{.name = "crl",
         .type = OPTION_PATH,
         AT(crl),
         .help = "tls: PEM file with the CAs' lists of revoked certificates"},
	{.name = "tickets",
         .type = OPTION_CHOICE,
         AT(tickets),
         .fallback = "off",
         .words = switches,
         .help = "tls: session tickets; a client that only writes and closes may lose its last "
                 "messages by them"},
	{.name = "mode",
         .type = OPTION_MODE,
         AT(mode),
         .fallback = "0666",
         .max = "0777",
         .help = "unix: permissions of the socket"},
	{.name = "receive_buffer",
         .type = OPTION_SIZE,
         AT(receive_buffer),
         .fallback = "8MiB",
         .min = "4KiB",
         .max = "1GiB",
         .help = "udp: what the kernel may hold of a burst, per worker; what is beyond it is "
                 "counted as shed"},
	{.name = "tokens",
         .type = OPTION_PATH,
         AT(token_file),
         .help = "hec: file with who may send, one a line: NAME TOKEN, and `ack` behind it for "
                 "indexer acknowledgement"},
	{.name = "body_max",
         .type = OPTION_SIZE,
         AT(body_max),
         .fallback = "8MiB",
         .min = "4KiB",
         .max = "64MiB",
         .help = "hec: bytes of one request as it is sent; a longer one is refused"},
	{.name = "expanded_max",
         .type = OPTION_SIZE,
         AT(expanded_max),
         .fallback = "32MiB",
         .min = "4KiB",
         .max = "256MiB",
         .help = "hec: bytes of one request when gzip is undone"},
	{.name = "request_timeout",
         .type = OPTION_DURATION,
         AT(request_timeout_ns),
         .fallback = "30s",
         .min = "100ms",
         .max = "1h",
         .help = "hec: a request must have come whole in this time"},
};
#undef AT

static bool is_tls_option(const char *name)
{
	static const char *const names[] = {"certificate", "key",     "ca",     "peers",
	                                    "crl",         "allowed", "tickets"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

struct tls_settings listener_tls_settings(const struct listener_config *c)
{
	return (struct tls_settings){.certificate = c->certificate,
	                             .key = c->key,
	                             .ca = c->ca,
	                             .peers = (enum tls_peer_check)c->peers,
	                             .crl = c->crl,
	                             .allowed = (const char *const *)c->allowed,
	                             .allowed_count = c->allowed_count,
	                             .tickets = c->tickets};
}

static bool is_hec_option(const char *name)
{
	return strcmp(name, "tokens") == 0 || strcmp(name, "body_max") == 0 ||
	       strcmp(name, "expanded_max") == 0 || strcmp(name, "request_timeout") == 0;
}

/* An option that would be without effect is a mistake worth telling. */
static void check_fitting_options(struct option_reader *r, const struct listener_config *l,
                                  const struct yaml_node *node)
{
	for (size_t i = 0; i < ARRAY_LEN(listener_options); i++) {
		const char *name = listener_options[i].name;
		if (!option_given(node, name))
			continue;
		if (is_tls_option(name) && !listener_has_tls(l))
			option_error(r, option_at(node, NULL, name),
			             "`%s` is for listeners of kind tls, relp-tls and hec-tls only",
			             name);
		if (is_hec_option(name) && !listener_has_hec(l))
			option_error(r, option_at(node, NULL, name),
			             "`%s` is for listeners of kind hec and hec-tls only", name);
		if (strcmp(name, "mode") == 0 && l->kind != LISTENER_UNIX)
			option_error(r, option_at(node, NULL, name),
			             "`mode` is for listeners of kind unix only");
		if (strcmp(name, "receive_buffer") == 0 && l->kind != LISTENER_UDP)
			option_error(r, option_at(node, NULL, name),
			             "`receive_buffer` is for listeners of kind udp only");
	}
}

void config_check_socket_path(struct option_reader *r, const struct yaml_node *at, char **path)
{
	char *full = path_beside(r->file, *path);

	free(*path);
	*path = full;
	if (strlen(full) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		option_error(r, at, "a socket's path has at most %zu bytes, this one has %zu",
		             sizeof(((struct sockaddr_un *)0)->sun_path) - 1, strlen(full));
}

void config_check_address(struct option_reader *r, const struct yaml_node *at, const char *address)
{
	struct sockaddr_storage sa;
	socklen_t length;

	if (net_parse(str_of(address), &sa, &length) < 0)
		option_error(r, at,
		             "`address` must be HOST:PORT with a numeric host, like 192.0.2.1:514, "
		             "[2001:db8::1]:514 or *:514, not \"%.100s\"",
		             address);
}

void config_check_tls_files(struct option_reader *r, const struct yaml_node *node,
                            const struct tls_settings *s)
{
	size_t errors = r->diags->errors;
	struct tls_context *c;
	char error[512];

	config_check_file(r, option_at(node, NULL, "certificate"), s->certificate);
	config_check_file(r, option_at(node, NULL, "key"), s->key);
	config_check_file(r, option_at(node, NULL, "ca"), s->ca);
	config_check_file(r, option_at(node, NULL, "crl"), s->crl);
	if (r->diags->errors > errors)
		return;
	if (tls_context_new(true, s, &c, error, sizeof(error)) < 0)
		option_error(r, option_at(node, NULL, "certificate"), "%s", error);
	else
		tls_context_unref(c);
}

static void check_tls_listener(struct option_reader *r, const struct listener_config *l,
                               const struct yaml_node *node)
{
	size_t errors = r->diags->errors;

	if (!l->certificate)
		option_error(r, node, "a tls listener needs `certificate`");
	if (!l->key)
		option_error(r, node, "a tls listener needs `key`");
	if (l->peers != TLS_PEER_NONE && !l->ca && l->allowed_count == 0)
		option_error(r, option_at(node, NULL, "peers"),
		             "client certificates need a `ca` to be verified against");
	if (l->peers == TLS_PEER_NONE && l->allowed_count)
		option_error(r, option_at(node, NULL, "allowed"),
		             "`allowed` needs `peers: required`, or optional");
	if (l->crl && (l->peers == TLS_PEER_NONE || !l->ca))
		option_error(r, option_at(node, NULL, "crl"),
		             "`crl` needs a `ca` and `peers: required`, or optional");
	const struct tls_settings settings = listener_tls_settings(l);
	if (r->diags->errors == errors)
		config_check_tls_files(r, node, &settings);
}

static void check_listener(struct option_reader *r, void *item, const struct yaml_node *node)
{
	struct listener_config *l = item;

	config_check_name(r, option_at(node, NULL, "name"), "a listener", l->name);
	if (strcasecmp(l->name, CONFIG_OWN_LISTENER) == 0)
		option_error(r, option_at(node, NULL, "name"),
		             "`" CONFIG_OWN_LISTENER "` stands for isod's own events");
	if (strcasecmp(l->name, CONFIG_PRODUCER_LISTENER) == 0)
		option_error(r, option_at(node, NULL, "name"),
		             "`" CONFIG_PRODUCER_LISTENER
		             "` stands for events that come over the API");
	check_fitting_options(r, l, node);
	if (l->kind == LISTENER_UNIX)
		config_check_socket_path(r, option_at(node, NULL, "address"), &l->address);
	else
		config_check_address(r, option_at(node, NULL, "address"), l->address);
	if (listener_has_tls(l))
		check_tls_listener(r, l, node);
	if (listener_has_hec(l))
		config_read_tokens(r, l, node);
}

const struct option_set config_listener_options = {
	.what = "a listener",
	.options = listener_options,
	.count = ARRAY_LEN(listener_options),
	.item_size = sizeof(struct listener_config),
	.check = check_listener,
};

/* ---- across listeners ---- */

void config_check_listener_names(struct option_reader *r, const struct yaml_node *root,
                                 const struct config *c)
{
	const struct yaml_node *list = yaml_get(root, "listeners");

	for (size_t i = 1; i < c->listener_count; i++)
		for (size_t j = 0; j < i; j++) {
			const char *a = c->listeners[i].name, *b = c->listeners[j].name;
			if (!a || !b || strcmp(a, b) != 0)
				continue;
			option_error(r, option_at(list->items[i], NULL, "name"),
			             "a listener named `%s` stands in line %d already", a,
			             list->items[j]->line);
			break;
		}
}
