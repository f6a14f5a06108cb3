/* simdjson and nothing else: the speed that no detection on the same events can reach. */
#ifndef BENCH_PARSE_ONLY_H
#define BENCH_PARSE_ONLY_H

#ifdef __cplusplus
extern "C" {
#endif

#include "base/str.h"

struct parse_only;
struct parse_only *parse_only_new(void);
void parse_only_free(struct parse_only *p);

/* Parses one event in place (readable for PARSE_PADDING bytes behind it) and walks to every value. Returns how many, -1
 * if it is no JSON. */
#define PARSE_PADDING 64
long parse_only_walk(struct parse_only *p, struct str text);

#ifdef __cplusplus
}
#endif

#endif
