/* How fast a state comes back: a ledger of RECORDS records (default ten million) is made in a temporary folder, as a busy
 * week would make it: matches of forty rules about hosts, users and addresses, correlations over them, a tally for every
 * fifty. It is read and proven only (checksum, chain), then folded from its beginning, then begun from a snapshot. Printed
 * are seconds of the processor (of a fold that which it takes beside the reading, which a thread of its own does), records
 * a second, and how much the fold costs beside the reading alone. LEDGER=folder takes the ledger that is there, or makes
 * it there, and lets it stand. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pb.h"
#include "log/ledger.h"
#include "officer/digest.h"
#include "officer/recover.h"
#include "officer/snapshot.h"

#define START_NS      (UINT64_C(1700000000) * NS_PER_SECOND)
#define RULES         40
#define CORRELATIONS  8
#define TALLY_EVERY   50
#define SEGMENT_BYTES (UINT64_C(64) << 20)
#define SYNC_EVERY    100000

static uint64_t seed = 88172645463325252;

static uint64_t roll(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 9) % below;
}

/* Some are seen often, most seldom. */
static unsigned skewed(unsigned below)
{
	unsigned n = (unsigned)roll(below);
	return roll(4) ? n % (below / 50 + 1) : n;
}

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "bench_replay: %s: %s\n", what, why);
	exit(1);
}

static void append_settings(struct segment_log *l)
{
	Isod__V1__Settings s = ISOD__V1__SETTINGS__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__Correlation c[CORRELATIONS], *list[CORRELATIONS];
	Isod__V1__Bound bound = ISOD__V1__BOUND__INIT, *bounds[] = {&bound};
	char ids[CORRELATIONS][16], rules[CORRELATIONS][16], by[] = "src_ip", *group[] = {by};
	char *names[CORRELATIONS];

	bound.comparison = ISOD__V1__COMPARISON__COMPARISON_GTE;
	bound.value = 30;
	for (unsigned i = 0; i < CORRELATIONS; i++) {
		isod__v1__correlation__init(&c[i]);
		list[i] = &c[i];
		snprintf(ids[i], sizeof(ids[i]), "correlation%u", i);
		snprintf(rules[i], sizeof(rules[i]), "rule%u", i);
		names[i] = rules[i];
		c[i].id = c[i].title = ids[i];
		c[i].level = ISOD__V1__LEVEL__LEVEL_HIGH;
		c[i].type = ISOD__V1__CORRELATION_TYPE__CORRELATION_EVENT_COUNT;
		c[i].timespan_ns = 10 * NS_PER_MINUTE;
		c[i].n_rules = c[i].n_group_by = c[i].n_bounds = 1;
		c[i].rules = &names[i];
		c[i].group_by = group;
		c[i].bounds = bounds;
	}
	s.n_correlations = CORRELATIONS;
	s.correlations = list;
	s.incident_window_ns = NS_PER_HOUR;
	s.incident_open_level = ISOD__V1__LEVEL__LEVEL_MEDIUM;
	s.risk_half_life_ns = NS_PER_DAY;
	s.correlation_skew_ns = NS_PER_HOUR;
	s.correlation_lateness_ns = 5 * NS_PER_MINUTE;
	record.body_case = ISOD__V1__RECORD__BODY_SETTINGS;
	record.settings = &s;
	ledger_append(l, START_NS, &record);
}

static void append_match(struct segment_log *l, uint64_t now, uint64_t evidence)
{
	Isod__V1__Match m = ISOD__V1__MATCH__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__EvidenceRef ref = ISOD__V1__EVIDENCE_REF__INIT;
	Isod__V1__Entity e[3], *entities[] = {&e[0], &e[1], &e[2]};
	Isod__V1__Field f[2], *fields[] = {&f[0], &f[1]};
	char rule[16], user[24], at_host[48], host[24], address[24], summary[120], source[40];
	char by_ip[] = "src_ip", by_user[] = "user", tag[] = "attack.t1110",
	     title[] = "Failed Logon";
	char failure[] = "failure", *tags[] = {tag};

	snprintf(rule, sizeof(rule), "rule%u", skewed(RULES));
	snprintf(user, sizeof(user), "user%u", skewed(2000));
	snprintf(host, sizeof(host), "host%u", skewed(500));
	snprintf(at_host, sizeof(at_host), "%s@%s", user, host);
	snprintf(address, sizeof(address), "10.%u.%u.7", skewed(100), (unsigned)roll(250));
	snprintf(source, sizeof(source), "tls/%s", address);
	snprintf(summary, sizeof(summary), "Failed password for %s from %s port %u ssh2", user,
	         address, (unsigned)roll(60000));
	for (int i = 0; i < 3; i++)
		isod__v1__entity__init(&e[i]);
	e[0].kind = ISOD__V1__ENTITY_KIND__ENTITY_USER;
	e[0].name = at_host;
	e[1].kind = ISOD__V1__ENTITY_KIND__ENTITY_HOST;
	e[1].name = host;
	e[2].kind = ISOD__V1__ENTITY_KIND__ENTITY_ADDRESS;
	e[2].name = address;
	isod__v1__field__init(&f[0]);
	isod__v1__field__init(&f[1]);
	f[0].name = by_ip;
	f[0].value = address;
	f[1].name = by_user;
	f[1].value = user;
	ref.sequence = evidence;
	m.evidence = &ref;
	m.rule = rule;
	m.title = title;
	m.level = roll(10) ? ISOD__V1__LEVEL__LEVEL_LOW : ISOD__V1__LEVEL__LEVEL_MEDIUM;
	m.n_tags = 1;
	m.tags = tags;
	m.event_time_ns = now - roll(3) * NS_PER_SECOND;
	m.received_ns = now;
	m.source = source;
	m.summary = summary;
	m.outcome = failure;
	m.n_entities = 3;
	m.entities = entities;
	m.n_fields = 2;
	m.fields = fields;
	record.body_case = ISOD__V1__RECORD__BODY_MATCH;
	record.match = &m;
	ledger_append(l, now, &record);
}

static void append_tally(struct segment_log *l, uint64_t now, uint64_t upto)
{
	Isod__V1__Tally t = ISOD__V1__TALLY__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__SourceCount counts[4], *list[4];
	char names[4][40];

	for (int i = 0; i < 4; i++) {
		isod__v1__source_count__init(&counts[i]);
		list[i] = &counts[i];
		snprintf(names[i], sizeof(names[i]), "tls/10.%u.%u.7", skewed(100),
		         (unsigned)roll(250));
		counts[i].source = names[i];
		counts[i].received = 500;
		counts[i].matched = 20;
		counts[i].unmatched = 480;
		counts[i].last_received_ns = now;
	}
	t.upto = upto;
	t.n_sources = 4;
	t.sources = list;
	record.body_case = ISOD__V1__RECORD__BODY_TALLY;
	record.tally = &t;
	ledger_append(l, now, &record);
}

static void make_ledger(const char *dir, uint64_t records)
{
	const struct segment_options options = {.kind = SEGMENT_LEDGER,
	                                        .segment_bytes = SEGMENT_BYTES};
	struct segment_log *l;
	char error[512];
	uint64_t now = START_NS;

	if (segment_open(dir, &options, &l, error, sizeof(error)) < 0)
		fail(dir, error);
	append_settings(l);
	for (uint64_t i = 1; i < records; i++) {
		now += roll(100) * NS_PER_MS;
		if (i % TALLY_EVERY == 0)
			append_tally(l, now, i);
		else
			append_match(l, now, i);
		if (i % SYNC_EVERY == 0 && segment_flush(l) < 0)
			fail(dir, "cannot be written");
	}
	segment_close(l);
}

/* Of the processor and of this thread, which never waits but for the disk: others on the machine do not show. */
static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static uint64_t all_cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static double seconds_since(uint64_t began)
{
	return (double)(cpu_ns() - began) / (double)NS_PER_SECOND;
}

static void line(const char *what, double seconds, uint64_t records)
{
	printf("%-28s%8.2f s%12.0f records/s\n", what, seconds, (double)records / seconds);
}

static void make_folder(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		fail(path, strerror(errno));
}

static void write_ledger(const char *dir, uint64_t records)
{
	uint64_t began = cpu_ns();

	make_folder(dir);
	make_ledger(dir, records);
	line("write the ledger", seconds_since(began), records);
}

static double prove_ledger(const char *dir, uint64_t *ret_records)
{
	struct segment_report report;
	uint64_t began = cpu_ns();

	if (segment_verify(dir, SEGMENT_LEDGER, &report) < 0)
		fail(dir, report.error);
	double read = seconds_since(began);
	*ret_records = report.records;
	line("read and prove it", read, report.records);
	printf("%-28s%8.0f MiB\n", "", (double)report.bytes / (1 << 20));
	return read;
}

/* In seconds of this thread, of all threads, and of the clock on the wall. */
static void fold_ledger(const char *dir, struct state *s, struct recovery *recovery, double read)
{
	uint64_t began = cpu_ns(), began_all = all_cpu_ns(), began_wall = clock_mono();
	char error[512] = "";

	if (state_recover(s, dir, NULL, recovery, error, sizeof(error)) < 0)
		fail(dir, error);
	double fold = seconds_since(began), wall = (double)(clock_mono() - began_wall) / 1e9;
	double all = (double)(all_cpu_ns() - began_all) / 1e9;
	line("fold it", fold, recovery->facts.records);
	printf("%-28s%8.2f times reading alone; with the reading beside it %.2f s, on the wall "
	       "%.2f s\n",
	       "", fold / read, all, wall);
	printf("%-28s%zu incidents, %zu entities, %zu groups\n", "", s->incident.count,
	       s->risk.entities.count, correlate_groups(s->correlate));
}

static void try_snapshot(const char *ledger, const char *snapshots, const struct state *folded,
                         const struct recovery *of, struct state *loaded)
{
	struct snapshot_tools *tools = snapshot_tools_new();
	uint64_t began = cpu_ns(), records = of->facts.records;
	struct recovery recovery;
	char error[512] = "";

	if (snapshot_write(tools, snapshots, folded, of->facts.chain) < 0)
		fail(snapshots, "not written");
	line("write a snapshot", seconds_since(began), records);
	snapshot_tools_free(tools);
	began = cpu_ns();
	if (state_recover(loaded, ledger, snapshots, &recovery, error, sizeof(error)) < 0)
		fail(snapshots, error);
	line("begin from the snapshot", seconds_since(began), records);
}

static void remove_folder(const char *dir)
{
	char *command = xasprintf("rm -r %s", dir);

	if (system(command) != 0)
		fail(dir, "cannot be removed");
	free(command);
}

int main(void)
{
	const char *asked = getenv("RECORDS"), *tmp = getenv("TMPDIR"), *kept = getenv("LEDGER");
	uint64_t records = asked ? strtoull(asked, NULL, 10) : 10000000;
	char *dir = xasprintf("%s/isod-bench-XXXXXX", tmp ? tmp : "/tmp");
	struct recovery recovery;
	struct state folded, loaded;
	uint8_t a[SHA256_BYTES], b[SHA256_BYTES];

	if (!mkdtemp(dir))
		fail(dir, "no folder");
	char *snapshots = xasprintf("%s/snapshots", dir);
	char *ledger = kept ? xstrdup(kept) : xasprintf("%s/ledger", dir);
	if (access(ledger, F_OK) < 0)
		write_ledger(ledger, records);
	double read = prove_ledger(ledger, &records);
	state_init(&folded);
	fold_ledger(ledger, &folded, &recovery, read);
	state_init(&loaded);
	try_snapshot(ledger, snapshots, &folded, &recovery, &loaded);
	state_digest(&folded, a);
	state_digest(&loaded, b);
	bool same = memcmp(a, b, sizeof(a)) == 0;
	printf("%s ", same ? "the same digest" : "ANOTHER DIGEST");
	for (size_t i = 0; i < sizeof(a); i++)
		printf("%02x", a[i]);
	printf("\n");
	state_release(&folded);
	state_release(&loaded);
	remove_folder(dir);
	free(snapshots);
	free(ledger);
	free(dir);
	return !same;
}
