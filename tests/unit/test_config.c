/* The configuration: conf/isod.yaml against the tables, every kind of value, and every mistake told with file, line and
 * column, all in one run. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/clock.h"
#include "base/path.h"
#include "config/config_parts.h"

static char folder[64], main_file[128], escalation_file[128];
static struct diags diags;
static struct config *config;

static void setup(void)
{
	strcpy(folder, "/tmp/isod-config-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(main_file, sizeof(main_file), "%s/isod.yaml", folder);
	snprintf(escalation_file, sizeof(escalation_file), "%s/escalation.yaml", folder);
	diags_init(&diags);
}

static void teardown(void)
{
	config_free(config);
	config = NULL;
	diags_release(&diags);
	unlink(main_file);
	unlink(escalation_file);
	cr_expect_eq(rmdir(folder), 0, "nothing is left behind");
}

TestSuite(config, .init = setup, .fini = teardown);

static void write_file(const char *path, const char *text)
{
	cr_assert_eq(path_write_atomic(path, str_of(text), 0600), 0);
}

static int load(const char *text)
{
	write_file(main_file, text);
	return config_load(main_file, &diags, &config);
}

static void load_good(const char *text)
{
	char line[1000];
	int r = load(text);

	for (size_t i = 0; i < diags.count; i++)
		cr_log_info("%s\n", diag_format(&diags.items[i], line, sizeof(line)));
	cr_assert_eq(r, 0, "%s", diags.count ? diags.items[0].text : "");
	cr_assert_eq(diags.errors, 0);
}

/* Is there a message "LINE:COLUMN: …" of `file` that holds `words`? */
static bool told(const char *file, int line, int column, const char *words)
{
	for (size_t i = 0; i < diags.count; i++) {
		const struct diag *d = &diags.items[i];
		if (d->line == line && d->column == column && strcmp(d->file, file) == 0 &&
		    strstr(d->text, words))
			return true;
	}
	return false;
}

static void expect_told(const char *file, int line, int column, const char *words)
{
	struct buf all;
	char one[1000];

	if (told(file, line, column, words))
		return;
	buf_init(&all, 0);
	for (size_t i = 0; i < diags.count; i++)
		buf_printf(&all, "%s\n", diag_format(&diags.items[i], one, sizeof(one)));
	cr_assert(false, "not told: %s:%d:%d: %s\ntold:\n%s", file, line, column, words,
	          buf_cstr(&all));
}

/* One error and no more. */
static void expect_error(const char *text, int line, int column, const char *words)
{
	cr_assert_eq(load(text), -EINVAL, "accepted: %s", text);
	cr_assert_null(config);
	expect_told(main_file, line, column, words);
	cr_assert_eq(diags.errors, 1, "one error for: %s", text);
	diags_release(&diags);
}

Test(config, an_empty_file_gives_the_defaults)
{
	char *rules = xasprintf("%s/rules", folder),
	     *sources = xasprintf("%s/logsources.yaml", folder);

	load_good("");
	cr_assert_str_eq(config->file, main_file);
	cr_assert_str_eq(config->state_dir, "/var/lib/isod");
	cr_assert_eq(config->workers, 0);
	cr_assert_eq(config->frame_max, 65536);
	cr_assert_eq(config->idle_timeout_ns, UINT64_C(86400000000000));
	cr_assert_eq(config->log_level, LOG_INFO);
	cr_assert_eq(config->log_target, LOG_TO_STDERR);
	cr_assert_eq(config->rule_count, 1);
	cr_assert_str_eq(config->rules[0], rules, "relative to the file");
	cr_assert_str_eq(config->logsources, sources);
	cr_assert_null(config->escalation, "the default one is not there");
	cr_assert_eq(config->incident_open_level, ISOD__V1__LEVEL__LEVEL_MEDIUM);
	cr_assert_eq(config->redis.mode, REDIS_EMBEDDED);
	cr_assert_str_eq(config->redis.server, "redis-server");
	cr_assert_null(config->redis.url);
	cr_assert_eq(config->api.mode, 0660);
	cr_assert_null(config->api.socket);
	cr_assert_eq(config->listener_count, 0);
	cr_assert_gt(strlen(config->node), 0, "the host name");
	cr_assert_eq(diags.warnings, 1, "no listener is worth a word");
	free(rules);
	free(sources);
}

Test(config, every_kind_of_value_is_read)
{
	load_good("node: edge-1.example\n"
	          "state_dir: run/state\n"
	          "workers: 3\n"
	          "rules:\n"
	          "  - /etc/rules\n"
	          "  - more\n"
	          "log: {target: SYSLOG, level: debug}\n"
	          "limits:\n"
	          "  frame_max: 128k\n"
	          "  idle_timeout: 90\n"
	          "listeners:\n"
	          "  - {name: a, kind: tcp, address: '*:0'}\n"
	          "  - {name: b, kind: unix, address: log.sock, mode: 600}\n"
	          "  - {name: c, kind: udp, address: '[::1]:514'}\n"
	          "incidents: {window: 15m, open_level: Low}\n"
	          "risk:\n"
	          "  assets:\n"
	          "    - {kind: host, name: 'db-*', weight: 200}\n"
	          "    - {kind: user, name: root, weight: 0}\n"
	          "redis:\n"
	          "  mode: off\n"
	          "api:\n"
	          "  roles:\n"
	          "    - {user: alice, role: responder}\n"
	          "    - {group: '1000', role: viewer}\n"
	          "    - {certificate: dash, role: admin}\n"
	          "evidence:\n");
	char *path = xasprintf("%s/log.sock", folder);
	cr_assert_str_eq(config->node, "edge-1.example");
	cr_assert_str_eq(config->state_dir, "run/state", "taken as it is");
	cr_assert_eq(config->workers, 3);
	cr_assert_eq(config->rule_count, 2);
	cr_assert_str_eq(config->rules[0], "/etc/rules");
	cr_assert_eq(config->log_target, LOG_TO_SYSLOG);
	cr_assert_eq(config->log_level, LOG_DEBUG);
	cr_assert_eq(config->frame_max, 131072);
	cr_assert_eq(config->idle_timeout_ns, UINT64_C(90000000000));
	cr_assert_eq(config->listener_count, 3);
	cr_assert_eq(config->listeners[0].kind, LISTENER_TCP);
	cr_assert_str_eq(config->listeners[1].address, path);
	cr_assert_eq(config->listeners[1].mode, 0600);
	cr_assert_eq(config->listeners[2].mode, 0666);
	cr_assert_eq(config->incident_open_level, ISOD__V1__LEVEL__LEVEL_LOW);
	cr_assert_eq(config->asset_count, 2);
	cr_assert_eq(config->assets[0].entity->kind, ISOD__V1__ENTITY_KIND__ENTITY_HOST);
	cr_assert_str_eq(config->assets[0].entity->name, "db-*");
	cr_assert_eq(config->assets[0].weight_percent, 200);
	cr_assert_gt(isod__v1__asset_weight__get_packed_size(&config->assets[1]), 0);
	cr_assert_eq(config->redis.mode, REDIS_OFF);
	cr_assert_eq(config->api.role_count, 3);
	cr_assert_str_eq(config->api.roles[1].group, "1000");
	cr_assert_eq(config->api.roles[0].role, ISOD__V1__ROLE__ROLE_RESPONDER);
	cr_assert_eq(config->evidence_segment_bytes, UINT64_C(64) << 20, "an empty section");
	free(path);
}

Test(config, unknown_keys_get_the_nearest_known_one)
{
	expect_error("wrokers: 3\n", 1, 1, "unknown key `wrokers`: did you mean `workers`?");
	expect_error("log:\n  levle: info\n", 2, 3,
	             "unknown key `levle` in `log:`: did you mean `level`?");
	expect_error("listners: []\n", 1, 1, "did you mean `listeners`?");
	expect_error(
		"listeners:\n  - name: a\n    kind: udp\n    address: '*:514'\n    adress: x\n", 5,
		5, "unknown key `adress` in a listener: did you mean `address`?");
	expect_error("frame_max: 1k\n", 1, 1, "it belongs under `limits:`");
	expect_error("log:\n  workers: 3\n", 2, 3, "it belongs at the top");
	expect_error("\"a\\0b\": 1\n", 1, 1, "unknown key");
	expect_error("completely_else: 1\n", 1, 1, "unknown key `completely_else`");
	cr_assert_eq(load("completely_else: 1\n"), -EINVAL);
	cr_assert_null(strstr(diags.items[0].text, "mean"), "nothing is near");
}

Test(config, wrong_types_and_values_out_of_range)
{
	expect_error("workers: [1]\n", 1, 10, "`workers` must be a number, not a list");
	expect_error("workers: many\n", 1, 10, "must be a number, auto, not \"many\"");
	expect_error("workers: -1\n", 1, 10, "must be a number, auto, not \"-1\"");
	expect_error("workers:\n", 1, 1, "`workers` has no value");
	expect_error("workers: 0\n", 1, 10, "out of range: 0 is not between 1 and 256");
	expect_error("workers: 99999999999999999999999\n", 1, 10, "out of range");
	expect_error("limits: {frame_max: 1GiB}\n", 1, 21, "is not between 1KiB and 1MiB");
	expect_error("limits: {frame_max: 64kB}\n", 1, 21, "a size like 64KiB");
	expect_error("limits: {idle_timeout: 5 minutes}\n", 1, 24, "a duration like");
	expect_error("limits: 3\n", 1, 9, "`limits` must be a map of options, not text");
	expect_error("log: {level: verbose}\n", 1, 14,
	             "must be error, warning, notice, info or debug, not \"verbose\"");
	expect_error("log: {level: waring}\n", 1, 14, "did you mean `warning`?");
	expect_error("incidents: {open_level: hihg}\n", 1, 25, "did you mean `high`?");
	expect_error("api: {mode: 0888}\n", 1, 13, "octal");
	expect_error("api: {mode: 1777}\n", 1, 13, "out of range");
	expect_error("state_dir: {a: b}\n", 1, 12, "must be text, not a map");
	expect_error("state_dir: ~\n", 1, 12, "has no value");
	expect_error("state_dir: ''\n", 1, 12, "is empty");
	expect_error("state_dir: \"a\\0b\"\n", 1, 12, "NUL");
	expect_error("rules: {a: b}\n", 1, 8, "a list of paths, not a map");
	expect_error("rules: [a, [b]]\n", 1, 12, "must be a list of paths, not a list");
	expect_error("rules: [a, ~]\n", 1, 12, "has no value");
	expect_error("node: a b\n", 1, 7, "letters, digits");
	expect_error("node: a/b\n", 1, 7, "letters, digits");
	expect_error("- a\n", 1, 1, "a map of options is expected here, not a list");
	expect_error("just text\n", 1, 1, "not text");
	expect_error("workers: 1\n---\nworkers: 2\n", 3, 1, "a second document");
	expect_error("workers: 1\nworkers: 2\n", 2, 1, "a second time (first in line 1)");
	expect_error("log:\n\tlevel: info\n", 2, 1, "tab");
}

Test(config, all_mistakes_are_told_in_one_run)
{
	write_file(escalation_file, "plugins:\n"
	                            "  - {name: a, program: /bin/true, timout: 3s}\n"
	                            "routes:\n"
	                            "  - {name: r, plugin: a, min_level: huge}\n");
	cr_assert_eq(load("wrokers: 3\n"
	                  "limits: {frame_max: 1}\n"
	                  "listeners:\n"
	                  "  - {name: a, kind: tpc, address: '*:1'}\n"
	                  "  - {name: b, kind: tcp, address: localhost:1}\n"
	                  "  - {name: b, kind: udp, address: '*:99999'}\n"
	                  "  - {kind: udp}\n"
	                  "  - what\n"
	                  "redis: {mode: external}\n"),
	             -EINVAL);
	expect_told(main_file, 1, 1, "did you mean `workers`?");
	expect_told(main_file, 2, 21, "out of range");
	expect_told(main_file, 4, 21,
	            "must be tls, tcp, udp, unix, relp, relp-tls, hec or hec-tls, not \"tpc\"");
	expect_told(main_file, 5, 35, "must be HOST:PORT");
	expect_told(main_file, 6, 12, "a listener named `b` stands in line 5 already");
	expect_told(main_file, 6, 35, "must be HOST:PORT");
	expect_told(main_file, 7, 5, "a listener needs `name`");
	expect_told(main_file, 7, 5, "a listener needs `address`");
	expect_told(main_file, 8, 5, "a listener must be a map, not text");
	expect_told(main_file, 9, 15, "needs `url`");
	expect_told(escalation_file, 2, 35, "did you mean `timeout`?");
	expect_told(escalation_file, 4, 37, "must be informational, low, medium, high or critical");
	cr_assert_eq(diags.errors, 12);
	for (size_t i = 1; i < diags.count; i++)
		cr_assert(strcmp(diags.items[i].file, diags.items[i - 1].file) != 0 ||
		                  diags.items[i].line >= diags.items[i - 1].line,
		          "in the order of the file");
}

Test(config, listeners)
{
	expect_error("listeners:\n  - {name: a, kind: tls, address: '*:6514', key: x}\n", 2, 5,
	             "a tls listener needs `certificate`");
	cr_assert_eq(load("listeners:\n"
	                  "  - {name: a, kind: tls, address: '*:1', certificate: no.pem, key: "
	                  "no.key}\n"),
	             -EINVAL);
	expect_told(main_file, 2, 55, "no.pem: No such file or directory");
	expect_told(main_file, 2, 68, "no.key: No such file or directory");
	diags_release(&diags);

	char *text = xasprintf("listeners:\n"
	                       "  - {name: a, kind: tls, address: '*:1', peers: required,\n"
	                       "     certificate: %s, key: %s}\n",
	                       main_file, main_file);
	expect_error(text, 2, 49, "client certificates need a `ca`");
	free(text);
	text = xasprintf("listeners:\n"
	                 "  - {name: a, kind: tls, address: '*:1',\n"
	                 "     certificate: %s, key: %s}\n",
	                 main_file, main_file);
	expect_error(text, 3, 19, "no PEM block");
	free(text);
	expect_error("listeners:\n  - {name: a, kind: relp-tls, address: '*:1', key: x}\n", 2, 5,
	             "a tls listener needs `certificate`");
	expect_error("listeners:\n  - {name: a, kind: relp, address: '*:1', peers: required}\n", 2,
	             50, "kind tls, relp-tls and hec-tls only");
	expect_error("listeners:\n  - {name: Producer, kind: relp, address: '*:1'}\n", 2, 12,
	             "`producer` stands for events that come over the API");
	expect_error("listeners:\n  - {name: a, kind: udp, address: '*:1', mode: 0600}\n", 2, 48,
	             "kind unix only");
	expect_error("listeners:\n  - {name: a, kind: udp, address: '*:1', ca: /etc/passwd}\n", 2,
	             46, "kind tls, relp-tls and hec-tls only");
	expect_error("listeners:\n  - {name: a/b, kind: udp, address: '*:1'}\n", 2, 12, "letters");
	expect_error("listeners: {name: a}\n", 1, 12, "must be a list, not a map");
	char path[200];
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	text = xasprintf("listeners:\n  - {name: a, kind: unix, address: /%s}\n", path);
	expect_error(text, 2, 36, "at most 107 bytes, this one has 200");
	free(text);
}

static void write_tokens(const char *text)
{
	char *path = xasprintf("%s/tokens", folder);

	cr_assert_eq(path_write_atomic(path, str_of(text), 0600), 0);
	free(path);
}

#define HEC_LISTENER "listeners:\n  - {name: a, kind: hec, address: '*:1', tokens: tokens}\n"

Test(config, tokens_of_a_collector)
{
	char *tokens = xasprintf("%s/tokens", folder);
	uint8_t digest[SHA256_BYTES];

	write_tokens("# who\n\n  one\tsecret-one  \r\ntwo secret-two ack\n");
	load_good(HEC_LISTENER);
	const struct listener_config *l = &config->listeners[0];
	cr_assert_eq(l->token_count, 2);
	cr_assert_str_eq(l->tokens[0].name, "one");
	cr_assert_not(l->tokens[0].acknowledge);
	cr_assert(l->tokens[1].acknowledge);
	sha256(&STR("secret-two"), 1, digest);
	cr_assert_eq(memcmp(l->tokens[1].digest, digest, sizeof(digest)), 0);
	cr_assert_eq(l->body_max, (uint64_t)8 << 20);
	config_free(config);
	config = NULL;
	write_tokens("one secret-one\nb/d secret-two\nthree\nfour short\nfive secret-five now\n"
	             "six secret-six ack ack\none secret-seven\neight secret-one\n"
	             "nine secret:nine\n");
	cr_assert_eq(config_load(main_file, &diags, &config), -EINVAL);
	expect_told(tokens, 2, 1, "letters");
	expect_told(tokens, 3, 1, "a token is missing behind the name");
	expect_told(tokens, 4, 6, "8 to 256 characters, this one has 5");
	expect_told(tokens, 5, 18, "`ack` or nothing");
	expect_told(tokens, 6, 20, "`ack` or nothing");
	expect_told(tokens, 7, 5, "named `one` stands above already");
	expect_told(tokens, 8, 7, "like that of `one` stands above already");
	expect_told(tokens, 9, 6, "no `:`");
	for (size_t i = 0; i < diags.count; i++)
		cr_assert_null(strstr(diags.items[i].text, "secret"), "no token is told");
	diags_release(&diags);
	write_tokens("# nobody\n");
	expect_error(HEC_LISTENER, 2, 50, "holds no token");
	unlink(tokens);
	expect_error(HEC_LISTENER, 2, 50, "No such file");
	expect_error("listeners:\n  - {name: a, kind: hec, address: '*:1'}\n", 2, 5,
	             "needs `tokens`");
	expect_error("listeners:\n  - {name: a, kind: tcp, address: '*:1', body_max: 1MiB}\n", 2,
	             52, "kind hec and hec-tls only");
	free(tokens);
}

Test(config, roles_redis_and_api)
{
	expect_error("api:\n  roles:\n    - {user: a, group: b, role: admin}\n", 3, 7,
	             "exactly one");
	expect_error("api:\n  roles:\n    - {role: admin}\n", 3, 7, "exactly one");
	expect_error("api:\n  roles:\n    - {user: a, role: amdin}\n", 3, 23,
	             "did you mean `admin`?");
	expect_error("api:\n  roles:\n    - {user: a}\n", 3, 7, "a role needs `role`");
	cr_assert_eq(load("api: {address: '*:7514'}\n"), -EINVAL);
	expect_told(main_file, 1, 16, "needs `certificate`");
	expect_told(main_file, 1, 16, "needs `key`");
	expect_told(main_file, 1, 16, "needs `ca`");
	diags_release(&diags);
	expect_error("redis: {mode: external, url: 'http://:secret@x'}\n", 1, 30,
	             "must begin with");
	cr_assert_eq(load("redis: {mode: external, url: 'http://:secret@x'}\n"), -EINVAL);
	for (size_t i = 0; i < diags.count; i++)
		cr_assert_null(strstr(diags.items[i].text, "secret"), "a password is not repeated");
	diags_release(&diags);
	expect_error("redis: {mode: external, url: 'redis://x:1', password_file: none}\n", 1, 60,
	             "No such file");
	expect_error("redis: {mode: external, url: 'rediss://x:1', key: /etc/passwd}\n", 1, 8,
	             "need each other");
	expect_error("redis: {mode: external, url: 'redis://x:70000'}\n", 1, 30,
	             "is no port (1-65535)");
	expect_error("redis: {mode: external, url: 'redis://x/many'}\n", 1, 30,
	             "is no database number");
	load_good("redis: {url: 'redis://x:1'}\n");
	expect_told(main_file, 1, 14, "no effect without `mode: external`");
}

Test(config, escalation_is_read_with_its_plugins_and_routes)
{
	write_file(escalation_file, "plugins:\n"
	                            "  - name: hook\n"
	                            "    program: /bin/true\n"
	                            "    timeout: 5s\n"
	                            "    options:\n"
	                            "      url: https://example.org/?a=b\n"
	                            "      retries: 3\n"
	                            "      empty:\n"
	                            "  - {name: other, program: true}\n"
	                            "routes:\n"
	                            "  - name: wake\n"
	                            "    plugin: hook\n"
	                            "    min_level: critical\n"
	                            "    tactics: [Credential_Access, impact]\n"
	                            "    attempts: 7\n"
	                            "    backoff: 20m\n"
	                            "  - {name: all, plugin: other, backoff_max: 1h}\n");
	load_good("plugin_dir: /bin\n");
	cr_assert_str_eq(config->escalation, escalation_file);
	cr_assert_eq(config->plugin_count, 2);
	const struct plugin_config *p = &config->plugins[0];
	cr_assert_str_eq(p->name, "hook");
	cr_assert_str_eq(p->program, "/bin/true");
	cr_assert_eq(p->timeout_ns, UINT64_C(5000000000));
	cr_assert_eq(p->option_count, 3);
	cr_assert_str_eq(p->options[0].name, "url");
	cr_assert_str_eq(p->options[0].value, "https://example.org/?a=b");
	cr_assert_str_eq(p->options[1].value, "3");
	cr_assert_str_eq(p->options[2].value, "");
	cr_assert_str_eq(p->file, escalation_file);
	cr_assert_eq(p->line, 2);
	cr_assert_str_eq(config->plugins[1].program, "true", "a name in plugin_dir stays one");
	cr_assert_eq(config->plugins[1].timeout_ns, UINT64_C(30000000000));
	cr_assert_eq(config->route_count, 2);
	const Isod__V1__Route *r = &config->routes[0];
	cr_assert_str_eq(r->name, "wake");
	cr_assert_eq(r->min_level, ISOD__V1__LEVEL__LEVEL_CRITICAL);
	cr_assert_eq(r->n_tactics, 2);
	cr_assert_str_eq(r->tactics[0], "credential-access", "as incidents have them");
	cr_assert_eq(r->attempts, 7);
	cr_assert_eq(r->backoff_ns, UINT64_C(1200000000000));
	cr_assert_eq(r->backoff_max_ns, r->backoff_ns, "never less than the first");
	cr_assert_eq(config->routes[1].min_level, ISOD__V1__LEVEL__LEVEL_HIGH);
	cr_assert_eq(config->routes[1].attempts, 5);
	cr_assert_gt(isod__v1__route__get_packed_size(r), 0, "a whole message");
	cr_assert_eq(diags.warnings, 1, "only that of the missing listeners");
}

Test(config, mistakes_in_escalation)
{
	write_file(escalation_file, "plugins:\n"
	                            "  - {name: hook, program: /bin/true}\n"
	                            "  - {name: hook, program: no-such-program}\n"
	                            "  - {name: bad, program: /bin/true, options: {a: [1]}}\n"
	                            "routes:\n"
	                            "  - {name: a, plugin: hok}\n"
	                            "  - {name: a, plugin: hook, tactics: [credental-access]}\n"
	                            "  - {name: b, plugin: hook, attempts: 0}\n"
	                            "  - {name: c, plugin: hook, backoff: 1h, backoff_max: 1m}\n"
	                            "rotues: []\n");
	cr_assert_eq(load("plugin_dir: /nowhere\n"), -EINVAL);
	expect_told(escalation_file, 3, 12, "a plugin named `hook` stands in line 2 already");
	expect_told(escalation_file, 3, 27, "/nowhere/no-such-program: No such file or directory");
	expect_told(escalation_file, 4, 50,
	            "`a` under `options` must be a single value, not a list");
	expect_told(escalation_file, 6, 23, "no plugin is named `hok`: did you mean `hook`?");
	expect_told(escalation_file, 7, 12, "a route named `a` stands in line 6 already");
	expect_told(escalation_file, 7, 39, "did you mean `credential-access`?");
	expect_told(escalation_file, 8, 39, "is not between 1 and 1000");
	expect_told(escalation_file, 9, 55, "less than `backoff`");
	expect_told(escalation_file, 10, 1, "unknown key `rotues`: did you mean `routes`?");
	cr_assert_eq(diags.errors, 8);
}

Test(config, an_escalation_file_that_is_named_must_be_there)
{
	expect_error("escalation: nobody.yaml\n", 1, 13, "nobody.yaml: No such file");
	write_file(escalation_file, "routes: {]\n");
	load_good("escalation: ~\n");
	cr_assert_null(config->escalation);
	config_free(config);
	config = NULL;
	cr_assert_eq(load(""), -EINVAL);
	expect_told(escalation_file, 1, 10, "");
}

Test(config, placeholders_need_not_be_there_unless_they_are_named)
{
	load_good("state_dir: x\n");
	cr_assert_null(config->placeholders);
	cr_assert_eq(load("placeholders: nowhere.yaml\n"), -EINVAL);
	expect_told(main_file, 1, 15, "nowhere.yaml");
}

Test(config, no_listener_poses_as_isod_itself)
{
	cr_assert_eq(load("listeners: [{name: Isod, kind: tcp, address: '*:1'}]\n"), -EINVAL);
	expect_told(main_file, 1, 20, "isod's own events");
}

Test(config, a_file_that_cannot_be_read)
{
	cr_assert_eq(config_load("/nonexistent/isod.yaml", &diags, &config), -ENOENT);
	cr_assert_eq(diags.errors, 1);
	cr_assert_not_null(strstr(diags.items[0].text, "No such file"));
	diags_release(&diags);
	cr_assert_eq(config_load(folder, &diags, &config), -EISDIR);
	cr_assert_eq(diags.errors, 1);
	config_free(NULL);
}

/* ---- conf/ against the tables ---- */

/* The repository's file: tests run at its top. */
static void shipped(const char *name, struct arena *arena, const struct yaml_node **ret_root,
                    struct buf *text)
{
	struct yaml_node **docs;
	size_t count;

	cr_assert_eq(path_read(name, text), 0, "%s", name);
	cr_assert_eq(yaml_parse(arena, name, buf_str(text), &diags, &docs, &count), 0);
	cr_assert_eq(count, 1);
	*ret_root = docs[0];
}

static void expect_default(const struct option *o, const struct yaml_node *value)
{
	const struct yaml_node *v = value;

	if (v->kind == YAML_LIST && o->type != OPTION_ITEMS) {
		cr_assert_eq(v->count, 1, "%s", o->name);
		v = v->items[0];
	}
	if (o->fallback) {
		cr_assert_eq(v->kind, YAML_SCALAR, "%s", o->name);
		cr_assert_str_eq(v->text.p, o->fallback, "%s", o->name);
	} else if (o->type != OPTION_ITEMS) {
		cr_assert_eq(v->kind, YAML_NULL, "%s has no default", o->name);
	}
}

/* An option of an item stands in one of the items, with its default if it has one, or in a comment. */
static void expect_item_option(const struct option *o, const struct yaml_node *list,
                               struct str text)
{
	char *comment = xasprintf("#   %s:", o->name), *first = xasprintf("# - %s:", o->name);
	bool found = str_search(text, str_of(comment)) >= 0 || str_search(text, str_of(first)) >= 0;

	for (size_t i = 0; list && i < list->count; i++) {
		const struct yaml_node *v = yaml_get(list->items[i], o->name);
		if (!v)
			continue;
		found = true;
		if (o->fallback)
			expect_default(o, v);
	}
	cr_assert(found, "%s stands nowhere", o->name);
	free(comment);
	free(first);
}

Test(config, the_shipped_file_lists_every_option_with_its_default)
{
	const struct option_set *set = &config_daemon_options;
	const struct yaml_node *root;
	struct arena arena;
	struct buf text;

	arena_init(&arena, 0);
	buf_init(&text, 0);
	shipped("conf/isod.yaml", &arena, &root, &text);
	for (size_t i = 0; i < set->count; i++) {
		const struct option *o = &set->options[i];
		const struct yaml_node *map = o->section ? yaml_get(root, o->section) : root;
		const struct yaml_node *value = yaml_get(map, o->name);
		cr_assert_not_null(value, "%s.%s", o->section ? o->section : "", o->name);
		expect_default(o, value);
		for (size_t j = 0; o->type == OPTION_ITEMS && j < o->items->count; j++)
			expect_item_option(&o->items->options[j], value, buf_str(&text));
	}
	buf_release(&text);
	arena_release(&arena);
}

Test(config, the_shipped_file_has_no_mistake_but_the_certificates_to_be_made)
{
	config_load("conf/isod.yaml", &diags, &config);
	for (size_t i = 0; i < diags.count; i++) {
		const struct diag *d = &diags.items[i];
		cr_assert(strstr(d->text, "/etc/isod/tls/") || strstr(d->text, "PEM"), "%s:%d: %s",
		          d->file, d->line, d->text);
	}
}

/* Every default is itself a good value, or options_read() would complain about an empty file. */
Test(config, defaults_and_bounds_are_good_values)
{
	struct option_reader reader = {.file = "x.yaml", .diags = &diags};
	const struct yaml_node nothing = {.kind = YAML_NULL};
	struct config_file c = {0};

	options_read(&reader, &config_daemon_options, &nothing, &c);
	options_read(&reader, &config_escalation_options, &nothing, &c);
	cr_assert_eq(diags.count, 0, "%s", diags.count ? diags.items[0].text : "");
	options_release(&config_daemon_options, &c);
	options_release(&config_escalation_options, &c);
	for (size_t i = 0; i < config_daemon_options.count; i++) {
		const struct option *o = &config_daemon_options.options[i];
		uint64_t v;
		cr_assert_gt(strlen(o->help), 0);
		for (int end = 0; end < 2; end++) {
			const char *bound = end ? o->max : o->min;
			if (bound && o->type == OPTION_DURATION)
				cr_assert_eq(str_to_duration(str_of(bound), &v), 0);
			if (bound && o->type == OPTION_SIZE)
				cr_assert_eq(str_to_size(str_of(bound), &v), 0);
		}
	}
}

Test(config, the_description_has_a_line_for_every_option)
{
	struct buf out;

	buf_init(&out, 0);
	config_describe(&out);
	cr_assert_geq(str_search(buf_str(&out), STR("  limits.frame_max (size, "
	                                            "1KiB to 1MiB, default 64KiB): ")),
	              0, "%s", buf_cstr(&out));
	cr_assert_geq(str_search(buf_str(&out), STR("  listeners[].kind (tls, tcp, udp, unix, "
	                                            "relp, relp-tls, hec or hec-tls, "
	                                            "required): ")),
	              0);
	cr_assert_geq(str_search(buf_str(&out), STR("  api.roles[].role (")), 0);
	cr_assert_geq(str_search(buf_str(&out), STR("  routes[].backoff_max (")), 0);
	buf_release(&out);
}

Test(config, retention_by_name_and_by_time)
{
	uint64_t keep, at_hand;

	load_good("evidence: {retention: pci-dss}\nledger: {retention: 30d, compress: off, "
	          "keep_size: 2GiB}\n");
	config_retention(&config->evidence_keep, &keep, &at_hand);
	cr_assert_eq(keep, 366 * NS_PER_DAY);
	cr_assert_eq(at_hand, 92 * NS_PER_DAY);
	cr_assert_eq(config->evidence_keep.compress, 1);
	cr_assert_eq(config->evidence_keep.keep_bytes, 0);
	config_retention(&config->ledger_keep, &keep, &at_hand);
	cr_assert_eq(keep, 30 * NS_PER_DAY);
	cr_assert_eq(at_hand, 10 * NS_PER_MINUTE);
	cr_assert_eq(config->ledger_keep.compress, 0);
	cr_assert_eq(config->ledger_keep.keep_bytes, UINT64_C(2) << 30);
	config_free(config);
	config = NULL;
	load_good("evidence: {at_hand: 7d}\nledger: {retention: nerc-cip}\n");
	config_retention(&config->evidence_keep, &keep, &at_hand);
	cr_assert_eq(keep, 0, "for ever");
	cr_assert_eq(at_hand, 7 * NS_PER_DAY);
	config_retention(&config->ledger_keep, &keep, &at_hand);
	cr_assert_eq(keep, 90 * NS_PER_DAY);
	cr_assert_eq(at_hand, 10 * NS_PER_MINUTE);
	config_free(config);
	config = NULL;
	expect_error("evidence:\n  retention: pci-ds\n", 2, 14, "did you mean `pci-dss`?");
	expect_error("evidence:\n  retention: soon\n", 2, 14, "`retention` must be a duration");
	expect_error("evidence:\n  retention: 30s\n", 2, 14, "out of range");
	expect_error("evidence:\n  retention: 7d\n  at_hand: 8d\n", 3, 12,
	             "longer than `retention`");
	expect_error("ledger:\n  compress: 20\n", 2, 13, "out of range");
}
