/* For the view's tests: a state whose changes mark a view, a loop that runs until something is true, real redis-servers
 * and what they hold. A test that needs a redis-server begins with need_redis(). */
#ifndef ISOD_TESTS_VIEW_RIG_H
#define ISOD_TESTS_VIEW_RIG_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/path.h"
#include "folder.h"
#include "steps.h"
#include "view/view.h"

#define LIMIT_NS (120 * NS_PER_SECOND) /* for any condition: only a hang takes longer */

static inline void need_redis(void)
{
	if (access("/usr/bin/redis-server", X_OK) < 0)
		cr_skip_test("no redis-server here");
}

/* ---- real servers ---- */

struct server {
	pid_t pid;
	int port;
	char unix_path[100];
};

/* A port that was free a moment ago. */
static inline int free_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	getsockname(fd, (struct sockaddr *)&sa, &n);
	close(fd);
	return ntohs(sa.sin_port);
}

static inline redisContext *try_connect(const char *path)
{
	redisContext *c = redisConnectUnix(path);

	if (c && !c->err)
		return c;
	if (c)
		redisFree(c);
	return NULL;
}

/* A redis-server of the test's own: on DIR/NAME.sock, and on a TCP port when `port` is given; `more`: further words of
 * its command line, NULL at the end. Answers when it returns. */
static inline void server_start(struct server *s, const char *dir, const char *name, int port,
                                const char *const *more)
{
	const char *argv[64] = {"redis-server", "--dir", dir,         "--save",    "",
	                        "--appendonly", "no",    "--logfile", "/dev/null", "--unixsocket",
	                        s->unix_path};
	char port_text[16];
	int n = 11;
	redisContext *c = NULL;

	snprintf(s->unix_path, sizeof(s->unix_path), "%.60s/%.20s.sock", dir, name);
	snprintf(port_text, sizeof(port_text), "%d", port);
	argv[n++] = "--port";
	argv[n++] = port_text;
	argv[n++] = "--bind";
	argv[n++] = "127.0.0.1";
	for (; more && *more; more++)
		argv[n++] = *more;
	s->port = port;
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(STDOUT_FILENO);
		execv("/usr/bin/redis-server", (char *const *)argv);
		_exit(127);
	}
	uint64_t until = clock_mono() + LIMIT_NS;
	while (!(c = try_connect(s->unix_path)) && clock_mono() < until)
		usleep(5000);
	cr_assert_not_null(c, "the test's redis-server does not come up");
	redisFree(c);
}

static inline void server_stop(struct server *s)
{
	if (!s->pid)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

/* ---- the rig ---- */

struct rig {
	struct world world; /* first: the effects' arg is both */
	char dir[FOLDER_BYTES];
	char socket[96]; /* the embedded server's */
	struct config config;
	struct event_base *base;
	struct view *view;
	struct server own; /* an external Redis, when the test starts it; released with the rig */
	char url[128];
	size_t ups, downs;
	char reason[512];
	char error[512];
	struct buf text; /* for answers */
};

static inline void rig_dirty(void *arg, enum view_kind kind, struct str key)
{
	struct rig *r = arg;
	world_dirty(arg, kind, key);
	if (r->view)
		view_mark(r->view, kind, key);
}

static inline void rig_connected(void *arg, bool connected, const char *reason)
{
	struct rig *r = arg;
	r->ups += connected;
	r->downs += !connected;
	if (!connected)
		snprintf(r->reason, sizeof(r->reason), "%s", reason);
}

static inline void rig_init(struct rig *r)
{
	signal(SIGPIPE, SIG_IGN);
	*r = (struct rig){0};
	world_init(&r->world);
	r->world.now = clock_now(); /* scores are shown as of the real time */
	r->world.effects.dirty = rig_dirty;
	folder_new(r->dir, "view");
	snprintf(r->socket, sizeof(r->socket), "%s/redis/redis.sock", r->dir);
	buf_init(&r->text, 0);
	r->config = (struct config){
		.node = (char *)"node1",
		.state_dir = r->dir,
		.redis = {.mode = REDIS_EMBEDDED,
	                  .server = (char *)"redis-server",
	                  .flush_interval_ns = 50 * NS_PER_MS},
	};
	r->base = event_base_new();
}

static inline int rig_try_open(struct rig *r)
{
	const struct view_options o = {.config = &r->config,
	                               .base = r->base,
	                               .state = &r->world.state,
	                               .version = "test",
	                               .connected = rig_connected,
	                               .arg = r};
	return view_open(&o, &r->view, r->error, sizeof(r->error));
}

static inline void rig_open(struct rig *r)
{
	int error = rig_try_open(r);
	cr_assert_eq(error, 0, "%s", r->error);
}

static inline __attribute__((format(printf, 2, 3))) void use_external(struct rig *r,
                                                                      const char *url, ...)
{
	va_list ap;

	va_start(ap, url);
	vsnprintf(r->url, sizeof(r->url), url, ap);
	va_end(ap);
	r->config.redis.mode = REDIS_EXTERNAL;
	r->config.redis.url = r->url;
}

static inline void use_unix(struct rig *r, const struct server *s)
{
	use_external(r, "unix://%s", s->unix_path);
}

/* With the embedded server. */
static inline void rig_begin_embedded(struct rig *r)
{
	need_redis();
	rig_init(r);
	rig_open(r);
}

/* With a server of the test's own. */
static inline void rig_begin_own(struct rig *r)
{
	need_redis();
	rig_init(r);
	server_start(&r->own, r->dir, "own", 0, NULL);
	use_unix(r, &r->own);
	rig_open(r);
}

static inline void rig_close_view(struct rig *r)
{
	view_close(r->view);
	r->view = NULL;
}

static inline void rig_release(struct rig *r)
{
	rig_close_view(r);
	server_stop(&r->own);
	event_base_free(r->base);
	state_release(&r->world.state);
	buf_release(&r->text);
	folder_remove(r->dir);
}

/* One turn of the loop. */
static inline void rig_turn(struct rig *r)
{
	event_base_loop(r->base, EVLOOP_NONBLOCK);
	usleep(2000);
}

#define UNTIL(r, condition)                                                                        \
	do {                                                                                       \
		uint64_t until_ = clock_mono() + LIMIT_NS;                                         \
		while (!(condition) && clock_mono() < until_)                                      \
			rig_turn(r);                                                               \
		cr_assert(condition, "waited in vain; last reason: %s", (r)->reason);              \
	} while (0)

#define SETTLE(r) UNTIL(r, view_settled((r)->view))

struct wanted_counter {
	const char *name;
	uint64_t value;
};

static inline void pick_counter(void *arg, const char *name, uint64_t value)
{
	struct wanted_counter *w = arg;
	if (strcmp(w->name, name) == 0)
		w->value = value;
}

static inline uint64_t rig_counter(const struct rig *r, const char *name)
{
	struct wanted_counter w = {name, UINT64_MAX};
	view_counters(r->view, pick_counter, &w);
	cr_assert_neq(w.value, UINT64_MAX, "no counter %s", name);
	return w.value;
}

/* ---- content ---- */

/* A tally of `received` events of one source. */
static inline void rig_tally(struct rig *r, const char *source, uint64_t received)
{
	Isod__V1__SourceCount count = ISOD__V1__SOURCE_COUNT__INIT;
	Isod__V1__SourceCount *counts[] = {&count};
	Isod__V1__Tally tally = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;

	count.source = (char *)source;
	count.received = count.unmatched = received;
	count.bytes = received * 100;
	count.last_received_ns = r->world.now;
	count.clock_skew_ns = -1500 * (int64_t)NS_PER_MS;
	tally.upto = r->world.evidence;
	tally.sources = counts;
	tally.n_sources = 1;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &tally;
	world_apply(&r->world, &record);
}

static inline void rig_incident(struct rig *r, const char *address)
{
	world_match(&r->world, match_new(&r->world, "rule-1", HIGH, address, "alice", "web1"));
}

/* A bit of everything: `count` incidents, their entities, metrics and sources. */
static inline void rig_fill(struct rig *r, unsigned count)
{
	char text[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", i / 250, i % 250 + 1);
		world_match(&r->world, match_new(&r->world, text, HIGH, text, NULL, "web1"));
		snprintf(text, sizeof(text), "tls/192.0.2.%u", i % 250 + 1);
		rig_tally(r, text, i + 1);
	}
}

/* A listener of the test's own, in the loop of the view. */
static inline struct evconnlistener *listen_unix(struct rig *r, const char *path,
                                                 evconnlistener_cb callback, void *arg)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	unlink(path);
	struct evconnlistener *l =
		evconnlistener_new_bind(r->base, callback, arg, LEV_OPT_CLOSE_ON_FREE, 5,
	                                (const struct sockaddr *)&sa, sizeof(sa));
	cr_assert_not_null(l);
	return l;
}

/* ---- what a Redis holds ---- */

static inline redisContext *ask_open(const char *path)
{
	redisContext *c = try_connect(path);
	cr_assert_not_null(c, "cannot connect to %s", path);
	return c;
}

static inline redisReply *ask(redisContext *c, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	redisReply *r = redisvCommand(c, format, ap);
	va_end(ap);
	cr_assert_not_null(r, "%s", c->errstr);
	return r;
}

/* Appends a reply as text. */
static inline void reply_text(struct buf *out, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_INTEGER: buf_printf(out, "%lld", r->integer); break;
	case REDIS_REPLY_NIL: buf_printf(out, "(nil)"); break;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < r->elements; i++) {
			if (i)
				buf_putc(out, ' ');
			reply_text(out, r->element[i]);
		}
		break;
	default: buf_append(out, r->str, (size_t)r->len); break;
	}
}

/* The reply as text; valid until the buffer changes. */
static inline const char *ask_text(struct buf *out, redisContext *c, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	redisReply *r = redisvCommand(c, format, ap);
	va_end(ap);
	cr_assert_not_null(r, "%s", c->errstr);
	buf_reset(out);
	reply_text(out, r);
	freeReplyObject(r);
	return buf_cstr(out);
}

static inline unsigned long long ask_number(redisContext *c, const char *command)
{
	redisReply *r = ask(c, command);
	cr_assert_eq(r->type, REDIS_REPLY_INTEGER, "%s", command);
	unsigned long long n = (unsigned long long)r->integer;
	freeReplyObject(r);
	return n;
}

static inline void ask_do(redisContext *c, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	redisReply *r = redisvCommand(c, format, ap);
	va_end(ap);
	cr_assert_not_null(r, "%s", c->errstr);
	cr_assert_neq(r->type, REDIS_REPLY_ERROR, "%s: %s", format, r->str);
	freeReplyObject(r);
}

static inline int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The fields of a hash, sorted. */
static inline void dump_pairs(struct buf *out, redisReply *r)
{
	char **lines = xcalloc(r->elements / 2, sizeof(*lines));

	for (size_t i = 0; i < r->elements / 2; i++)
		lines[i] = xasprintf("%s=%s", r->element[2 * i]->str, r->element[2 * i + 1]->str);
	qsort(lines, r->elements / 2, sizeof(*lines), by_text);
	for (size_t i = 0; i < r->elements / 2; i++) {
		buf_printf(out, " %s", lines[i]);
		free(lines[i]);
	}
	free(lines);
}

/* All of the view but what changes with time (iso:node, iso:view, the scores in iso:risk) and the stream, sorted. The
 * caller frees. */
static inline char *view_dump(const char *path)
{
	redisContext *c = ask_open(path);
	redisReply *keys = ask(c, "KEYS iso:*");
	char **lines = xcalloc(keys->elements + 1, sizeof(*lines));
	size_t count = 0;
	struct buf out, text;

	buf_init(&out, 0);
	buf_init(&text, 0);
	for (size_t i = 0; i < keys->elements; i++) {
		const char *key = keys->element[i]->str;
		if (strncmp(key, "iso:node:", 9) == 0 || strncmp(key, "iso:view:", 9) == 0 ||
		    strcmp(key, "iso:changes") == 0)
			continue;
		const char *type = ask_text(&text, c, "TYPE %s", key);
		buf_reset(&out);
		if (strcmp(type, "hash") == 0) {
			redisReply *r = ask(c, "HGETALL %s", key);
			dump_pairs(&out, r);
			freeReplyObject(r);
		} else if (strcmp(key, "iso:risk") == 0) {
			redisReply *r = ask(c, "ZRANGE %s 0 -1", key);
			buf_printf(&out, " %zu members", r->elements);
			freeReplyObject(r);
		} else if (strcmp(type, "zset") == 0) {
			buf_printf(&out, " %s",
			           ask_text(&text, c, "ZRANGE %s 0 -1 WITHSCORES", key));
		} else {
			buf_printf(&out, " %s", ask_text(&text, c, "GET %s", key));
		}
		lines[count++] = xasprintf("%s%s", key, buf_cstr(&out));
	}
	qsort(lines, count, sizeof(*lines), by_text);
	buf_reset(&out);
	for (size_t i = 0; i < count; i++) {
		buf_printf(&out, "%s\n", lines[i]);
		free(lines[i]);
	}
	char *dump = xstrdup(buf_cstr(&out));
	free(lines);
	freeReplyObject(keys);
	buf_release(&out);
	buf_release(&text);
	redisFree(c);
	return dump;
}

static inline void same_dump(const char *before, const char *after)
{
	size_t at = 0;

	while (before[at] && before[at] == after[at])
		at++;
	cr_assert_str_eq(before, after, "they differ at %zu: \"%.100s\" / \"%.100s\"", at,
	                 before + (at > 40 ? at - 40 : 0), after + (at > 40 ? at - 40 : 0));
}

/* What the Redis holds is what the view, written anew because the Redis was emptied, has. */
static inline void rig_check_whole(struct rig *r, const char *path)
{
	char *before = view_dump(path);
	uint64_t rewrites = rig_counter(r, "view.rewrites");
	redisContext *c = ask_open(path);

	ask_do(c, "FLUSHALL");
	redisFree(c);
	UNTIL(r, rig_counter(r, "view.rewrites") > rewrites);
	SETTLE(r);
	char *whole = view_dump(path);
	same_dump(whole, before);
	free(before);
	free(whole);
}

/* Does any redis-server run that names this folder? (Its process title holds its socket's path.) */
static inline bool server_in(const char *dir)
{
	DIR *proc = opendir("/proc");
	const struct dirent *d;
	bool found = false;
	struct buf text;

	buf_init(&text, 65536);
	while (!found && (d = readdir(proc))) {
		char *path = xasprintf("/proc/%s/cmdline", d->d_name);
		buf_reset(&text);
		if (d->d_name[0] >= '0' && d->d_name[0] <= '9' && path_read(path, &text) == 0)
			found = str_search(buf_str(&text), STR("redis-server")) >= 0 &&
			        str_search(buf_str(&text), str_of(dir)) >= 0;
		free(path);
	}
	closedir(proc);
	buf_release(&text);
	return found;
}

#endif
