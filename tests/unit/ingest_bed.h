/* A test bed for ingest: a state folder of its own, a rule set from text, an inbox that the test drains, and what the
 * tallies and matches in it add up to. */
#ifndef TESTS_INGEST_BED_H
#define TESTS_INGEST_BED_H

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/path.h"
#include "folder.h"
#include "ingest/ingest.h"
#include "log/evidence.h"
#include "officer/state.h"
#include "sigma/content.h"
#include "sigma/rules.h"

#define BED_LISTENERS   8
#define BED_WORKERS_MAX 16
#define BED_PATIENCE_S  60 /* a wait that long has failed */
#define BED_RING        ((size_t)1 << 20)

/* A rule that holds for every event. */
#define BED_ANY_RULE                                                                               \
	"title: everything\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\n"              \
	"logsource:\n  product: anything\ndetection:\n  selection:\n    nothing: none\n"           \
	"  condition: not selection\nlevel: low\n"

struct bed_match {
	Isod__V1__Record *record;
	struct bed_match *next;
};

struct bed {
	char dir[FOLDER_BYTES];
	char node[16];
	struct config config;
	struct listener_config listeners[BED_LISTENERS];
	struct inbox inbox;
	struct content *content;
	atomic_uint parked; /* how often all workers stood still for another content */
	struct ingest *ingest;
	struct map sources; /* Isod__V1__SourceCount by name: all tallies added up */
	uint64_t upto[16];  /* by worker */
	struct bed_match *matches, **matches_end;
	size_t match_count, tally_count;
};

/* ---- folders ---- */

static inline void bed_write(const struct bed *b, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", b->dir, name);
	cr_assert_eq(path_write_atomic(path, str_of(text), 0600), 0);
	free(path);
}

/* ---- life ---- */

/* A content without log sources and patterns; `rule` is the YAML text of its only rule, NULL: none. */
static inline struct content *bed_content(const struct bed *b, const char *rule)
{
	struct diags diags;
	char path[128];
	const char *paths[] = {path};

	snprintf(path, sizeof(path), "%s/rules", b->dir);
	mkdir(path, 0700);
	if (rule)
		bed_write(b, "rules/rule.yml", rule);
	diags_init(&diags);
	struct content_parts parts = {0};
	cr_assert_eq(ruleset_load(paths, 1, NULL, &diags, &parts.rules), 0);
	for (size_t i = 0; i < diags.count; i++)
		cr_log_error("%s", diags.items[i].text);
	cr_assert_eq(diags.errors, 0);
	diags_release(&diags);
	return content_new(&parts, BED_WORKERS_MAX);
}

static inline void bed_init(struct bed *b, const char *rule)
{
	memset(b, 0, sizeof(*b));
	folder_new(b->dir, "ingest");
	b->content = bed_content(b, rule);
	snprintf(b->node, sizeof(b->node), "testnode");
	b->config = (struct config){
		.node = b->node,
		.state_dir = b->dir,
		.workers = 2,
		.frame_max = 65536,
		.connections_max = 1000,
		.frame_timeout_ns = 60 * NS_PER_SECOND,
		.memory_max = (uint64_t)256 << 20,
		.idle_timeout_ns = 0,
		.handshake_timeout_ns = 30 * NS_PER_SECOND,
		.listeners = b->listeners,
		.evidence_segment_bytes = (uint64_t)64 << 20,
		.evidence_sync_ns = 50 * NS_PER_MS,
		.evidence_sync_bytes = (uint64_t)1 << 20,
		.backlog_memory = (uint64_t)4 << 20,
		.lag_max = (uint64_t)256 << 20,
		.evidence_ack_ns = 1 * NS_PER_MS,
		.tally_interval_ns = 20 * NS_PER_MS,
	};
	map_init(&b->sources);
	b->matches_end = &b->matches;
}

static inline struct listener_config *bed_listener(struct bed *b, int kind, const char *name,
                                                   const char *address)
{
	struct listener_config *l = &b->listeners[b->config.listener_count++];

	*l = (struct listener_config){.name = xstrdup(name),
	                              .kind = kind,
	                              .address = xstrdup(address),
	                              .mode = 0666,
	                              .receive_buffer = 8 << 20};
	return l;
}

static inline void bed_parked(void *arg)
{
	struct bed *b = arg;

	atomic_fetch_add(&b->parked, 1);
}

static inline int bed_try_open(struct bed *b, size_t ring, const struct cursor *cursors,
                               size_t cursor_count, char *error, size_t error_size)
{
	cr_assert_eq(inbox_init(&b->inbox, b->config.workers, ring), 0);
	const struct ingest_options options = {.config = &b->config,
	                                       .inbox = &b->inbox,
	                                       .content = b->content,
	                                       .parked = bed_parked,
	                                       .arg = b,
	                                       .cursors = cursors,
	                                       .cursor_count = cursor_count};
	return ingest_open(&options, &b->ingest, error, error_size);
}

static inline void bed_open(struct bed *b, size_t ring, const struct cursor *cursors,
                            size_t cursor_count)
{
	char error[512] = "";
	int r = bed_try_open(b, ring, cursors, cursor_count, error, sizeof(error));

	cr_assert_eq(r, 0, "%s", error);
}

static inline void bed_start(struct bed *b)
{
	bed_open(b, BED_RING, NULL, 0);
	cr_assert_eq(ingest_start(b->ingest), 0);
}

/* ---- what arrives at the officer ---- */

static inline void bed_add(Isod__V1__SourceCount *to, const Isod__V1__SourceCount *c)
{
	to->received += c->received;
	to->matched += c->matched;
	to->unmatched += c->unmatched;
	to->undecoded += c->undecoded;
	to->truncated += c->truncated;
	to->refused += c->refused;
	to->refused_framing += c->refused_framing;
	to->refused_empty += c->refused_empty;
	to->shed += c->shed;
	to->shed_kernel += c->shed_kernel;
	to->shed_own_events += c->shed_own_events;
	to->shed_rate += c->shed_rate;
	to->bytes += c->bytes;
}

static inline void bed_take(void *arg, size_t worker, struct str packed)
{
	struct bed *b = arg;
	Isod__V1__Record *r = isod__v1__record__unpack(NULL, packed.n, (const uint8_t *)packed.p);

	(void)worker;
	cr_assert_not_null(r);
	if (r->body_case == ISOD__V1__RECORD__BODY_MATCH) {
		struct bed_match *m = xcalloc(1, sizeof(*m));
		m->record = r;
		*b->matches_end = m;
		b->matches_end = &m->next;
		b->match_count++;
		return;
	}
	cr_assert_eq(r->body_case, ISOD__V1__RECORD__BODY_TALLY);
	cr_assert_lt(r->tally->worker, 16);
	cr_assert_geq(r->tally->upto, b->upto[r->tally->worker]);
	b->upto[r->tally->worker] = r->tally->upto;
	b->tally_count++;
	for (size_t i = 0; i < r->tally->n_sources; i++) {
		const Isod__V1__SourceCount *c = r->tally->sources[i];
		Isod__V1__SourceCount *to = map_get(&b->sources, str_of(c->source));
		cr_assert_eq(c->received, c->matched + c->unmatched + c->undecoded);
		if (!to) {
			to = xcalloc(1, sizeof(*to));
			isod__v1__source_count__init(to);
			map_put(&b->sources, str_of(c->source), to);
		}
		bed_add(to, c);
	}
	isod__v1__record__free_unpacked(r, NULL);
}

static inline void bed_drain(void *arg)
{
	struct bed *b = arg;

	while (inbox_drain(&b->inbox, 1000, bed_take, b))
		continue;
}

/* All sources that begin with `prefix` together. */
static inline Isod__V1__SourceCount bed_count(struct bed *b, const char *prefix)
{
	Isod__V1__SourceCount sum = ISOD__V1__SOURCE_COUNT__INIT;
	const struct map_entry *e;
	size_t at = 0;

	bed_drain(b);
	while ((e = map_next(&b->sources, &at)))
		if (str_starts(e->key, str_of(prefix)))
			bed_add(&sum, e->value);
	return sum;
}

static inline Isod__V1__ListenerStatus bed_status(struct bed *b, const char *listener)
{
	Isod__V1__ListenerStatus **list, found = ISOD__V1__LISTENER_STATUS__INIT;
	static char address[256];
	size_t count;

	ingest_status(b->ingest, &list, &count);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i]->name, listener) == 0) {
			found = *list[i];
			snprintf(address, sizeof(address), "%s", list[i]->address);
			found.name = NULL;
			found.address = address;
		}
		isod__v1__listener_status__free_unpacked(list[i], NULL);
	}
	free(list);
	return found;
}

struct bed_counter {
	const char *name;
	uint64_t value;
};

static inline void bed_take_counter(void *arg, const char *name, uint64_t value)
{
	struct bed_counter *c = arg;

	if (strcmp(name, c->name) == 0)
		c->value = value;
}

static inline uint64_t bed_counter(struct bed *b, const char *name)
{
	struct bed_counter c = {name, 0};

	ingest_counters(b->ingest, bed_take_counter, &c);
	return c.value;
}

/* Drains until `condition` holds; fails the test after BED_PATIENCE_S. */
#define BED_WAIT(b, condition)                                                                     \
	do {                                                                                       \
		uint64_t bed_end_ = clock_mono() + BED_PATIENCE_S * NS_PER_SECOND;                 \
		while (bed_drain(b), !(condition)) {                                               \
			cr_assert_lt(clock_mono(), bed_end_, "%s never came true", #condition);    \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

static inline void bed_stop(struct bed *b)
{
	ingest_stop(b->ingest, bed_drain, b);
	bed_drain(b);
}

static inline void bed_close(struct bed *b)
{
	ingest_free(b->ingest);
	b->ingest = NULL;
	inbox_release(&b->inbox);
}

static inline void bed_forget(struct bed *b)
{
	while (b->matches) {
		struct bed_match *m = b->matches;
		b->matches = m->next;
		isod__v1__record__free_unpacked(m->record, NULL);
		free(m);
	}
	b->matches_end = &b->matches;
	b->match_count = 0;
	map_release(&b->sources, free);
	map_init(&b->sources);
	memset(b->upto, 0, sizeof(b->upto));
}

static inline void bed_release(struct bed *b)
{
	bed_forget(b);
	content_unref(b->content);
	for (size_t i = 0; i < b->config.listener_count; i++) {
		free(b->listeners[i].name);
		free(b->listeners[i].address);
		free(b->listeners[i].certificate);
		free(b->listeners[i].key);
		free(b->listeners[i].ca);
	}
	folder_remove(b->dir);
}

/* Stops, and proves that every frame the listeners counted is in the tallies, and that the tallies reach the end of
 * evidence. */
static inline void bed_finish(struct bed *b)
{
	Isod__V1__ListenerStatus **list;
	uint64_t frames = 0, last = 0, upto = 0;
	size_t count;

	bed_stop(b);
	ingest_status(b->ingest, &list, &count);
	for (size_t i = 0; i < count; i++) {
		frames += list[i]->frames;
		cr_expect_eq(list[i]->connections, 0);
		isod__v1__listener_status__free_unpacked(list[i], NULL);
	}
	free(list);
	cr_expect_eq(bed_count(b, "").received - bed_count(b, "isod/").received, frames);
	bed_close(b);
	for (size_t w = 0; w < b->config.workers; w++) {
		struct segment_report report;
		char *dir = xasprintf("%s/evidence/%zu", b->dir, w);
		cr_expect_eq(segment_verify(dir, SEGMENT_EVIDENCE, &report), 0, "%s", report.error);
		last += report.last;
		upto += b->upto[w];
		free(dir);
	}
	cr_expect_eq(last, upto);
	bed_release(b);
}

/* ---- evidence ---- */

/* Calls `visit` for every record of evidence of all workers. */
static inline size_t bed_evidence(const struct bed *b,
                                  void (*visit)(void *arg, const struct evidence *e), void *arg)
{
	char error[256];
	size_t n = 0;

	for (size_t w = 0; w < b->config.workers; w++) {
		char *dir = xasprintf("%s/evidence/%zu", b->dir, w);
		struct segment_reader *reader;
		struct record record;
		struct evidence e;
		cr_assert_eq(segment_reader_open(dir, SEGMENT_EVIDENCE, 1, &reader, error,
		                                 sizeof(error)),
		             0, "%s", error);
		while (segment_read(reader, &record, error, sizeof(error)) > 0) {
			cr_assert_eq(evidence_parse(record.body, &e), 0);
			if (e.flags & EVIDENCE_LOSS)
				continue;
			visit(arg, &e);
			n++;
		}
		segment_reader_close(reader);
		free(dir);
	}
	return n;
}

struct bed_search {
	const char *source;
	struct str frame;
	bool part; /* `frame` need only be contained */
	uint8_t flags;
	size_t found;
};

static inline void bed_match_frame(void *arg, const struct evidence *e)
{
	struct bed_search *s = arg;
	bool same = s->part ? str_search(e->frame, s->frame) >= 0 : str_eq(e->frame, s->frame);

	if (same && e->flags == s->flags && str_eq(e->source, str_of(s->source)))
		s->found++;
}

/* How often exactly that frame stands in evidence. */
static inline size_t bed_find(const struct bed *b, const char *source, struct str frame,
                              uint8_t flags)
{
	struct bed_search s = {.source = source, .frame = frame, .flags = flags};

	bed_evidence(b, bed_match_frame, &s);
	return s.found;
}

static inline size_t bed_find_part(const struct bed *b, const char *source, const char *part)
{
	struct bed_search s = {.source = source, .frame = str_of(part), .part = true};

	bed_evidence(b, bed_match_frame, &s);
	return s.found;
}

/* ---- clients ---- */

/* A socket connected to the listener, over 127.0.0.1 or ::1. */
static inline int bed_connect(struct bed *b, const char *listener, int type, const char *host)
{
	Isod__V1__ListenerStatus status = bed_status(b, listener);
	struct sockaddr_storage sa;
	socklen_t length;
	const char *colon = strrchr(status.address, ':');
	char text[NET_TEXT_MAX];

	cr_assert_not_null(colon);
	snprintf(text, sizeof(text), "%s%s", host, colon);
	cr_assert_eq(net_parse(str_of(text), &sa, &length), 0, "%s", text);
	int fd = socket(sa.ss_family, type, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, length), 0, "%s", text);
	return fd;
}

static inline void bed_send(int fd, struct str data)
{
	while (data.n) {
		ssize_t n = send(fd, data.p, data.n, MSG_NOSIGNAL);
		cr_assert_gt(n, 0);
		data = str_skip(data, (size_t)n);
	}
}

/* Waits for the peer's end; true if it came. */
static inline bool bed_is_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char rest[256];
	ssize_t n;

	while (poll(&p, 1, BED_PATIENCE_S * 1000) > 0)
		if ((n = recv(fd, rest, sizeof(rest), 0)) <= 0)
			return true;
	return false;
}

#endif
