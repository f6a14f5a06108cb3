/* Does a value, a test, an item, a selection, a condition hold for an event? The one place that says so: the plain
 * matcher (sigma/match.h), the compiled one for the rules that it finds worth a look, and the explanation of
 * verdicts (sigma/explain.h) all ask here, so they cannot disagree. Only sigma/ uses this. */
#ifndef ISOD_SIGMA_EVALUATE_H
#define ISOD_SIGMA_EVALUATE_H

#include "base/buf.h"
#include "event/event.h"
#include "sigma/condition.h"

struct evaluator {
	struct regex_scratch *regex;
	uint64_t limited; /* tests cut short by a bound so far: see matcher_limited */
	/* Of the event at hand: */
	const struct event *event;
	bool crowded;   /* there is no room to fold its values: they are compared as they are */
	size_t *folded; /* of each field and of the raw frame: its place in `text` + 1, or a mark */
	size_t folded_cap;
	struct buf text; /* where folded values stand */
};

void evaluator_init(struct evaluator *v);
void evaluator_release(struct evaluator *v);

/* What follows is about this event, which must stay until the next. */
void evaluator_begin(struct evaluator *v, const struct event *e);

/* Field `i`'s value, or for i == event->count the raw frame, as it is compared: folded (sigma/fold.h) unless `cased`.
 * Valid until the next call. */
struct str evaluate_text(struct evaluator *v, size_t i, bool cased);

/* Does value `i` of the event (event->count: the raw frame) fit? Not for TEST_NULL and TEST_EXISTS. */
bool evaluate_value(struct evaluator *v, const struct item *item, const struct test *t, size_t i);
/* The first field that the item looks at; NULL if it is not there, and for keywords. */
const struct field *evaluate_first(const struct evaluator *v, const struct item *item);
bool evaluate_test(struct evaluator *v, const struct item *item, const struct test *t,
                   const struct field *first);
bool evaluate_item(struct evaluator *v, const struct item *item);
bool evaluate_detection(struct evaluator *v, const struct detection *d);
bool evaluate_condition(struct evaluator *v, const struct condition *c);

#endif
