/* What proves that two daemons have the same books. */
#include "api/api_internal.h"
#include "base/hash.h"
#include "officer/digest.h"

void ask_ledger_digest(struct connection *c, const Isod__V1__Request *q)
{
	struct officer *officer = c->api->options.officer;
	const struct state *state = officer_state(officer);
	Isod__V1__LedgerDigest digest = ISOD__V1__LEDGER_DIGEST__INIT;
	char head[HEX_BYTES(SHA256_BYTES)], all[sizeof(head)], books[sizeof(head)];
	uint8_t hash[SHA256_BYTES];

	/* Requests are answered between batches: the state is that after the last durable record. */
	digest.sequence = state->sequence;
	digest.time_ns = state->time_ns;
	digest.head = hex_encode(officer_head(officer), SHA256_BYTES, head);
	state_digest(state, hash);
	digest.digest = hex_encode(hash, SHA256_BYTES, all);
	state_books_digest(state, hash);
	digest.books = hex_encode(hash, SHA256_BYTES, books);
	Isod__V1__Response a = answer_to(q, ISOD__V1__RESPONSE__ANSWER_LEDGER_DIGEST);
	a.ledger_digest = &digest;
	connection_send(c, &a);
}
