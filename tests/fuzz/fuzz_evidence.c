/* Arbitrary bytes as the body of an evidence record: slices must lie inside it and cover it. */
#include <stdlib.h>

#include "log/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct evidence_peers *peers;
	struct evidence e;
	if (!peers)
		peers = evidence_peers_new();
	struct str body = str_make((const char *)data, size);

	if (evidence_parse(body, &e) < 0)
		return 0;
	if (e.flags & EVIDENCE_LOSS) {
		if (e.source.p != body.p + 4 || 4 + e.source.n + 12 != size || e.frame.n)
			abort();
		return 0;
	}
	size_t before = e.flags & EVIDENCE_NUMBERED ? 8 : 0;
	if (e.flags & EVIDENCE_PEER) {
		if (!e.back == !e.identity.n || e.back > EVIDENCE_BACK_MAX ||
		    e.identity.n > EVIDENCE_IDENTITY_MAX)
			abort();
		before += e.back ? 2 : 4 + e.identity.n;
		evidence_peers_note(peers, e.back + 1, &e);
	}
	if (e.flags & EVIDENCE_META) {
		before += 2;
		if (e.meta.p != body.p + 4 + e.source.n + before)
			abort();
		before += e.meta.n;
	} else if (e.meta.n) {
		abort();
	}
	if (e.source.p != body.p + 4 || e.frame.p != e.source.p + e.source.n + before ||
	    4 + e.source.n + before + e.frame.n != size)
		abort();
	return 0;
}
