#include "officer/architecture.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pb.h"
#include "officer/save.h"

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

		source->received += count->received + count->refused + count->shed;
		source->matched += count->matched;
		source->unmatched += count->unmatched;
		source->undecoded += count->undecoded;
		source->truncated += count->truncated;
		source->refused += count->refused;
		source->refused_framing += count->refused_framing;
		source->refused_empty += count->refused_empty;
		source->shed += count->shed;
		source->shed_kernel += count->shed_kernel;
		source->shed_own_events += count->shed_own_events;
		source->shed_rate += count->shed_rate;
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

/* ---- saved ---- */

void architecture_save(const struct architecture_desk *d, struct saver *to)
{
	Isod__V1__SnapshotSources m = ISOD__V1__SNAPSHOT_SOURCES__INIT;
	void **all = save_values(&d->sources);
	SAVE_PART(part, SOURCES);

	part.sources = &m;
	for (size_t at = 0; at < d->sources.count; at += m.n_sources) {
		m.sources = (Isod__V1__SourceStatus **)all + at;
		m.n_sources = save_fit(all + at, d->sources.count - at);
		save_part(to, &part);
	}
	free(all);
}

int architecture_load(struct architecture_desk *d, Isod__V1__SnapshotSources *from)
{
	for (size_t i = 0; i < from->n_sources; i++) {
		Isod__V1__SourceStatus *source = from->sources[i];
		if (map_get(&d->sources, str_of(source->source)))
			return -EBADMSG;
		from->sources[i] = NULL;
		map_put(&d->sources, str_of(source->source), source);
	}
	return 0;
}
