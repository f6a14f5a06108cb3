/* Arbitrary bytes as the body of an evidence record: slices must lie inside it and cover it. */
#include <stdlib.h>

#include "log/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evidence e;
	struct str body = str_make((const char *)data, size);

	if (evidence_parse(body, &e) < 0)
		return 0;
	if (e.flags & EVIDENCE_LOSS) {
		if (e.source.p != body.p + 4 || 4 + e.source.n + 12 != size || e.frame.n)
			abort();
		return 0;
	}
	size_t number = e.flags & EVIDENCE_NUMBERED ? 8 : 0;
	if (e.source.p != body.p + 4 || e.frame.p != e.source.p + e.source.n + number ||
	    4 + e.source.n + number + e.frame.n != size)
		abort();
	return 0;
}
