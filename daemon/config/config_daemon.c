/* The options of isod.yaml. A new option is one line here, one in conf/isod.yaml and a member of struct config. */
#include "config/config_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/redis_url.h"

const struct option_word config_levels[] = {
	{"informational", ISOD__V1__LEVEL__LEVEL_INFORMATIONAL},
	{"low", ISOD__V1__LEVEL__LEVEL_LOW},
	{"medium", ISOD__V1__LEVEL__LEVEL_MEDIUM},
	{"high", ISOD__V1__LEVEL__LEVEL_HIGH},
	{"critical", ISOD__V1__LEVEL__LEVEL_CRITICAL},
	{0},
};

/* ---- how long the books are kept ---- */

/* What rules ask for. Months and years are counted at their longest, so that nothing is a day short. */
static const struct named_retention {
	const char *name;
	uint64_t keep_ns, at_hand_ns;
} named_retentions[] = {
	{"forever", 0, 0},
	{"pci-dss", 366 * NS_PER_DAY,
         92 * NS_PER_DAY}, /* PCI DSS 4.0, 10.5.1: twelve months, three of them at hand */
	{"hipaa", 2192 * NS_PER_DAY, 0}, /* 45 CFR 164.316(b)(2)(i): six years */
	{"m-21-31", 915 * NS_PER_DAY,
         366 * NS_PER_DAY}, /* OMB M-21-31: twelve months active and eighteen months cold */
	{"nerc-cip", 90 * NS_PER_DAY, 0}, /* NERC CIP-007-6 R4.3: 90 days */
};

/* What nobody asks to be at hand is not compressed at once either: that costs as much of a processor as taking it in did,
 * and a burst is over by then. */
#define AT_HAND_LEAST (10 * NS_PER_MINUTE)

static const struct option_word retention_names[] = {
	{"forever", 0}, {"pci-dss", -1}, {"hipaa", -2}, {"m-21-31", -3}, {"nerc-cip", -4}, {0}};

void config_retention(const struct keep_config *c, uint64_t *ret_keep_ns, uint64_t *ret_at_hand_ns)
{
	uint64_t index = -c->retention;
	bool named = index < ARRAY_LEN(named_retentions);
	uint64_t at_hand = named ? named_retentions[index].at_hand_ns : 0;

	if (!at_hand)
		at_hand = AT_HAND_LEAST;

	*ret_keep_ns = named ? named_retentions[index].keep_ns : c->retention;
	*ret_at_hand_ns = c->at_hand_ns ? c->at_hand_ns : at_hand;
}

static void check_keeping(struct option_reader *r, const struct yaml_node *root,
                          const char *section, const struct keep_config *c)
{
	uint64_t keep, at_hand;

	config_retention(c, &keep, &at_hand);
	if (keep && at_hand > keep)
		option_error(r, option_at(root, section, "at_hand"),
		             "`at_hand` is longer than `retention`: nothing would be left to "
		             "compress");
	if (c->at_hand_ns && !c->compress)
		option_warning(r, option_at(root, section, "at_hand"),
		               "`at_hand` has no effect with `compress: off`");
}

/* ---- the file ---- */

static const struct option_word log_targets[] = {
	{"stderr", LOG_TO_STDERR}, {"syslog", LOG_TO_SYSLOG}, {0}};

static const struct option_word log_levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},     {0},
};

static const struct option_word redis_modes[] = {
	{"embedded", REDIS_EMBEDDED}, {"external", REDIS_EXTERNAL}, {"off", REDIS_OFF}, {0}};

static const struct option_word kept_forever[] = {{"forever", 0}, {0}};
static const struct option_word switched_off[] = {{"off", 0}, {0}};

static const struct option_word never[] = {{"never", 0}, {0}};

static const struct option_word automatic[] = {{"auto", 0}, {0}};
static const struct option_word unlimited[] = {{"unlimited", 0}, {0}};

#define AT(member) .offset = offsetof(struct config, member)
static const struct option options[] = {
	{.name = "node",
         .type = OPTION_TEXT,
         AT(node),
         .help = "this instance's name; none: the host name"},
	{.name = "state_dir",
         .type = OPTION_TEXT,
         AT(state_dir),
         .fallback = "/var/lib/isod",
         .help = "ledger, evidence, sockets and the embedded Redis live here"},
	{.name = "plugin_dir",
         .type = OPTION_TEXT,
         AT(plugin_dir),
         .fallback = "/usr/lib/isod/plugins",
         .help = "where escalation plugins are looked for"},
	{.name = "workers",
         .type = OPTION_NUMBER,
         AT(workers),
         .fallback = "auto",
         .min = "1",
         .max = "256",
         .words = automatic,
         .help = "threads that take in and detect; auto: one per core"},
	{.name = "rules",
         .type = OPTION_PATHS,
         AT(rules),
         .count = offsetof(struct config, rule_count),
         .fallback = "rules",
         .help = "files and folders of Sigma rules"},
	{.name = "logsources",
         .type = OPTION_PATH,
         AT(logsources),
         .fallback = "logsources.yaml",
         .help = "which events belong to which Sigma log source"},
	{.name = "patterns",
         .type = OPTION_PATH,
         AT(patterns),
         .fallback = "patterns.yaml",
         .help = "how the messages of common programs are taken apart"},
	{.name = "placeholders",
         .type = OPTION_PATH,
         .flags = OPTION_NULLABLE,
         AT(placeholders),
         .fallback = "placeholders.yaml",
         .help = "lists for the rules' %placeholders%; ~: none; when not given, it need not exist"},
	{.name = "escalation",
         .type = OPTION_PATH,
         .flags = OPTION_NULLABLE,
         AT(escalation),
         .fallback = "escalation.yaml",
         .help = "who is told about incidents; ~: nobody; when not given, it need not exist"},

	{.section = "producers",
         .name = "forget_after",
         .type = OPTION_DURATION,
         AT(producers_forget_ns),
         .fallback = "400d",
         .min = "2s",
         .max = "100y",
         .words = never,
         .help = "a producer not heard of for so long is forgotten, and begins at 1 again"},

	{.section = "log",
         .name = "target",
         .type = OPTION_CHOICE,
         AT(log_target),
         .fallback = "stderr",
         .words = log_targets,
         .help = "where isod's own messages go"},
	{.section = "log",
         .name = "level",
         .type = OPTION_CHOICE,
         AT(log_level),
         .fallback = "info",
         .words = log_levels,
         .help = "the least important ones that are shown"},

	{.section = "limits",
         .name = "frame_max",
         .type = OPTION_SIZE,
         AT(frame_max),
         .fallback = "64KiB",
         .min = "1KiB",
         .max = "1MiB",
         .help = "bytes of one message; a longer one is cut, kept, marked and counted"},
	{.section = "limits",
         .name = "connections_max",
         .type = OPTION_NUMBER,
         AT(connections_max),
         .fallback = "16384",
         .min = "1",
         .max = "1000000",
         .help = "connections of senders at one time"},
	{.section = "limits",
         .name = "peer_connections_max",
         .type = OPTION_NUMBER,
         AT(peer_connections_max),
         .fallback = "1024",
         .min = "1",
         .max = "1000000",
         .words = unlimited,
         .help = "of these, connections of one address (of IPv6: one /64)"},
	{.section = "limits",
         .name = "peer_connects",
         .type = OPTION_NUMBER,
         AT(peer_connects),
         .fallback = "200",
         .min = "1",
         .max = "1000000",
         .words = unlimited,
         .help = "new connections of one address in a second; more are closed at once"},
	{.section = "limits",
         .name = "handshakes",
         .type = OPTION_NUMBER,
         AT(handshakes),
         .fallback = "1000",
         .min = "1",
         .max = "1000000",
         .words = unlimited,
         .help = "TLS handshakes begun in a second; more wait to be accepted"},
	{.section = "limits",
         .name = "peer_bytes",
         .type = OPTION_SIZE,
         AT(peer_bytes),
         .fallback = "256MiB",
         .min = "1KiB",
         .max = "1TiB",
         .words = unlimited,
         .help = "of one address in a second: a stream past it waits, datagrams are shed"},
	{.section = "limits",
         .name = "peer_events",
         .type = OPTION_NUMBER,
         AT(peer_events),
         .fallback = "2000000",
         .min = "1",
         .max = "1000000000",
         .words = unlimited,
         .help = "the same in messages"},
	{.section = "limits",
         .name = "memory_max",
         .type = OPTION_SIZE,
         AT(memory_max),
         .fallback = "256MiB",
         .min = "1MiB",
         .max = "1TiB",
         .help = "of messages that have not come to their end; past it the oldest connection with "
                 "one is closed"},
	{.section = "limits",
         .name = "idle_timeout",
         .type = OPTION_DURATION,
         AT(idle_timeout_ns),
         .fallback = "1d",
         .min = "1s",
         .max = "1y",
         .help = "a sender that is silent for so long is disconnected"},
	{.section = "limits",
         .name = "handshake_timeout",
         .type = OPTION_DURATION,
         AT(handshake_timeout_ns),
         .fallback = "10s",
         .min = "100ms",
         .max = "5m",
         .help = "a TLS handshake that takes longer is given up"},
	{.section = "limits",
         .name = "frame_timeout",
         .type = OPTION_DURATION,
         AT(frame_timeout_ns),
         .fallback = "1m",
         .min = "100ms",
         .max = "1d",
         .help = "a message that takes longer from its first byte to its last is cut there, and "
                 "the connection closed"},
	{.section = "limits",
         .name = "backlog_memory",
         .type = OPTION_SIZE,
         AT(backlog_memory),
         .fallback = "32MiB",
         .max = "64GiB",
         .help = "messages that wait for detection are kept in memory up to so much per worker; "
                 "the rest is read back from evidence"},
	{.section = "limits",
         .name = "lag_max",
         .type = OPTION_SIZE,
         AT(lag_max),
         .fallback = "1GiB",
         .min = "1MiB",
         .max = "1TiB",
         .help = "with so much evidence not detected, per worker, streams wait; datagrams do not"},

	{.name = "listeners",
         .type = OPTION_ITEMS,
         AT(listeners),
         .count = offsetof(struct config, listener_count),
         .items = &config_listener_options,
         .help = "where messages come in"},

	{.section = "evidence",
         .name = "segment_size",
         .type = OPTION_SIZE,
         AT(evidence_segment_bytes),
         .fallback = "64MiB",
         .min = "64KiB",
         .max = "64GiB",
         .help = "a new file is begun past this size"},
	{.section = "evidence",
         .name = "sync_interval",
         .type = OPTION_DURATION,
         AT(evidence_sync_ns),
         .fallback = "200ms",
         .min = "1ms",
         .max = "1m",
         .help = "at most so long from arrival until it survives a power cut"},
	{.section = "evidence",
         .name = "ack_interval",
         .type = OPTION_DURATION,
         AT(evidence_ack_ns),
         .fallback = "2ms",
         .max = "1s",
         .help = "acknowledgements (RELP, producers) share one fdatasync in so long"},
	{.section = "evidence",
         .name = "sync_bytes",
         .type = OPTION_SIZE,
         AT(evidence_sync_bytes),
         .fallback = "1MiB",
         .min = "4KiB",
         .max = "1GiB",
         .help = "or so many bytes, when that comes first"},

	{.section = "evidence",
         .name = "compress",
         .type = OPTION_NUMBER,
         AT(evidence_keep.compress),
         .fallback = "1",
         .min = "1",
         .max = "19",
         .words = switched_off,
         .help = "zstd level of finished files"},
	{.section = "evidence",
         .name = "retention",
         .type = OPTION_DURATION,
         AT(evidence_keep.retention),
         .fallback = "forever",
         .min = "1h",
         .max = "100y",
         .words = retention_names,
         .help = "older evidence is removed, but not what is uncounted or an open incident refers "
                 "to"},
	{.section = "evidence",
         .name = "at_hand",
         .type = OPTION_DURATION,
         AT(evidence_keep.at_hand_ns),
         .fallback = "auto",
         .max = "100y",
         .words = automatic,
         .help = "not compressed for so long; auto: what a named retention asks for, or 10 "
                 "minutes"},
	{.section = "evidence",
         .name = "keep_size",
         .type = OPTION_SIZE,
         AT(evidence_keep.keep_bytes),
         .fallback = "unlimited",
         .min = "1MiB",
         .words = unlimited,
         .help = "past this size in all, the oldest counted evidence is removed, whatever its age"},

	{.section = "ledger",
         .name = "segment_size",
         .type = OPTION_SIZE,
         AT(ledger_segment_bytes),
         .fallback = "64MiB",
         .min = "64KiB",
         .max = "64GiB",
         .help = "a new file is begun past this size"},
	{.section = "ledger",
         .name = "tally_interval",
         .type = OPTION_DURATION,
         AT(tally_interval_ns),
         .fallback = "1s",
         .min = "10ms",
         .max = "1m",
         .help = "how often the ledger learns how far was counted"},
	{.section = "ledger",
         .name = "commit_interval",
         .type = OPTION_DURATION,
         AT(ledger_commit_ns),
         .fallback = "0ms",
         .max = "10s",
         .help = "records share one fdatasync in so long; 0ms: only while the one before takes"},
	{.section = "ledger",
         .name = "commit_bytes",
         .type = OPTION_SIZE,
         AT(ledger_commit_bytes),
         .fallback = "1MiB",
         .min = "4KiB",
         .max = "64MiB",
         .help = "and no more than so many bytes of them gather"},

	{.section = "ledger",
         .name = "compress",
         .type = OPTION_NUMBER,
         AT(ledger_keep.compress),
         .fallback = "3",
         .min = "1",
         .max = "19",
         .words = switched_off,
         .help = "zstd level of finished files"},
	{.section = "ledger",
         .name = "retention",
         .type = OPTION_DURATION,
         AT(ledger_keep.retention),
         .fallback = "forever",
         .min = "1h",
         .max = "100y",
         .words = retention_names,
         .help = "older records are removed, but only those that a snapshot covers"},
	{.section = "ledger",
         .name = "at_hand",
         .type = OPTION_DURATION,
         AT(ledger_keep.at_hand_ns),
         .fallback = "auto",
         .max = "100y",
         .words = automatic,
         .help = "not compressed for so long; auto: what a named retention asks for, or 10 "
                 "minutes"},
	{.section = "ledger",
         .name = "keep_size",
         .type = OPTION_SIZE,
         AT(ledger_keep.keep_bytes),
         .fallback = "unlimited",
         .min = "1MiB",
         .words = unlimited,
         .help = "past this size the oldest records that a snapshot covers are removed, whatever "
                 "their age"},

	{.section = "snapshot",
         .name = "interval",
         .type = OPTION_DURATION,
         AT(snapshot_interval_ns),
         .fallback = "15m",
         .min = "1s",
         .max = "7d",
         .help = "so often the whole state is written, so that a start folds only the rest"},
	{.section = "snapshot",
         .name = "records",
         .type = OPTION_NUMBER,
         AT(snapshot_records),
         .fallback = "1000000",
         .min = "1000",
         .max = "1000000000",
         .help = "and after so many ledger records"},

	{.section = "anchors",
         .name = "interval",
         .type = OPTION_DURATION,
         AT(anchor_interval_ns),
         .fallback = "15m",
         .min = "1s",
         .max = "7d",
         .words = switched_off,
         .help = "the ledger's head is signed so often, into state_dir/anchors and to syslog"},

	{.section = "incidents",
         .name = "window",
         .type = OPTION_DURATION,
         AT(incident_window_ns),
         .fallback = "1h",
         .min = "1s",
         .max = "30d",
         .help = "a match joins an open incident that changed within this time"},
	{.section = "incidents",
         .name = "open_level",
         .type = OPTION_CHOICE,
         AT(incident_open_level),
         .fallback = "medium",
         .words = config_levels,
         .help = "matches below it join incidents but open none"},
	{.section = "incidents",
         .name = "kept",
         .type = OPTION_DURATION,
         AT(incident_kept_ns),
         .fallback = "90d",
         .min = "1s",
         .max = "100y",
         .words = kept_forever,
         .help = "closed for so long, an incident leaves memory and the view, not the ledger"},
	{.section = "incidents",
         .name = "kept_max",
         .type = OPTION_NUMBER,
         AT(incident_kept_max),
         .fallback = "100000",
         .min = "1",
         .max = "100000000",
         .words = unlimited,
         .help = "of closed ones so many stay: the first to be closed leave"},
	{.section = "incidents",
         .name = "open_max",
         .type = OPTION_NUMBER,
         AT(incident_open_max),
         .fallback = "100000",
         .min = "1",
         .max = "100000000",
         .words = unlimited,
         .help = "when so many are open, what a rule would open gathers in one incident of its"},

	{.section = "notifications",
         .name = "kept",
         .type = OPTION_DURATION,
         AT(notification_kept_ns),
         .fallback = "90d",
         .min = "1s",
         .max = "100y",
         .words = kept_forever,
         .help = "delivered, dead or cancelled for so long, a notification leaves memory and the "
                 "view"},
	{.section = "notifications",
         .name = "kept_max",
         .type = OPTION_NUMBER,
         AT(notification_kept_max),
         .fallback = "100000",
         .min = "1",
         .max = "100000000",
         .words = unlimited,
         .help = "of those so many stay: the first to come to their end leave"},

	{.section = "correlation",
         .name = "skew",
         .type = OPTION_DURATION,
         AT(correlation_skew_ns),
         .fallback = "1h",
         .max = "30d",
         .help = "an event's own time is believed if it is no further from its arrival"},
	{.section = "correlation",
         .name = "lateness",
         .type = OPTION_DURATION,
         AT(correlation_lateness_ns),
         .fallback = "5m",
         .min = "1ms",
         .max = "30d",
         .help = "an event so far behind the newest of its group is late"},

	{.section = "risk",
         .name = "half_life",
         .type = OPTION_DURATION,
         AT(risk_half_life_ns),
         .fallback = "1d",
         .min = "1m",
         .max = "1y",
         .help = "the time in which a risk score halves"},
	{.section = "risk",
         .name = "assets",
         .type = OPTION_ITEMS,
         .offset = offsetof(struct config_file, assets),
         .count = offsetof(struct config_file, asset_count),
         .items = &config_asset_options,
         .help = "what counts for more, or less, than the rest"},

	{.section = "metrics",
         .name = "sources_max",
         .type = OPTION_NUMBER,
         AT(metrics_sources_max),
         .fallback = "1000",
         .max = "100000",
         .help = "sources that metrics tell apart, the first ones heard; the rest is added up as "
                 "(other)"},

	{.section = "http",
         .name = "address",
         .type = OPTION_TEXT,
         AT(http_address),
         .help = "HOST:PORT where /metrics, /healthz and /readyz are, for everybody who can reach "
                 "it; none: nowhere"},

	{.section = "redis",
         .name = "mode",
         .type = OPTION_CHOICE,
         AT(redis.mode),
         .fallback = "embedded",
         .words = redis_modes,
         .help = "a server of isod's own, one that is there already, or none"},
	{.section = "redis",
         .name = "server",
         .type = OPTION_TEXT,
         AT(redis.server),
         .fallback = "redis-server",
         .help = "embedded: the program"},
	{.section = "redis",
         .name = "url",
         .type = OPTION_TEXT,
         AT(redis.url),
         .help = "external: redis://[user@]HOST:PORT[/DB], rediss:// with TLS, unix:///PATH"},
	{.section = "redis",
         .name = "password_file",
         .type = OPTION_PATH,
         AT(redis.password_file),
         .help = "external: its first line is the password"},
	{.section = "redis",
         .name = "ca",
         .type = OPTION_PATH,
         AT(redis.ca),
         .help = "rediss: CAs the server is verified against; none: the system's"},
	{.section = "redis",
         .name = "certificate",
         .type = OPTION_PATH,
         AT(redis.certificate),
         .help = "rediss: isod's own certificate"},
	{.section = "redis",
         .name = "key",
         .type = OPTION_PATH,
         AT(redis.key),
         .help = "rediss: its key"},
	{.section = "redis",
         .name = "flush_interval",
         .type = OPTION_DURATION,
         AT(redis.flush_interval_ns),
         .fallback = "500ms",
         .min = "10ms",
         .max = "1m",
         .help = "changes are written together so often"},

	{.section = "api",
         .name = "socket",
         .type = OPTION_PATH,
         AT(api.socket),
         .help = "unix socket for isoctl and other services; none: isod.sock in state_dir"},
	{.section = "api",
         .name = "mode",
         .type = OPTION_MODE,
         AT(api.mode),
         .fallback = "0660",
         .max = "0777",
         .help = "its permissions"},
	{.section = "api",
         .name = "address",
         .type = OPTION_TEXT,
         AT(api.address),
         .help = "HOST:PORT for TLS with client certificates; none: only the unix socket"},
	{.section = "api",
         .name = "certificate",
         .type = OPTION_PATH,
         AT(api.certificate),
         .help = "TLS: the server's certificate and its chain"},
	{.section = "api", .name = "key", .type = OPTION_PATH, AT(api.key), .help = "TLS: its key"},
	{.section = "api",
         .name = "ca",
         .type = OPTION_PATH,
         AT(api.ca),
         .help = "TLS: CAs that client certificates are verified against"},
	{.section = "api",
         .name = "request_max",
         .type = OPTION_SIZE,
         AT(api.request_max),
         .fallback = "1MiB",
         .min = "1KiB",
         .max = "64MiB",
         .help = "bytes of one request; a longer one ends the connection"},
	{.section = "api",
         .name = "roles",
         .type = OPTION_ITEMS,
         AT(api.roles),
         .count = offsetof(struct config, api.role_count),
         .items = &config_role_options,
         .help = "who may do what; root and isod's own user are admin, others nothing"},
};
#undef AT

const struct option_set config_daemon_options = {
	.options = options,
	.count = ARRAY_LEN(options),
};

/* ---- across options ---- */

bool config_check_name(struct option_reader *r, const struct yaml_node *at, const char *what,
                       const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])) {
			option_error(r, at,
			             "%s's name has letters, digits, `.`, `_` and `-` only, not "
			             "\"%.100s\"",
			             what, name);
			return false;
		}
	if (n > CONFIG_NAME_MAX)
		option_error(r, at, "%s's name has at most %d bytes", what, CONFIG_NAME_MAX);
	return n <= CONFIG_NAME_MAX;
}

void config_check_file(struct option_reader *r, const struct yaml_node *at, const char *path)
{
	if (path && access(path, R_OK) < 0)
		option_error(r, at, "%s: %m", path);
}

static void check_redis(struct option_reader *r, const struct yaml_node *root,
                        const struct redis_config *c)
{
	static const char *const external_only[] = {"url", "password_file", "ca", "certificate",
	                                            "key"};
	const struct yaml_node *redis = yaml_get(root, "redis");
	struct redis_url url;
	char why[256];

	for (size_t i = 0; c->mode != REDIS_EXTERNAL && i < ARRAY_LEN(external_only); i++)
		if (option_given(redis, external_only[i]))
			option_warning(r, option_at(redis, NULL, external_only[i]),
			               "`%s` has no effect without `mode: external`",
			               external_only[i]);
	if (c->mode != REDIS_EXTERNAL)
		return;
	if (!c->url)
		option_error(r, option_at(root, "redis", "mode"), "`mode: external` needs `url`");
	else if (redis_url_parse(str_of(c->url), &url, why, sizeof(why)) < 0)
		option_error(r, option_at(root, "redis", "url"), "`url`: %s", why);
	else
		redis_url_release(&url);
	if (!c->certificate != !c->key)
		option_error(r, redis, "`certificate` and `key` need each other");
	config_check_file(r, option_at(root, "redis", "password_file"), c->password_file);
	config_check_file(r, option_at(root, "redis", "ca"), c->ca);
	config_check_file(r, option_at(root, "redis", "certificate"), c->certificate);
	config_check_file(r, option_at(root, "redis", "key"), c->key);
}

static void check_api(struct option_reader *r, const struct yaml_node *root, struct api_config *c)
{
	static const char *const needed[] = {"certificate", "key", "ca"};
	const struct yaml_node *api = yaml_get(root, "api");
	const char *given[] = {c->certificate, c->key, c->ca};
	size_t errors = r->diags->errors;

	if (c->socket)
		config_check_socket_path(r, option_at(root, "api", "socket"), &c->socket);
	if (!c->address)
		return;
	config_check_address(r, option_at(root, "api", "address"), c->address);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (!given[i])
			option_error(r, option_at(root, "api", "address"),
			             "the API over TLS needs `%s`", needed[i]);
	if (r->diags->errors == errors)
		config_check_tls_files(r, api,
		                       &(struct tls_settings){.certificate = c->certificate,
		                                              .key = c->key,
		                                              .ca = c->ca,
		                                              .peers = TLS_PEER_REQUIRED});
}

void config_check_daemon(struct option_reader *r, const struct yaml_node *root,
                         struct config_file *c)
{
	if (c->config.node)
		config_check_name(r, option_at(root, NULL, "node"), "a node", c->config.node);
	config_check_listener_names(r, root, &c->config);
	if (c->config.http_address)
		config_check_address(r, option_at(root, "http", "address"), c->config.http_address);
	check_redis(r, root, &c->config.redis);
	check_api(r, root, &c->config.api);
	check_keeping(r, root, "evidence", &c->config.evidence_keep);
	check_keeping(r, root, "ledger", &c->config.ledger_keep);
	if (c->config.listener_count == 0)
		option_warning(r, option_at(root, NULL, "listeners"),
		               "no listener is configured: nothing will come in");
}
