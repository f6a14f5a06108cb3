#include "ingest/latency.h"

static struct latency_run *run_at(struct latency *l, size_t i)
{
	return &l->runs[(l->first + i) % LATENCY_RUNS];
}

void latency_arrived(struct latency *l, uint64_t sequence, uint64_t now_ns)
{
	struct latency_run *last = l->count ? run_at(l, l->count - 1) : NULL;

	if (!last || (last->arrived_ns != now_ns && l->count < LATENCY_RUNS)) {
		last = run_at(l, l->count++);
		*last = (struct latency_run){.arrived_ns = now_ns};
	}
	last->upto = sequence;
	last->frames++;
}

void latency_durable(struct latency *l, uint64_t upto, uint64_t now_ns)
{
	while (l->count && run_at(l, 0)->upto <= upto) {
		const struct latency_run *run = run_at(l, 0);
		uint64_t took = now_ns > run->arrived_ns ? now_ns - run->arrived_ns : 0;
		histogram_count(&l->durable, took, run->frames);
		l->first = (l->first + 1) % LATENCY_RUNS;
		l->count--;
	}
}
