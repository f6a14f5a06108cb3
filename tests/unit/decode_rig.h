/* A decoder with the shipped patterns, and what the last frame became. Each test program names its suite itself, with
 * .init = setup, .fini = teardown. */
#ifndef ISOD_TESTS_DECODE_RIG_H
#define ISOD_TESTS_DECODE_RIG_H

#include <criterion/criterion.h>

#include "base/clock.h"
#include "event/decode.h"

#define RECEIVED UINT64_C(1795460000) /* 2026-11-23T18:53:20Z */

static struct event e;
static struct decoder *d;
static struct patterns *patterns;

static inline void setup(void)
{
	struct diags diags;

	diags_init(&diags);
	cr_assert_eq(patterns_load("conf/patterns.yaml", &diags, &patterns), 0);
	diags_release(&diags);
	event_setup(&e);
	d = decoder_new(patterns);
}

static inline void teardown(void)
{
	decoder_free(d);
	patterns_free(patterns);
	event_release(&e);
}

static inline void decode_at(struct str frame, uint64_t received_s)
{
	event_reset(&e);
	e.received_ns = received_s * NS_PER_SECOND;
	event_decode(d, &e, frame);
}

static inline void decode(struct str frame)
{
	decode_at(frame, RECEIVED);
}

#endif
