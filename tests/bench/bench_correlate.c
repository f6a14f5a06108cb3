/* How fast and how small correlation is: matches per second through an event_count that has a million groups, and the
 * memory that they take. The matches are made beforehand: what is measured is the engine. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pb.h"
#include "officer/correlate.h"

#define GROUPS  1000000
#define MATCHES 5000000
#define LIMIT   100 /* of the event_count: nothing fires */

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

static struct bench {
	struct correlate *correlate;
	Isod__V1__Settings settings;
	Isod__V1__Correlation correlation;
	Isod__V1__Bound bound;
	Isod__V1__Match match;
	Isod__V1__EvidenceRef evidence;
	Isod__V1__Field fields[2];
	char address[32];
	uint64_t now;
} b;

static void prepare(void)
{
	static char rule[] = "b0000000-0000-4000-8000-000000000000", id[] = "many",
		    name[] = "src_ip", user[] = "user", root[] = "root";
	static char *rules[] = {rule}, *group_by[] = {name};
	static Isod__V1__Bound *bounds[] = {&b.bound};
	static Isod__V1__Correlation *correlations[] = {&b.correlation};
	static Isod__V1__Field *fields[] = {&b.fields[0], &b.fields[1]};

	isod__v1__settings__init(&b.settings);
	isod__v1__correlation__init(&b.correlation);
	isod__v1__bound__init(&b.bound);
	isod__v1__match__init(&b.match);
	isod__v1__evidence_ref__init(&b.evidence);
	isod__v1__field__init(&b.fields[0]);
	isod__v1__field__init(&b.fields[1]);
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
	b.match.evidence = &b.evidence;
	b.match.rule = rule;
	b.match.fields = fields;
	b.match.n_fields = 2;
	b.fields[0].name = user;
	b.fields[0].value = root;
	b.fields[1].name = name;
	b.fields[1].value = b.address;
	b.now = UINT64_C(1700000000) * NS_PER_SECOND;
	b.correlate = correlate_new();
	correlate_settings(b.correlate, &b.settings);
}

static void feed(uint32_t group)
{
	static const struct effects none;
	const struct step step = {.time_ns = b.now, .settings = &b.settings, .effects = &none};
	const Isod__V1__Match *const *ret;
	char *p = b.address;

	/* 10.x.y.z without the cost of printf. */
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
	b.now += 1000;
	b.evidence.sequence++;
	b.match.event_time_ns = b.match.received_ns = b.now;
	if (correlate_on_match(b.correlate, &step, &b.match, &ret))
		abort();
}

static void report(const char *what, uint64_t matches, uint64_t ns)
{
	printf("%-52s %6.2f million matches/s, %4llu ns each\n", what,
	       (double)matches * 1000 / (double)ns, (unsigned long long)(ns / matches));
}

/* `groups` at random, some of them again and again. */
static void run(const char *what, uint32_t groups, uint32_t matches)
{
	prepare();
	for (uint32_t i = 0; i < groups; i++)
		feed(i);
	uint64_t begin = cpu_time();
	for (uint32_t i = 0; i < matches; i++)
		feed((uint32_t)(next_random() % groups));
	report(what, matches, cpu_time() - begin);
	correlate_free(b.correlate);
}

int main(void)
{
	prepare();
	size_t before = resident();
	uint64_t begin = cpu_time();
	for (uint32_t i = 0; i < GROUPS; i++)
		feed(i);
	report("event_count, each match opens a group:", GROUPS, cpu_time() - begin);
	size_t bytes = resident() - before;
	if (correlate_groups(b.correlate) != GROUPS)
		abort();
	printf("%d open groups, one entry each: %.1f MiB resident, %.1f bytes a group (charged: "
	       "%.1f)\n",
	       GROUPS, (double)bytes / 1048576, (double)bytes / GROUPS,
	       (double)correlate_bytes(b.correlate) / GROUPS);
	correlate_free(b.correlate);
	malloc_trim(0);

	run("event_count, 10,000 groups at random:", 10000, GROUPS / 2);
	run("event_count, 1,000,000 groups at random:", GROUPS, MATCHES);
	return 0;
}
