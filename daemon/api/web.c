#include "api/web.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/httpd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prometheus.h"

#define HEAD_MAX     8192
#define BUFFERED_MAX ((size_t)WEB_CONNECTIONS_MAX * HEAD_MAX)
#define REQUESTS_MAX 10000
#define REQUEST_NS   (5 * NS_PER_SECOND)   /* a request is one packet */
#define IDLE_NS      (120 * NS_PER_SECOND) /* scrapers come every 15 to 60 s */
#define BACKLOG      64
#define PAUSE_NS     NS_PER_SECOND /* when no descriptors are left */
/* The officer's loop turns in milliseconds. What keeps it longer than this is worth waking somebody for. */
#define OFFICER_S 5
#define TEXT_MAX  512
#define PLAIN     "text/plain; charset=utf-8"

struct web {
	struct web_options o;
	pthread_t thread;
	bool started;
	int fd;
	char address[NET_TEXT_MAX];
	struct event_base *base;
	struct httpd *httpd;
	struct event *told, *late, *resume;
	struct httpd_connection *waiting[WEB_CONNECTIONS_MAX]; /* for the officer */
	size_t waiting_count, connections;
	uint64_t asked_mono; /* 0: it is not asked */
	_Atomic bool stopping;
	_Atomic uint64_t requests, refused;

	pthread_mutex_t lock;
	char *phase;            /* locked */
	bool has_facts;         /* locked */
	struct web_facts facts; /* locked: for the web's thread */
};

static void facts_release(struct web_facts *f)
{
	if (f->status)
		isod__v1__status__free_unpacked(f->status, NULL);
	free(f->unhealthy);
	free(f->not_ready);
	*f = (struct web_facts){0};
}

/* ---- answers ---- */

static void answer(struct httpd_connection *c, int status, const char *type, struct str text)
{
	struct evbuffer *body = evbuffer_new();

	if (!body || evbuffer_add(body, text.p, text.n) < 0)
		abort();
	httpd_answer(c, status, type, body, false);
	evbuffer_free(body);
}

/* The reason, as a line. */
static void answer_line(struct httpd_connection *c, int status, const char *text)
{
	char *line = xasprintf("%s\n", text);

	answer(c, status, PLAIN, str_of(line));
	free(line);
}

static void tell_metrics(struct web *w, struct httpd_connection *c, const struct web_facts *f)
{
	struct buf out;

	buf_init(&out, 0);
	w->o.render(&out, f->status);
	answer(c, 200, PROMETHEUS_CONTENT_TYPE, buf_str(&out));
	buf_release(&out);
}

static void tell_health(struct web *w, struct httpd_connection *c, const struct web_facts *f)
{
	(void)w;
	answer_line(c, f->unhealthy ? 503 : 200, f->unhealthy ? f->unhealthy : "ok");
}

static void tell_ready(struct web *w, struct httpd_connection *c, const struct web_facts *f)
{
	const char *why = f->unhealthy ? f->unhealthy : f->not_ready;

	(void)w;
	answer_line(c, why ? 503 : 200, why ? why : "ready");
}

static const struct page {
	const char *path;
	int phase_status; /* while nobody can be asked */
	void (*tell)(struct web *w, struct httpd_connection *c, const struct web_facts *f);
} pages[] = {
	{"/metrics", 503, tell_metrics},
	{"/healthz", 200, tell_health},
	{"/readyz", 503, tell_ready},
};

static const struct page *page_of(const struct httpd_connection *c)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(c->asked);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

	for (size_t i = 0; path && i < ARRAY_LEN(pages); i++)
		if (strcmp(path, pages[i].path) == 0)
			return &pages[i];
	return NULL;
}

/* ---- asking the officer ---- */

static void on_told(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;
	struct web_facts facts;

	(void)fd;
	(void)what;
	if (atomic_load(&w->stopping)) {
		event_base_loopbreak(w->base);
		return;
	}
	pthread_mutex_lock(&w->lock);
	bool has = w->has_facts;
	facts = w->facts;
	w->has_facts = false;
	w->facts = (struct web_facts){0};
	pthread_mutex_unlock(&w->lock);
	if (!has)
		return;
	w->asked_mono = 0;
	evtimer_del(w->late);
	while (w->waiting_count) {
		struct httpd_connection *c = w->waiting[--w->waiting_count];
		page_of(c)->tell(w, c, &facts);
	}
	facts_release(&facts);
}

static void answer_late(struct web *w, struct httpd_connection *c)
{
	char text[TEXT_MAX];
	uint64_t took = (clock_mono() - w->asked_mono) / NS_PER_SECOND;

	snprintf(text, sizeof(text), "the officer has not answered for %llu s",
	         (unsigned long long)took);
	answer_line(c, 503, text);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;

	(void)fd;
	(void)what;
	while (w->waiting_count)
		answer_late(w, w->waiting[--w->waiting_count]);
}

static void ask(struct web *w, struct httpd_connection *c)
{
	static const struct timeval patience = {.tv_sec = OFFICER_S};

	/* It was asked long ago, and has not answered anybody. */
	if (w->asked_mono && clock_mono() - w->asked_mono > OFFICER_S * NS_PER_SECOND) {
		answer_late(w, c);
		return;
	}
	w->waiting[w->waiting_count++] = c; /* a connection asks one thing at a time */
	if (w->asked_mono)
		return;
	w->asked_mono = clock_mono();
	evtimer_add(w->late, &patience);
	w->o.ask(w->o.arg);
}

/* While nobody can be asked. */
static bool answer_phase(struct web *w, const struct page *page, struct httpd_connection *c)
{
	char text[TEXT_MAX] = "";

	pthread_mutex_lock(&w->lock);
	if (w->phase)
		snprintf(text, sizeof(text), "%s", w->phase);
	pthread_mutex_unlock(&w->lock);
	if (text[0])
		answer_line(c, page->phase_status, text);
	return text[0];
}

/* ---- what the server calls ---- */

static void on_request(void *arg, struct httpd_connection *c)
{
	struct web *w = arg;
	enum evhttp_cmd_type method = evhttp_request_get_command(c->asked);
	const struct page *page = page_of(c);

	atomic_fetch_add(&w->requests, 1);
	if (!page)
		answer_line(c, 404, "there are /metrics, /healthz and /readyz");
	else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD)
		answer_line(c, 405, "only GET and HEAD");
	else if (!answer_phase(w, page, c))
		ask(w, c);
}

static bool on_admit(void *arg, struct httpd_connection *c, int fd, char *why, size_t why_size)
{
	struct web *w = arg;

	(void)c;
	(void)fd;
	if (w->connections >= WEB_CONNECTIONS_MAX) {
		snprintf(why, why_size, "%d connections are open", WEB_CONNECTIONS_MAX);
		return false;
	}
	w->connections++;
	return true;
}

static void on_closed(void *arg, struct httpd_connection *c)
{
	struct web *w = arg;

	w->connections--;
	for (size_t i = 0; i < w->waiting_count; i++)
		if (w->waiting[i] == c)
			w->waiting[i] = w->waiting[--w->waiting_count];
}

static void on_refused(void *arg, const struct httpd_connection *c, enum httpd_trouble trouble,
                       const char *reason)
{
	struct web *w = arg;

	(void)trouble;
	atomic_fetch_add(&w->refused, 1);
	log_warning("http: %s: refused: %s", c->peer_text, reason);
}

static void on_exhausted(void *arg, int error)
{
	struct web *w = arg;
	static const struct timeval pause = {.tv_sec = PAUSE_NS / NS_PER_SECOND};

	log_error("http: no more connections can be accepted: %s", strerror(error));
	httpd_pause(w->httpd, true);
	evtimer_add(w->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;

	(void)fd;
	(void)what;
	httpd_pause(w->httpd, false);
}

/* ---- life ---- */

static void *web_main(void *arg)
{
	struct web *w = arg;
	const struct httpd_options options = {
		.base = w->base,
		.head_max = HEAD_MAX,
		.buffered_max = BUFFERED_MAX,
		.requests_max = REQUESTS_MAX,
		.request_ns = REQUEST_NS,
		.idle_ns = IDLE_NS,
		.admit = on_admit,
		.closed = on_closed,
		.refused = on_refused,
		.exhausted = on_exhausted,
		.request = on_request,
		.arg = w,
	};

	pthread_setname_np(pthread_self(), "web");
	w->httpd = httpd_new(&options, w->fd);
	if (!w->httpd)
		log_error("http: %s is not served: no memory or no descriptors", w->address);
	if (!atomic_load(&w->stopping))
		event_base_dispatch(w->base);
	if (w->httpd) {
		httpd_stop(w->httpd);
		httpd_flush(w->httpd);
	}
	httpd_free(w->httpd);
	return NULL;
}

/* A thread without signals: those are the main thread's. */
static int start_thread(struct web *w)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&w->thread, NULL, web_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	w->started = r == 0;
	return -r;
}

static int bind_new(struct web *w, const struct sockaddr_storage *sa, socklen_t length)
{
	int on = 1;

	w->fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (w->fd < 0)
		return -errno;
	(void)setsockopt(w->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(w->fd, (const struct sockaddr *)sa, length) < 0 || listen(w->fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

/* A socket that was passed, or one of its own. 0, or -errno with the reason in `error`. */
static int listen_on(struct web *w, char *error, size_t error_size)
{
	struct activation_want want = {.name = "http", .what = "http", .stream = true};
	char reason[TEXT_MAX] = "";
	int r = net_parse(str_of(w->o.address), &want.address, &want.length);

	if (r == 0)
		r = activation_take(w->o.passed, &want, reason, sizeof(reason));
	if (r >= 0)
		w->fd = r;
	else if (r == -ENOENT)
		r = bind_new(w, &want.address, want.length);
	want.length = sizeof(want.address);
	if (r >= 0 && getsockname(w->fd, (struct sockaddr *)&want.address, &want.length) < 0)
		r = -errno;
	if (r < 0) {
		snprintf(error, error_size, "http: cannot listen on %s: %s", w->o.address,
		         reason[0] ? reason : strerror(-r));
		return r;
	}
	net_text((struct sockaddr *)&want.address, w->address);
	return 0;
}

static int make_events(struct web *w)
{
	w->base = event_base_new();
	if (!w->base)
		return -ENOMEM;
	/* Made active by others; the listening socket keeps the loop going. */
	w->told = event_new(w->base, -1, EV_PERSIST, on_told, w);
	w->late = evtimer_new(w->base, on_late, w);
	w->resume = evtimer_new(w->base, on_resume, w);
	return w->told && w->late && w->resume ? 0 : -ENOMEM;
}

int web_open(const struct web_options *o, const char *phase, struct web **ret, char *error,
             size_t error_size)
{
	struct web *w = xcalloc(1, sizeof(*w));
	int r;

	w->o = *o;
	w->fd = -1;
	w->phase = phase ? xstrdup(phase) : NULL;
	pthread_mutex_init(&w->lock, NULL);
	r = listen_on(w, error, error_size);
	if (r == 0) {
		r = make_events(w);
		if (r == 0)
			r = start_thread(w);
		if (r < 0)
			snprintf(error, error_size, "http: %s: %s", o->address, strerror(-r));
	}
	if (r < 0) {
		web_close(w);
		return r;
	}
	*ret = w;
	return 0;
}

void web_phase(struct web *w, const char *phase)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	free(w->phase);
	w->phase = phase ? xstrdup(phase) : NULL;
	pthread_mutex_unlock(&w->lock);
}

void web_tell(struct web *w, const struct web_facts *facts)
{
	pthread_mutex_lock(&w->lock);
	facts_release(&w->facts);
	w->facts = *facts;
	w->has_facts = true;
	pthread_mutex_unlock(&w->lock);
	event_active(w->told, EV_TIMEOUT, 0);
}

const char *web_address(const struct web *w)
{
	return w->address;
}

void web_counters(const struct web *w, void (*count)(void *arg, const char *name, uint64_t value),
                  void *arg)
{
	if (!w)
		return;
	count(arg, "http_requests", atomic_load(&w->requests));
	count(arg, "http_refused", atomic_load(&w->refused));
}

void web_close(struct web *w)
{
	if (!w)
		return;
	atomic_store(&w->stopping, true);
	if (w->started) {
		event_active(w->told, EV_TIMEOUT, 0);
		pthread_join(w->thread, NULL);
	}
	if (w->told)
		event_free(w->told);
	if (w->late)
		event_free(w->late);
	if (w->resume)
		event_free(w->resume);
	if (w->base)
		event_base_free(w->base);
	if (w->fd >= 0)
		close(w->fd);
	facts_release(&w->facts);
	free(w->phase);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
