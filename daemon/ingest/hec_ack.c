#include "ingest/hec_ack.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum state { STATE_PENDING, STATE_DURABLE, STATE_TOLD };

/* Numbers from `first` up to `next` are outstanding; where they lie apart, those between are STATE_TOLD. */
struct channel {
	uint64_t first, next;
	uint64_t used_mono;
	uint8_t *states; /* a ring of HEC_ACKS_MAX at most, by number */
	size_t cap;
};

/* The state of an outstanding number. */
static uint8_t *state_of(const struct channel *c, uint64_t id)
{
	return &c->states[c->cap ? id % c->cap : 0];
}

void hec_acks_init(struct hec_acks *a)
{
	pthread_mutex_init(&a->lock, NULL);
	map_init(&a->channels);
}

static void channel_free(void *p)
{
	struct channel *c = p;

	free(c->states);
	free(c);
}

void hec_acks_release(struct hec_acks *a)
{
	map_release(&a->channels, channel_free);
	pthread_mutex_destroy(&a->lock);
}

/* Makes room for one more channel. */
static bool forget_idle(struct hec_acks *a, uint64_t now_mono)
{
	const struct map_entry *e;
	bool room = false;

	for (size_t at = 0; (e = map_next(&a->channels, &at));) {
		struct channel *c = e->value;
		if (now_mono < c->used_mono + HEC_CHANNEL_IDLE_S * NS_PER_SECOND)
			continue;
		map_remove(&a->channels, e->key);
		channel_free(c);
		room = true;
	}
	return room;
}

static struct channel *channel_of(struct hec_acks *a, struct str name, uint64_t now_mono)
{
	struct channel *c = map_get(&a->channels, name);

	if (!c) {
		if (a->channels.count >= HEC_CHANNELS_MAX && !forget_idle(a, now_mono))
			return NULL;
		c = xcalloc(1, sizeof(*c));
		map_put(&a->channels, name, c);
	}
	c->used_mono = now_mono;
	return c;
}

/* Room for one number more. The ring grows with what is outstanding. */
static bool grow(struct channel *c)
{
	size_t used = c->next - c->first, cap = c->cap ? c->cap * 2 : 64;

	if (used < c->cap)
		return true;
	if (used >= HEC_ACKS_MAX)
		return false;
	if (cap > HEC_ACKS_MAX)
		cap = HEC_ACKS_MAX;
	uint8_t *states = xcalloc(cap, sizeof(*states));
	for (uint64_t id = c->first; id < c->next; id++)
		states[id % cap] = *state_of(c, id);
	free(c->states);
	c->states = states;
	c->cap = cap;
	return true;
}

int hec_acks_take(struct hec_acks *a, struct str channel, uint64_t now_mono, uint64_t *ret_id)
{
	int r = -EBUSY;

	pthread_mutex_lock(&a->lock);
	struct channel *c = channel_of(a, channel, now_mono);
	if (c && grow(c)) {
		*state_of(c, c->next) = STATE_PENDING;
		*ret_id = c->next++;
		r = 0;
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

static bool is_outstanding(const struct channel *c, uint64_t id)
{
	return c && id >= c->first && id < c->next;
}

void hec_acks_durable(struct hec_acks *a, struct str channel, uint64_t id)
{
	pthread_mutex_lock(&a->lock);
	struct channel *c = map_get(&a->channels, channel);
	if (is_outstanding(c, id))
		*state_of(c, id) = STATE_DURABLE;
	pthread_mutex_unlock(&a->lock);
}

bool hec_acks_ask(struct hec_acks *a, struct str channel, uint64_t id, uint64_t now_mono)
{
	bool durable = false;

	pthread_mutex_lock(&a->lock);
	struct channel *c = map_get(&a->channels, channel);
	if (c)
		c->used_mono = now_mono;
	if (is_outstanding(c, id) && *state_of(c, id) == STATE_DURABLE) {
		durable = true;
		*state_of(c, id) = STATE_TOLD;
		while (c->first < c->next && *state_of(c, c->first) == STATE_TOLD)
			c->first++;
	}
	pthread_mutex_unlock(&a->lock);
	return durable;
}

size_t hec_acks_count(struct hec_acks *a)
{
	const struct map_entry *e;
	size_t n = 0;

	pthread_mutex_lock(&a->lock);
	for (size_t at = 0; (e = map_next(&a->channels, &at));) {
		const struct channel *c = e->value;
		n += (size_t)(c->next - c->first);
	}
	pthread_mutex_unlock(&a->lock);
	return n;
}
