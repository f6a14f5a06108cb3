/* Four bytes at once, a gram, with the bit that tells lower from upper case letters set in each, say at a glance whether a
 * needle may stand there. A needle of n bytes has n - 3 grams; if every one of its first k is known, then it is enough to
 * look at every k-th byte of the text, as one of them falls on each occurrence. k is what the shortest needle allows.
 * Setting that bit merges a few other bytes too; what is found is compared whole. */
#include "event/needles.h"

#include <stdlib.h>

#include "base/mem.h"

#define GRAM_BYTES 4
#define STRIDE_MAX 4
#define CASE_BITS  0x20202020u

static inline uint32_t gram_at(const char *p)
{
	uint32_t gram;

	memcpy(&gram, p, sizeof(gram));
	return gram | CASE_BITS;
}

static inline uint32_t gram_hash(uint32_t gram)
{
	return gram * 0x9e3779b1u;
}

static inline size_t filter_bit(uint32_t hash)
{
	return hash / (UINT32_MAX / NEEDLES_FILTER + 1);
}

size_t needles_add(struct needles *n, struct str text)
{
	xgrow(&n->texts, &n->cap, n->count + 1, sizeof(*n->texts));
	n->texts[n->count] = text;
	return n->count++;
}

static void add_gram(struct needles *n, size_t needle, size_t offset)
{
	uint32_t gram = gram_at(n->texts[needle].p + offset), hash = gram_hash(gram);
	size_t i = hash & (n->size - 1), bit = filter_bit(hash);

	while (n->grams[i].needle)
		i = (i + 1) & (n->size - 1);
	n->grams[i] = (struct needle_gram){gram, (uint32_t)needle + 1, (uint32_t)offset};
	n->filter[bit / 64] |= (uint64_t)1 << bit % 64;
}

void needles_build(struct needles *n)
{
	if (!n->count)
		return;
	n->stride = STRIDE_MAX;
	for (size_t i = 0; i < n->count; i++)
		if (n->texts[i].n - GRAM_BYTES + 1 < n->stride)
			n->stride = n->texts[i].n - GRAM_BYTES + 1;
	n->size = 16;
	while (n->size < n->count * n->stride * 2)
		n->size *= 2;
	n->grams = xcalloc(n->size, sizeof(*n->grams));
	for (size_t i = 0; i < n->count; i++)
		for (size_t offset = 0; offset < n->stride; offset++)
			add_gram(n, i, offset);
}

void needles_release(struct needles *n)
{
	free(n->texts);
	free(n->grams);
	*n = (struct needles){0};
}

/* The needles that have this gram, which stands at `at` of the text. */
static void compare(const struct needles *n, struct str text, size_t at, uint32_t gram,
                    void (*found)(void *arg, size_t number), void *arg)
{
	for (size_t i = gram_hash(gram) & (n->size - 1); n->grams[i].needle;
	     i = (i + 1) & (n->size - 1)) {
		const struct needle_gram *g = &n->grams[i];
		struct str needle = n->texts[g->needle - 1];
		if (g->gram != gram || g->offset > at || text.n - (at - g->offset) < needle.n)
			continue;
		if (bytes_ieq(text.p + at - g->offset, needle.p, needle.n))
			found(arg, g->needle - 1);
	}
}

/* 1 if a needle may have its gram there. */
static inline uint64_t may_stand(const struct needles *n, const char *p)
{
	size_t bit = filter_bit(gram_hash(gram_at(p)));

	return n->filter[bit / 64] >> bit % 64 & 1;
}

void needles_find(const struct needles *n, struct str text, void (*found)(void *arg, size_t number),
                  void *arg)
{
	const size_t stride = n->stride, step = 4 * stride;
	size_t at = 0;

	if (!stride)
		return;
	/* Four places a step: mostly there is nothing at any of them. */
	for (; at + 3 * stride + GRAM_BYTES <= text.n; at += step) {
		const char *p = text.p + at;
		uint64_t any = may_stand(n, p) | may_stand(n, p + stride) |
		               may_stand(n, p + 2 * stride) | may_stand(n, p + 3 * stride);
		for (size_t i = 0; any && i < step; i += stride)
			compare(n, text, at + i, gram_at(p + i), found, arg);
	}
	for (; at + GRAM_BYTES <= text.n; at += stride)
		if (may_stand(n, text.p + at))
			compare(n, text, at, gram_at(text.p + at), found, arg);
}
