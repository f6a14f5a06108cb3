/* A look at all certificates is taken at the start, every hour, after a reload, and soon after a sender has shown a new one
 * (soon: many senders connect at once after a restart). Each look writes the file of what was told anew, from what there
 * is: so what is gone is forgotten in time and the file stays as small as the number of certificates that end. */
#include "certificates.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/pb.h"
#include "ingest/ingest.h"

#define LOOK_EVERY_S   3600
#define LOOK_SOON_MS   200
#define FILE_BYTES_MAX ((size_t)4 << 20)
#define ERROR_TEXT     1024
#define LISTED_MAX     100 /* of peers, in the status: an answer has a limit */
/* What was told of a certificate that is not there now (its sender has not come back yet) is kept for so long. */
#define TOLD_KEPT_DAYS 60

static const int stages[] = {0, 1, 7, 30};

struct told {
	int stage;
	uint64_t seen_day; /* days since 1970: the last look that found the certificate */
};

struct certificates {
	struct certificates_options o;
	struct event *timer, *look;
	char *path;
	struct map told; /* struct told by key, see below */
	bool changed;    /* since the file was written */
	char *error;     /* of the last reload; NULL: none */
	uint64_t now;    /* of the look */
};

/* ---- stages ---- */

int certificates_stage(const struct ingest_certificate *c, uint64_t now_ns)
{
	for (size_t i = 0; i < ARRAY_LEN(stages); i++)
		if (c->until_ns <= now_ns ||
		    c->until_ns - now_ns <= (uint64_t)stages[i] * NS_PER_DAY)
			return c->revocations && stages[i] > 1 ? -1 : stages[i];
	return -1;
}

/* ---- the file: a line each, STAGE DAY KEY ---- */

/* A list of revoked certificates is renewed under the same name: its end belongs to the key. */
static char *key_of(const struct ingest_certificate *c)
{
	char hex[HEX_BYTES(SHA256_BYTES)];

	if (c->revocations)
		return xasprintf("crl-%s-%" PRIu64, c->listener, c->until_ns / NS_PER_SECOND);
	return xstrdup(hex_encode(c->fingerprint, SHA256_BYTES, hex));
}

static void note(struct certificates *c, struct str key, int stage, uint64_t day)
{
	struct told *t = map_get(&c->told, key);

	if (!t) {
		t = xcalloc(1, sizeof(*t));
		map_put(&c->told, key, t);
		c->changed = true;
	}
	c->changed |= t->stage != stage || t->seen_day != day;
	*t = (struct told){stage, day};
}

static void load(struct certificates *c)
{
	struct buf text;

	buf_init(&text, FILE_BYTES_MAX);
	if (path_read(c->path, &text) == 0) {
		struct str rest = buf_str(&text);
		while (rest.p) {
			struct str line = str_split(&rest, '\n');
			struct str stage = str_split(&line, ' '), day = str_split(&line, ' ');
			uint64_t s, d;
			if (line.n && str_to_u64(stage, &s) == 0 && s <= 30 &&
			    str_to_u64(day, &d) == 0)
				note(c, line, (int)s, d);
		}
	}
	buf_release(&text);
	c->changed = false;
}

static void save(struct certificates *c)
{
	const struct map_entry *e;
	struct buf text;

	if (!c->changed)
		return;
	buf_init(&text, FILE_BYTES_MAX);
	for (size_t at = 0; (e = map_next(&c->told, &at));) {
		const struct told *t = e->value;
		if (t->seen_day + TOLD_KEPT_DAYS < c->now / NS_PER_DAY)
			free(map_remove(&c->told, e->key));
		else
			buf_printf(&text, "%d %" PRIu64 " %.*s\n", t->stage, t->seen_day,
			           STR_FMT(e->key));
	}
	int r = path_write_atomic(c->path, buf_str(&text), 0640);
	if (r < 0)
		log_warning("%s: %s; after a restart the ends of certificates are told again",
		            c->path, strerror(-r));
	c->changed = false;
	buf_release(&text);
}

/* ---- looking ---- */

static void tell(struct certificates *c, const struct ingest_certificate *x, int stage)
{
	static const char *const formats[] = {"%s%s%s of listener %s ended %s",
	                                      "%s%s%s of listener %s ends %s"};
	const char *what =
		x->revocations ? "the list of revoked certificates " : "the certificate ";
	char when[CLOCK_TEXT_MAX], fingerprint[TLS_FINGERPRINT_MAX] = "", days[16];
	const char *whose = x->peer ? "peer" : "own";
	char *detail = xasprintf(formats[stage > 0], x->peer ? "a sender: " : "", what, x->name,
	                         x->listener, clock_format(x->until_ns, when));

	snprintf(days, sizeof(days), "%d", stage);
	log_warning("%s", detail);
	if (x->fingerprint)
		tls_fingerprint(x->fingerprint, fingerprint);
	c->o.event(c->o.arg, "certificate_ends",
	           (const char *const[]){"whose", whose, "listener", x->listener, "certificate",
	                                 x->name, "days", days, "ends", when, "detail", detail,
	                                 x->fingerprint ? "fingerprint" : NULL, fingerprint, NULL});
	free(detail);
}

/* Told once at each stage; when it is first met close to its end, only the closest. */
static void look_at(void *arg, const struct ingest_certificate *x)
{
	struct certificates *c = arg;
	int stage = certificates_stage(x, c->now);

	if (stage < 0)
		return;
	char *key = key_of(x);
	const struct told *t = map_get(&c->told, str_of(key));
	if (!t || t->stage > stage)
		tell(c, x, stage);
	/* The clock was set back: what was told counts still. */
	note(c, str_of(key), t && t->stage < stage ? t->stage : stage, c->now / NS_PER_DAY);
	free(key);
}

static void each(struct certificates *c,
                 void (*visit)(void *arg, const struct ingest_certificate *x), void *arg)
{
	const struct tls_context *tls = api_tls(c->o.api);
	struct tls_certificate api;

	ingest_certificates(c->o.ingest, visit, arg);
	if (!tls || !tls_context_certificate(tls, &api))
		return;
	const struct ingest_certificate x = {.name = api.name[0] ? api.name : api.subject,
	                                     .listener = "api",
	                                     .fingerprint = api.fingerprint,
	                                     .until_ns = api.until_ns};
	visit(arg, &x);
}

static void look(struct certificates *c)
{
	c->now = clock_now();
	each(c, look_at, c);
	save(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval again = {LOOK_EVERY_S, 0};
	struct certificates *c = arg;
	(void)fd;
	(void)what;

	look(c);
	evtimer_add(c->timer, &again);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval soon = {0, LOOK_SOON_MS * 1000L};
	struct certificates *c = arg;
	(void)fd;
	(void)what;

	evtimer_add(c->timer, &soon);
}

void certificates_look(struct certificates *c)
{
	event_active(c->look, 0, 0);
}

/* ---- reload ---- */

/* 0, or what is wrong, in words; the caller frees. */
static char *renew(struct certificates *c, size_t *ret_count)
{
	char error[ERROR_TEXT] = "";
	struct diags diags;
	struct config *fresh;
	char *wrong = NULL;

	diags_init(&diags);
	int r = config_load(c->o.config->file, &diags, &fresh);
	for (size_t i = 0; r < 0 && !wrong && i < diags.count; i++)
		if (diags.items[i].severity == DIAG_ERROR)
			wrong = xstrdup(diag_format(&diags.items[i], error, sizeof(error)));
	diags_release(&diags);
	if (r < 0)
		return wrong ? wrong : xstrdup(strerror(-r));
	r = ingest_renew(c->o.ingest, fresh, ret_count, error, sizeof(error));
	if (r == 0)
		r = api_renew(c->o.api, &fresh->api, error, sizeof(error));
	config_free(fresh);
	return r < 0 ? xstrdup(error) : NULL;
}

void certificates_reload(struct certificates *c)
{
	size_t count = 0;

	free(c->error);
	c->error = renew(c, &count);
	if (c->error) {
		log_error("certificates refused: %s; the old ones go on", c->error);
		c->o.event(c->o.arg, "certificates_refused",
		           (const char *const[]){"detail", c->error, "outcome", "failure", NULL});
		return;
	}
	if (count)
		log_notice("certificates of %zu listeners are loaded anew", count);
	look(c);
}

/* ---- status ---- */

struct listing {
	Isod__V1__Status *status;
	size_t peers;
	uint64_t now;
};

static void list(void *arg, const struct ingest_certificate *x)
{
	struct listing *l = arg;
	char fingerprint[TLS_FINGERPRINT_MAX];

	if (x->peer && (certificates_stage(x, l->now) < 0 || l->peers++ >= LISTED_MAX))
		return;
	Isod__V1__CertificateStatus **at =
		pb_add(&l->status->certificates, &l->status->n_certificates, sizeof(*at));
	Isod__V1__CertificateStatus *s = *at = xmalloc(sizeof(*s));
	isod__v1__certificate_status__init(s);
	pb_set_text(&s->name, x->name);
	pb_set_text(&s->listener, x->listener);
	s->peer = x->peer;
	s->revocations = x->revocations;
	s->until_ns = x->until_ns;
	if (x->fingerprint)
		pb_set_text(&s->fingerprint, tls_fingerprint(x->fingerprint, fingerprint));
}

void certificates_status(struct certificates *c, Isod__V1__Status *status)
{
	struct listing l = {.status = status, .now = clock_now()};

	each(c, list, &l);
	pb_set_text(&status->certificates_error, c->error ? c->error : "");
}

/* ---- life ---- */

struct certificates *certificates_new(const struct certificates_options *o)
{
	static const struct timeval soon = {0, LOOK_SOON_MS * 1000L};
	struct certificates *c = xcalloc(1, sizeof(*c));

	c->o = *o;
	c->path = xasprintf("%s/certificates", o->config->state_dir);
	map_init(&c->told);
	load(c);
	c->timer = evtimer_new(o->base, on_timer, c);
	c->look = event_new(o->base, -1, 0, on_look, c);
	if (!c->timer || !c->look || evtimer_add(c->timer, &soon) < 0)
		abort();
	return c;
}

void certificates_free(struct certificates *c)
{
	if (!c)
		return;
	event_free(c->timer);
	event_free(c->look);
	map_release(&c->told, free);
	free(c->path);
	free(c->error);
	free(c);
}
