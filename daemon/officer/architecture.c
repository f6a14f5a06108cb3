#include "officer/architecture.h"

#include "base/pb.h"
#include "base/mem.h"

static void free_source(void *p)
{
	isod__v1__source_status__free_unpacked(p, NULL);
}

void architecture_init(struct architecture_desk *d)
{
	map_init(&d->sources);
	d->events = 0;
}

void architecture_release(struct architecture_desk *d)
{
	map_release(&d->sources, free_source);
}

static Isod__V1__SourceStatus *source_get(struct architecture_desk *d, const char *name)
{
	Isod__V1__SourceStatus *source = map_get(&d->sources, str_of(name));

	if (!source && d->sources.count >= SOURCES_MAX) {
		name = "(other)";
		source = map_get(&d->sources, str_of(name));
	}
	if (source)
		return source;
	source = xmalloc(sizeof(*source));
	isod__v1__source_status__init(source);
	pb_set_text(&source->source, name);
	map_put(&d->sources, str_of(name), source);
	return source;
}

void architecture_on_tally(struct architecture_desk *d, const struct step *s,
                           const Isod__V1__Tally *t)
{
	for (size_t i = 0; i < t->n_sources; i++) {
		const Isod__V1__SourceCount *count = t->sources[i];
		Isod__V1__SourceStatus *source = source_get(d, count->source);

		source->received += count->received;
		source->matched += count->matched;
		source->unmatched += count->unmatched;
		source->undecoded += count->undecoded;
		source->truncated += count->truncated;
		source->refused += count->refused;
		source->bytes += count->bytes;
		if (count->received) {
			if (!source->first_received_ns)
				source->first_received_ns = s->time_ns;
			if (count->last_received_ns > source->last_received_ns)
				source->last_received_ns = count->last_received_ns;
			source->clock_skew_ns = count->clock_skew_ns;
		}
		d->events += count->received;
		step_dirty(s, VIEW_SOURCE, str_of(source->source));
	}
}

const Isod__V1__SourceStatus *architecture_get(const struct architecture_desk *d, struct str source)
{
	return map_get(&d->sources, source);
}
