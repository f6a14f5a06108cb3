/* isoctl ledger digest. */
#include <inttypes.h>

#include "base/clock.h"
#include "isoctl_client.h"
#include "isoctl_options.h"
#include "isoctl_output.h"
#include "isoctl_table.h"

static int ledger_digest(const struct isoctl *ctl, int argc, char **argv)
{
	static const struct isoctl_option none[] = {{0}};
	Isod__V1__LedgerDigestRequest ask = ISOD__V1__LEDGER_DIGEST_REQUEST__INIT;
	Isod__V1__Request q = ISOD__V1__REQUEST__INIT;
	Isod__V1__Response *a;
	struct client *c;
	char when[CLOCK_TEXT_MAX];
	int r = isoctl_options(none, &argc, argv, 0);

	if (r == 0)
		r = client_open(ctl, &c);
	if (r)
		return r;
	q.ask_case = ISOD__V1__REQUEST__ASK_LEDGER_DIGEST;
	q.ledger_digest = &ask;
	r = client_ask(c, &q, ISOD__V1__RESPONSE__ANSWER_LEDGER_DIGEST, &a);
	client_close(c);
	if (r)
		return r;
	const Isod__V1__LedgerDigest *d = a->ledger_digest;
	if (ctl->json) {
		output_json(&d->base);
	} else {
		table_line("sequence", "%" PRIu64, d->sequence);
		table_line("time", "%s", clock_format(d->time_ns, when));
		table_line("head", "%s", d->head);
		table_line("digest", "%s", d->digest);
		table_line("books", "%s", d->books);
	}
	isod__v1__response__free_unpacked(a, NULL);
	return output_finish() ? 0 : ISOCTL_FAILED;
}

const struct isoctl_command isoctl_backup_commands[] = {
	{"ledger", "digest", "",
         "ask the running daemon for the digest of its state; isod --replay gives the same for "
         "the same ledger",
         ledger_digest},
	{0},
};
