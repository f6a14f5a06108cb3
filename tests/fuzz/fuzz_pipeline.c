/* Any frame from any source through decoders, log sources, patterns and rules: whatever comes out must unpack, hold
 * nothing but valid UTF-8, and account for every frame. Uses conf/ of the working directory where it is there. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/utf8.h"
#include "event/decode.h"
#include "event/logsource.h"
#include "ingest/pipeline.h"
#include "ledger.pb-c.h"
#include "sigma/content.h"
#include "sigma/rules.h"

#define RING       ((size_t)4 << 20)
#define RUNS_A_LOG 5000 /* then evidence begins anew: it would fill the disk */
#define RULE                                                                                       \
	"title: everything\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\n"              \
	"logsource:\n  product: anything\ndetection:\n  selection:\n    nothing: none\n"           \
	"  condition: not selection\nlevel: low\n"                                                 \
	"fields: [message, user, host, src_ip, a, command, Image]\n"

static struct {
	char dir[32], rules[64], evidence[64];
	struct inbox inbox;
	struct content *content;
	struct segment_log *log;
	struct pipeline *pipeline;
	uint64_t runs, received;
	size_t matches;
} bed;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void clean_up(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", bed.dir);
	must(system(command) == 0);
}

static void open_log(void)
{
	const struct segment_options options = {.kind = SEGMENT_EVIDENCE, .segment_bytes = 8 << 20};
	char error[256];

	pipeline_free(bed.pipeline);
	segment_close(bed.log);
	if (bed.dir[0])
		clean_up();
	must(mkdir(bed.dir, 0700) == 0);
	must(segment_open(bed.evidence, &options, &bed.log, error, sizeof(error)) == 0);
	const struct pipeline_options o = {
		.evidence = bed.log, .inbox = &bed.inbox, .content = bed.content};
	bed.pipeline = pipeline_new(&o);
}

static void set_up(void)
{
	const char *paths[] = {bed.rules, "conf/rules"};
	struct content_parts parts = {0};
	struct diags diags;

	snprintf(bed.dir, sizeof(bed.dir), "/tmp/isod-fuzz-XXXXXX");
	must(mkdtemp(bed.dir) != NULL);
	snprintf(bed.rules, sizeof(bed.rules), "%s/rule.yml", bed.dir);
	snprintf(bed.evidence, sizeof(bed.evidence), "%s/0", bed.dir);
	FILE *f = fopen(bed.rules, "w");
	must(f && fputs(RULE, f) >= 0 && fclose(f) == 0);
	diags_init(&diags);
	if (access("conf/logsources.yaml", R_OK) == 0)
		must(logsources_load("conf/logsources.yaml", &diags, &parts.logsources) == 0);
	if (access("conf/patterns.yaml", R_OK) == 0)
		must(patterns_load("conf/patterns.yaml", &diags, &parts.patterns) == 0);
	/* Without the table every rule is tried on every event. */
	must(ruleset_load(paths, access(paths[1], R_OK) == 0 ? 2 : 1, NULL, &diags, &parts.rules) ==
	     0);
	diags_release(&diags);
	bed.content = content_new(&parts, 1);
	must(inbox_init(&bed.inbox, 1, RING) == 0);
	open_log();
	atexit(clean_up);
}

static void check_text(const char *s)
{
	must(utf8_valid(str_of(s)));
}

static void take(void *arg, size_t worker, struct str packed)
{
	Isod__V1__Record *r = isod__v1__record__unpack(NULL, packed.n, (const uint8_t *)packed.p);

	(void)arg;
	(void)worker;
	must(r && packed.n <= PIPELINE_RECORD_MAX);
	if (r->body_case == ISOD__V1__RECORD__BODY_MATCH) {
		bed.matches++;
		check_text(r->match->source);
		check_text(r->match->summary);
		for (size_t i = 0; i < r->match->n_entities; i++)
			check_text(r->match->entities[i]->name);
		for (size_t i = 0; i < r->match->n_fields; i++)
			check_text(r->match->fields[i]->value);
	} else {
		must(r->body_case == ISOD__V1__RECORD__BODY_TALLY && r->tally->n_sources == 1);
		const Isod__V1__SourceCount *c = r->tally->sources[0];
		check_text(c->source);
		must(c->received == c->matched + c->unmatched + c->undecoded);
		bed.received += c->received;
	}
	isod__v1__record__free_unpacked(r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!bed.content)
		set_up();
	if (size < 2)
		return 0;
	size_t name = data[0] < size - 1 ? data[0] : 0;
	const struct evidence e = {.source = {(const char *)data + 1, name},
	                           .flags = name & EVIDENCE_TRUNCATED,
	                           .frame = {(const char *)data + 1 + name, size - 1 - name}};

	bed.matches = bed.received = 0;
	pipeline_frame(bed.pipeline, UINT64_C(1700000000000000000), &e);
	must(pipeline_write(bed.pipeline) == 0);
	must(pipeline_detect(bed.pipeline, UINT64_MAX) == 0);
	pipeline_tally(bed.pipeline);
	must(pipeline_commit(bed.pipeline) == 0);
	while (inbox_drain(&bed.inbox, 1000, take, NULL))
		continue;
	must(bed.received == 1 && bed.matches >= 1);
	if (++bed.runs % RUNS_A_LOG == 0)
		open_log();
	return 0;
}
