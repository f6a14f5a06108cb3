#include "ingest/peer_certificates.h"

#include <stdlib.h>

#include "base/mem.h"

void peer_certificates_init(struct peer_certificates *p)
{
	pthread_mutex_init(&p->lock, NULL);
	map_init(&p->map);
	p->forgot = 0;
}

static void forget(void *value)
{
	struct peer_certificate *c = value;

	free(c->name);
	free(c);
}

void peer_certificates_release(struct peer_certificates *p)
{
	map_release(&p->map, forget);
	pthread_mutex_destroy(&p->lock);
}

static struct str key_of(const uint8_t fingerprint[static SHA256_BYTES])
{
	return str_make((const char *)fingerprint, SHA256_BYTES);
}

/* Makes room for one that ends at `until_ns`, if another ends later. */
static bool make_room(struct peer_certificates *p, uint64_t until_ns)
{
	const struct peer_certificate *last = NULL;
	const struct map_entry *e;

	for (size_t at = 0; (e = map_next(&p->map, &at));) {
		const struct peer_certificate *c = e->value;
		if (!last || c->until_ns > last->until_ns)
			last = c;
	}
	p->forgot++;
	if (!last || last->until_ns <= until_ns)
		return false;
	forget(map_remove(&p->map, key_of(last->fingerprint)));
	return true;
}

static bool note(struct peer_certificates *p, const char *listener, const struct tls_certificate *c,
                 uint64_t now_ns)
{
	struct peer_certificate *known = map_get(&p->map, key_of(c->fingerprint));
	bool is_new = !known;

	if (!known && p->map.count >= PEER_CERTIFICATES_MAX && !make_room(p, c->until_ns))
		return false;
	if (!known) {
		known = xcalloc(1, sizeof(*known));
		memcpy(known->fingerprint, c->fingerprint, sizeof(known->fingerprint));
		known->name = xstrdup(c->name[0] ? c->name : c->subject);
		known->until_ns = c->until_ns;
		map_put(&p->map, key_of(c->fingerprint), known);
	}
	known->listener = listener;
	known->seen_ns = now_ns;
	return is_new;
}

bool peer_certificates_note(struct peer_certificates *p, const char *listener,
                            const struct tls_certificate *c, uint64_t now_ns)
{
	pthread_mutex_lock(&p->lock);
	bool is_new = note(p, listener, c, now_ns);
	pthread_mutex_unlock(&p->lock);
	return is_new;
}

void peer_certificates_each(struct peer_certificates *p, uint64_t forget_ns,
                            void (*visit)(void *arg, const struct peer_certificate *c), void *arg)
{
	const struct map_entry *e;

	pthread_mutex_lock(&p->lock);
	for (size_t at = 0; (e = map_next(&p->map, &at));) {
		struct peer_certificate *c = e->value;
		if (c->until_ns < forget_ns && c->seen_ns < forget_ns)
			forget(map_remove(&p->map, e->key));
		else
			visit(arg, c);
	}
	pthread_mutex_unlock(&p->lock);
}

uint64_t peer_certificates_forgot(struct peer_certificates *p)
{
	pthread_mutex_lock(&p->lock);
	uint64_t forgot = p->forgot;
	pthread_mutex_unlock(&p->lock);
	return forgot;
}
