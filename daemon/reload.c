/* One reload after the other, in steps that the loop takes:
 *
 *   asked ─▶ LOADING (thread) ─▶ PARKING (workers) ─▶ install ─▶ done
 *                 └── something is wrong: the old content stays ─▶ done
 *
 * At start it is otherwise: the content is loaded before anything runs and compiled while the workers already detect
 * with it, without the compiled form; that changes no match, so they take it up when it is there, each when it likes.
 *
 * The order of things is what makes a swap exact. Each worker parks between two events, after it has tallied and
 * published all that it found with the old rules. When the last one has parked, everything the old rules found is in
 * the inbox and nothing of the new ones is; install takes the inbox empty, writes the new settings behind that, and
 * only then lets the workers go on. So the ledger shows it as it was: matches of the old rules, then the settings with
 * the new correlations, then matches of the new rules; no match is folded under correlations of another set, and a
 * replay comes to the same. The price is that workers rest for as long as the slowest of them and one batch of the
 * officer take, milliseconds usually; senders wait in their socket buffers meanwhile. A worker that cannot write
 * evidence, and a ledger that cannot be written, make the others wait: nothing could be taken in anyway. */
#include "reload.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/pb.h"
#include "base/utf8.h"
#include "sigma/compile.h"
#include "sigma/content.h"
#include "sigma/rules.h"

#define PROBLEMS_TOLD     100 /* a person mends the first few, and then asks again */
#define PROBLEM_TEXT_MAX  1024
#define CONFIG_BYTES_MAX  ((size_t)16 << 20)
#define INSTALL_AGAIN_SEC 1

enum step {
	STEP_IDLE,
	STEP_COMPILING, /* the content of the start; given up when a reload is asked for */
	STEP_LOADING,
	STEP_PARKING,
};

struct reload {
	struct reload_options o;
	enum step step;
	uint64_t asked, begun; /* numbers of the last one asked for and the last one begun */
	uint64_t begin_mono;
	struct event *loaded, *parked, *again;
	uint8_t config_digest[SHA256_BYTES]; /* of the configuration that runs */
	char *cache;                         /* folder of compiled patterns */
	atomic_bool stop;                    /* the thread shall end soon */
	pthread_t thread;
	/* The thread's, until it is joined: */
	struct content *content; /* NULL: refused */
	Isod__V1__RulesReloaded *outcome;
};

/* ---- loading ---- */

int reload_content(const struct config *c, struct diags *diags, struct content **ret)
{
	const struct content_files files = {.rules = (const char *const *)c->rules,
	                                    .rule_count = c->rule_count,
	                                    .logsources = c->logsources,
	                                    .patterns = c->patterns,
	                                    .placeholders = c->placeholders};

	return content_load(&files, (size_t)c->workers, diags, ret);
}

static void add_file(struct buf *out, const char *path)
{
	size_t before = out->n;

	/* A file that cannot be read is as good as an empty one: it differs from what was read at start. */
	if (path && path_read(path, out) < 0)
		out->n = before;
}

static void digest_config(const struct config *c, uint8_t out[static SHA256_BYTES])
{
	struct buf text;

	buf_init(&text, CONFIG_BYTES_MAX);
	add_file(&text, c->file);
	add_file(&text, c->escalation);
	struct str parts[] = {buf_str(&text)};
	sha256(parts, ARRAY_LEN(parts), out);
	buf_release(&text);
}

/* File names and what is quoted of a file need not be UTF-8. */
static void set_text(char **member, const char *text)
{
	struct str s = utf8_cut(str_of(text), PROBLEM_TEXT_MAX);
	struct buf clean;

	buf_init(&clean, 0);
	if (!utf8_valid(s)) {
		utf8_repair(&clean, s);
		s = buf_str(&clean);
	}
	pb_set(member, s);
	buf_release(&clean);
}

static void add_problem(Isod__V1__RulesReloaded *o, const struct diag *d)
{
	Isod__V1__RulesProblem **at = pb_add(&o->problems, &o->n_problems, sizeof(*at));

	*at = xmalloc(sizeof(**at));
	isod__v1__rules_problem__init(*at);
	set_text(&(*at)->file, d->file);
	set_text(&(*at)->text, d->text);
	(*at)->line = (uint32_t)d->line;
	(*at)->column = (uint32_t)d->column;
	(*at)->warning = d->severity == DIAG_WARNING;
}

static Isod__V1__RulesReloaded *outcome_of(const struct content *c, const struct diags *diags)
{
	Isod__V1__RulesReloaded *o = xmalloc(sizeof(*o));
	enum diag_severity shown = c ? DIAG_WARNING : DIAG_ERROR;

	isod__v1__rules_reloaded__init(o);
	o->loaded = c != NULL;
	o->errors = diags->errors;
	o->warnings = diags->warnings;
	for (size_t i = 0; i < diags->count && o->n_problems < PROBLEMS_TOLD; i++)
		if (diags->items[i].severity == shown)
			add_problem(o, &diags->items[i]);
	if (!c)
		return o;
	o->rules = c->parts.rules->count;
	o->correlations = c->parts.rules->correlation_count;
	o->filters = c->parts.rules->filters;
	o->files = c->parts.rules->files;
	return o;
}

/* A set that was told to stop compiling works all the same, slower. */
static void compile(struct reload *r, struct diags *diags)
{
	const struct compile_options o = {.cache_dir = r->cache, .stop = &r->stop};

	(void)content_compile(r->content, &o, diags);
}

static void *compile_first(void *arg)
{
	struct reload *r = arg;
	struct diags diags;
	char line[1024];

	diags_init(&diags);
	compile(r, &diags);
	for (size_t i = 0; i < diags.count; i++)
		log_info("%s", diag_format(&diags.items[i], line, sizeof(line)));
	diags_release(&diags);
	event_active(r->loaded, 0, 0);
	return NULL;
}

static void *load(void *arg)
{
	struct reload *r = arg;
	uint8_t digest[SHA256_BYTES];
	struct diags diags;

	diags_init(&diags);
	if (reload_content(r->o.config, &diags, &r->content) < 0)
		r->content = NULL;
	else
		compile(r, &diags);
	r->outcome = outcome_of(r->content, &diags);
	diags_release(&diags);
	digest_config(r->o.config, digest);
	r->outcome->config_changed = memcmp(digest, r->config_digest, sizeof(digest)) != 0;
	event_active(r->loaded, 0, 0);
	return NULL;
}

/* ---- steps ---- */

static void start_thread(struct reload *r, void *(*work)(void *))
{
	sigset_t all, before;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int e = pthread_create(&r->thread, NULL, work, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e == 0)
		return;
	/* No thread to be had: the loop waits this once. */
	r->thread = pthread_self();
	work(r);
}

static void begin(struct reload *r)
{
	r->begun = r->asked;
	r->begin_mono = clock_mono();
	r->step = STEP_LOADING;
	atomic_store(&r->stop, false);
	start_thread(r, load);
}

/* Nothing to do but what was asked for meanwhile. */
static void rest(struct reload *r)
{
	r->step = STEP_IDLE;
	if (r->asked > r->begun)
		begin(r);
}

static void finish(struct reload *r)
{
	Isod__V1__RulesReloaded *outcome = r->outcome;

	outcome->took_ns = clock_mono() - r->begin_mono;
	content_unref(r->content);
	r->content = NULL;
	r->outcome = NULL;
	r->o.done(r->o.arg, r->begun, outcome);
	isod__v1__rules_reloaded__free_unpacked(outcome, NULL);
	rest(r);
}

static void join(struct reload *r)
{
	if (!pthread_equal(r->thread, pthread_self()))
		pthread_join(r->thread, NULL);
}

static void on_loaded(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;
	(void)fd;
	(void)what;

	join(r);
	if (r->step == STEP_COMPILING) {
		content_unref(r->content);
		r->content = NULL;
		r->o.compiled(r->o.arg);
		rest(r);
		return;
	}
	if (!r->content) {
		finish(r);
		return;
	}
	r->step = STEP_PARKING;
	r->o.park(r->o.arg, r->content);
}

static void on_parked(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval again = {INSTALL_AGAIN_SEC, 0};
	struct reload *r = arg;
	(void)fd;
	(void)what;

	if (r->o.install(r->o.arg, r->content) == -EAGAIN)
		evtimer_add(r->again, &again);
	else
		finish(r);
}

/* ---- life ---- */

struct reload *reload_new(const struct reload_options *o)
{
	struct reload *r = xcalloc(1, sizeof(*r));

	r->o = *o;
	r->loaded = event_new(o->base, -1, 0, on_loaded, r);
	r->parked = event_new(o->base, -1, 0, on_parked, r);
	r->again = evtimer_new(o->base, on_parked, r);
	if (!r->loaded || !r->parked || !r->again)
		abort();
	digest_config(o->config, r->config_digest);
	r->cache = xasprintf("%s/compiled", o->config->state_dir);
	return r;
}

void reload_compile(struct reload *r, struct content *content)
{
	r->content = content_ref(content);
	r->step = STEP_COMPILING;
	start_thread(r, compile_first);
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	atomic_store(&r->stop, true);
	if (r->step == STEP_LOADING || r->step == STEP_COMPILING)
		join(r);
	content_unref(r->content);
	if (r->outcome)
		isod__v1__rules_reloaded__free_unpacked(r->outcome, NULL);
	event_free(r->loaded);
	event_free(r->parked);
	event_free(r->again);
	free(r->cache);
	free(r);
}

uint64_t reload_ask(struct reload *r)
{
	r->asked++;
	if (r->step == STEP_IDLE)
		begin(r);
	else if (r->step == STEP_COMPILING)
		atomic_store(&r->stop, true);
	return r->asked;
}

void reload_parked(struct reload *r)
{
	event_active(r->parked, 0, 0);
}
