/* How fast and how small correlation is: matches per second through an event_count that has a million groups, and the
 * memory that they take. Where groups are hit at random the processor's cache helps no more; so the limit is measured
 * as well, in the same run: as many lines of as much memory, changed at random and with no work in between. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pb.h"
#include "officer/correlate.h"

#define GROUPS  1000000
#define MATCHES 5000000
#define LIMIT   100 /* of the event_count: nothing fires */
#define LINE    64
/* Of memory that a match cannot do without: its group's slot, the group, the two that it stood between, the window. */
#define LINES_PER_MATCH 5

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Bytes of this process that are in memory. */
static size_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t all = 0, pages = 0;

	if (!f || fscanf(f, "%zu %zu", &all, &pages) != 2)
		abort();
	fclose(f);
	return pages * 4096;
}

/* Time on the processor: the machine may have others to serve. */
static uint64_t cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

/* As they lie in a batch of the officer's. */
struct one {
	Isod__V1__Match match;
	Isod__V1__EvidenceRef evidence;
	Isod__V1__Field fields[2];
	Isod__V1__Field *field_list[2];
	char address[32];
};

static struct bench {
	struct correlate *correlate;
	Isod__V1__Settings settings;
	Isod__V1__Correlation correlation;
	Isod__V1__Bound bound;
	struct one batch[CORRELATE_AHEAD];
	uint64_t now, sequence;
} b;

static char rule_id[] = "b0000000-0000-4000-8000-000000000000";
static char group_name[] = "src_ip";

static void prepare_one(struct one *o)
{
	static char user[] = "user", root[] = "root";

	isod__v1__match__init(&o->match);
	isod__v1__evidence_ref__init(&o->evidence);
	for (size_t i = 0; i < ARRAY_LEN(o->fields); i++) {
		isod__v1__field__init(&o->fields[i]);
		o->field_list[i] = &o->fields[i];
	}
	o->match.evidence = &o->evidence;
	o->match.rule = rule_id;
	o->match.fields = o->field_list;
	o->match.n_fields = ARRAY_LEN(o->fields);
	o->fields[0].name = user;
	o->fields[0].value = root;
	o->fields[1].name = group_name;
	o->fields[1].value = o->address;
}

static void prepare(void)
{
	static char id[] = "many";
	static char *rules[] = {rule_id}, *group_by[] = {group_name};
	static Isod__V1__Bound *bounds[] = {&b.bound};
	static Isod__V1__Correlation *correlations[] = {&b.correlation};

	isod__v1__settings__init(&b.settings);
	isod__v1__correlation__init(&b.correlation);
	isod__v1__bound__init(&b.bound);
	b.settings.correlation_skew_ns = NS_PER_HOUR;
	b.settings.correlation_lateness_ns = NS_PER_MINUTE;
	b.settings.correlations = correlations;
	b.settings.n_correlations = 1;
	b.correlation.id = id;
	b.correlation.type = ISOD__V1__CORRELATION_TYPE__CORRELATION_EVENT_COUNT;
	b.correlation.rules = rules;
	b.correlation.n_rules = 1;
	b.correlation.group_by = group_by;
	b.correlation.n_group_by = 1;
	b.correlation.timespan_ns = NS_PER_HOUR;
	b.correlation.bounds = bounds;
	b.correlation.n_bounds = 1;
	b.bound.comparison = ISOD__V1__COMPARISON__COMPARISON_GTE;
	b.bound.value = LIMIT;
	for (size_t i = 0; i < CORRELATE_AHEAD; i++)
		prepare_one(&b.batch[i]);
	b.now = UINT64_C(1700000000) * NS_PER_SECOND;
	b.correlate = correlate_new();
	correlate_settings(b.correlate, &b.settings);
}

/* 10.x.y.z without the cost of printf. */
static void write_address(char *p, uint32_t group)
{
	*p++ = '1';
	*p++ = '0';
	for (int shift = 16; shift >= 0; shift -= 8) {
		unsigned octet = group >> shift & 255;
		*p++ = '.';
		*p++ = (char)('0' + octet / 100);
		*p++ = (char)('0' + octet / 10 % 10);
		*p++ = (char)('0' + octet % 10);
	}
	*p = '\0';
}

/* `count` matches, fed as the officer feeds a batch. `next` tells the group of each. */
static void feed(uint32_t count, uint32_t (*next)(uint32_t i, uint32_t groups), uint32_t groups)
{
	static const struct effects none;
	const Isod__V1__Match *ahead[CORRELATE_AHEAD], *const *ret;

	for (uint32_t done = 0, n; done < count; done += n) {
		n = count - done < CORRELATE_AHEAD ? count - done : CORRELATE_AHEAD;
		for (uint32_t i = 0; i < n; i++) {
			struct one *o = &b.batch[i];
			write_address(o->address, next(done + i, groups));
			b.now += 1000;
			o->evidence.sequence = ++b.sequence;
			o->match.event_time_ns = o->match.received_ns = b.now;
			ahead[i] = &o->match;
		}
		correlate_prefetch(b.correlate, ahead, n);
		for (uint32_t i = 0; i < n; i++) {
			const struct step step = {.time_ns = ahead[i]->received_ns,
			                          .settings = &b.settings,
			                          .effects = &none};
			if (correlate_on_match(b.correlate, &step, ahead[i], &ret))
				abort();
		}
	}
}

static uint32_t in_turn(uint32_t i, uint32_t groups)
{
	return i % groups;
}

static uint32_t at_random(uint32_t i, uint32_t groups)
{
	(void)i;
	return (uint32_t)(next_random() % groups);
}

static double report(const char *what, uint64_t matches, uint64_t ns)
{
	printf("%-52s %6.2f million matches/s, %4llu ns each\n", what,
	       (double)matches * 1000 / (double)ns, (unsigned long long)(ns / matches));
	return (double)ns / (double)matches;
}

/* `groups` at random, some of them again and again. Nanoseconds a match; *ret_bytes: what they take. */
static double run(const char *what, uint32_t groups, uint32_t matches, size_t *ret_bytes)
{
	prepare();
	size_t before = resident();
	feed(groups, in_turn, groups);
	uint64_t begin = cpu_time();
	feed(matches, at_random, groups);
	double ns = report(what, matches, cpu_time() - begin);
	*ret_bytes = resident() - before;
	correlate_free(b.correlate);
	malloc_trim(0);
	return ns;
}

/* Nanoseconds that changing LINES_PER_MATCH lines of so much memory takes, the next one's known before the last came. */
static double random_access(size_t bytes, uint32_t matches)
{
	size_t huge = (size_t)2 << 20, size = (bytes + huge - 1) / huge * huge, lines = size / LINE;
	uint64_t *table = aligned_alloc(huge, size);

	if (!table)
		abort();
	madvise(table, size, MADV_HUGEPAGE);
	memset(table, 1, size);
	uint64_t begin = cpu_time();
	for (uint64_t i = 0; i < (uint64_t)matches * LINES_PER_MATCH; i++)
		table[next_random() % lines * (LINE / sizeof(*table))]++;
	uint64_t ns = cpu_time() - begin;
	free(table);
	return (double)ns / matches;
}

int main(void)
{
	size_t bytes;

	prepare();
	size_t before = resident();
	uint64_t begin = cpu_time();
	feed(GROUPS, in_turn, GROUPS);
	report("event_count, each match opens a group:", GROUPS, cpu_time() - begin);
	bytes = resident() - before;
	if (correlate_groups(b.correlate) != GROUPS)
		abort();
	printf("%d open groups, one entry each: %.1f MiB resident, %.1f bytes a group (charged: "
	       "%.1f)\n",
	       GROUPS, (double)bytes / 1048576, (double)bytes / GROUPS,
	       (double)correlate_bytes(b.correlate) / GROUPS);
	correlate_free(b.correlate);
	malloc_trim(0);

	run("event_count, 10,000 groups at random:", 10000, GROUPS / 2, &bytes);
	double ns = run("event_count, 1,000,000 groups at random:", GROUPS, MATCHES, &bytes);
	double limit = random_access(bytes, MATCHES);
	printf("the limit: %d lines of %.0f MiB at random, nothing else: %.0f ns; the engine takes "
	       "%.1f times that\n",
	       LINES_PER_MATCH, (double)bytes / 1048576, limit, ns / limit);
	return 0;
}
