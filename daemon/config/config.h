/* The daemon's configuration: conf/isod.yaml (and the escalation file it names) parsed through tables of options
 * into a fresh struct and validated whole; nothing reads YAML after that. conf/isod.yaml lists every option with its
 * default, and a test holds it against the tables. */
#ifndef ISOD_CONFIG_CONFIG_H
#define ISOD_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/tls.h"
#include "ledger.pb-c.h"

/* The first part of the source of isod's own events, isod/NODE: no listener may have that name. */
#define CONFIG_OWN_LISTENER "isod"

/* The same for events of numbered producers (log/producer.h). */
#define CONFIG_PRODUCER_LISTENER "producer"

enum listener_kind {
	LISTENER_TLS,
	LISTENER_TCP,
	LISTENER_UDP,
	LISTENER_UNIX,
	LISTENER_RELP,
	LISTENER_RELP_TLS,
	LISTENER_HEC,
	LISTENER_HEC_TLS
};

/* Who may send to an HTTP Event Collector. Only the digest of the token is kept. */
struct hec_token {
	char *name; /* becomes part of the source: LISTENER/NAME@PEER */
	uint8_t digest[SHA256_BYTES];
	bool acknowledge; /* requests are answered at once, and asked for at /services/collector/ack */
};

struct listener_config {
	char *name; /* unique; the first part of every source: NAME/PEER */
	int kind;   /* enum listener_kind */
	char *address; /* HOST:PORT as net_parse() reads it (port 0: the kernel chooses), or a socket path */
	char *certificate, *key, *ca; /* TLS: PEM files */
	int peers;                    /* TLS: enum tls_peer_check */
	char *crl;                    /* TLS: PEM file with revocation lists; NULL: none */
	char **allowed; /* TLS: whose certificates (base/tls.h); none: all that `ca` signed */
	size_t allowed_count;
	int tickets;             /* TLS: bool */
	uint64_t mode;           /* unix: permissions of the socket, 0666 for a /dev/log */
	uint64_t receive_buffer; /* udp: bytes that wait in the kernel, per worker */
	char *token_file;        /* hec: one a line, NAME TOKEN [ack] */
	struct hec_token *tokens;
	size_t token_count;
	uint64_t body_max, expanded_max; /* hec: bytes of one request, as sent and as it unpacks */
	uint64_t request_timeout_ns;     /* hec: from a request's first byte to its last */
};

static inline bool listener_has_tls(const struct listener_config *c)
{
	return c->kind == LISTENER_TLS || c->kind == LISTENER_RELP_TLS ||
	       c->kind == LISTENER_HEC_TLS;
}

static inline bool listener_has_hec(const struct listener_config *c)
{
	return c->kind == LISTENER_HEC || c->kind == LISTENER_HEC_TLS;
}

static inline bool listener_has_relp(const struct listener_config *c)
{
	return c->kind == LISTENER_RELP || c->kind == LISTENER_RELP_TLS;
}

/* The TLS side of a listener, as base/tls.h wants it. Points into `c`. */
struct tls_settings listener_tls_settings(const struct listener_config *c);

/* Connections, not datagrams. */
static inline bool listener_is_stream(const struct listener_config *c)
{
	return c->kind != LISTENER_UDP && c->kind != LISTENER_UNIX;
}

enum redis_mode { REDIS_EMBEDDED, REDIS_EXTERNAL, REDIS_OFF };

struct redis_config {
	int mode;
	char *server; /* embedded: the program */
	char *url; /* external: redis://[user@]HOST:PORT[/DB], rediss://… for TLS, unix:///PATH */
	char *password_file;          /* external: first line is the password; NULL: none */
	char *ca, *certificate, *key; /* external with TLS */
	uint64_t flush_interval_ns;
};

/* Whom a peer of the API is taken for. Exactly one of user, group, certificate is set. The first that fits
 * counts; the daemon's own uid and root are admin; nobody else has a role. */
struct role_config {
	char *user, *group; /* of the unix socket's peer */
	char *certificate;  /* common name of a TLS peer */
	Isod__V1__Role role;
};

struct api_config {
	char *socket;  /* unix socket path; NULL: STATE/isod.sock */
	uint64_t mode; /* its permissions */
	char *address; /* TLS: HOST:PORT; NULL: none */
	char *certificate, *key, *ca;
	uint64_t request_max; /* bytes of one request */
	struct role_config *roles;
	size_t role_count;
};

struct plugin_option {
	char *name, *value;
};

/* A configured plugin process (conf/escalation.yaml). */
struct plugin_config {
	char *name;
	char *program; /* absolute, or a name in `plugin_dir` */
	struct plugin_option *options;
	size_t option_count;
	uint64_t
		timeout_ns; /* an alert not answered by then is a failed attempt and the process is restarted */
	const char *file; /* where it stands, for messages */
	int line, column;
};

/* What becomes of the finished segments of a log. */
struct keep_config {
	uint64_t compress; /* zstd level; 0: off */
	uint64_t
		retention; /* as it was written: ns, or a name as a negative number, see config_retention */
	uint64_t at_hand_ns; /* not compressed for so long; 0: as the name says, or some minutes */
	uint64_t keep_bytes; /* 0: no limit */
};

/* Resolves the named retentions: *ret_keep_ns 0 is for ever, *ret_at_hand_ns is never 0. */
void config_retention(const struct keep_config *c, uint64_t *ret_keep_ns, uint64_t *ret_at_hand_ns);

struct config {
	char *file;
	char *node; /* this instance's name; default: the host name */
	char *state_dir;
	char *plugin_dir;
	int log_target; /* enum log_target */
	int log_level;  /* LOG_ERR … LOG_DEBUG */

	uint64_t workers;   /* 0 in the file ("auto"): one per core; resolved after loading */
	uint64_t frame_max; /* bytes of one frame; longer ones are cut and marked */
	uint64_t connections_max;
	uint64_t backlog_memory; /* bytes of undetected evidence in memory, per worker */
	uint64_t lag_max; /* bytes of undetected evidence, per worker; past it streams wait */
	uint64_t idle_timeout_ns;
	uint64_t handshake_timeout_ns;
	uint64_t frame_timeout_ns;
	uint64_t
		memory_max; /* bytes of frames that have not come to their end, of all connections */
	/* A second; 0: no limit. */
	uint64_t handshakes, peer_connects, peer_bytes, peer_events;
	uint64_t peer_connections_max; /* 0: no limit */
	struct listener_config *listeners;
	size_t listener_count;

	uint64_t evidence_segment_bytes, ledger_segment_bytes;
	struct keep_config evidence_keep, ledger_keep;
	uint64_t ledger_commit_ns, ledger_commit_bytes; /* officer/officer.h */
	uint64_t anchor_interval_ns;                    /* 0: no anchors */
	uint64_t evidence_sync_ns;    /* at most this long between arrival and fdatasync */
	uint64_t producers_forget_ns; /* 0: never */
	uint64_t evidence_sync_bytes; /* so much more is worth an fdatasync of its own */
	uint64_t evidence_ack_ns;     /* at most one fdatasync in this time for acknowledgements */
	uint64_t snapshot_interval_ns, snapshot_records;
	uint64_t tally_interval_ns; /* how often workers tell the ledger how far they counted */

	char **rules; /* files and folders */
	size_t rule_count;
	char *logsources, *patterns;
	char *placeholders; /* lists for the rules' %placeholders%; NULL: none */
	char *escalation;   /* conf/escalation.yaml; NULL: nobody is told */

	uint64_t incident_window_ns;
	Isod__V1__Level incident_open_level;
	/* What is kept in memory; 0: all. */
	uint64_t incident_kept_ns, incident_kept_max, incident_open_max;
	uint64_t notification_kept_ns, notification_kept_max;
	uint64_t correlation_skew_ns;
	uint64_t correlation_lateness_ns;
	uint64_t risk_half_life_ns;
	Isod__V1__AssetWeight *assets;
	size_t asset_count;

	struct redis_config redis;
	struct api_config api;
	uint64_t metrics_sources_max;
	char *http_address; /* of /metrics, /healthz, /readyz: HOST:PORT; NULL: none */

	struct plugin_config *plugins;
	size_t plugin_count;
	Isod__V1__Route *routes;
	size_t route_count;
};

/* Reads and validates `file` and what it names (relative paths in a file are relative to that file; state_dir and
 * plugin_dir are taken as they are). 0 and *ret; -EINVAL or -errno with every error in `diags`, each with file, line,
 * column and, for an unknown key, the nearest known one. Does not open the state or any socket. */
int config_load(const char *file, struct diags *diags, struct config **ret);
/* NULL is allowed. */
void config_free(struct config *c);

/* Appends every option of every table: "section.key (type, default): what it is", one a line: `isod --options`. */
void config_describe(struct buf *out);

#endif
