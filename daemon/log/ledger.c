#include "log/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

uint64_t ledger_append(struct segment_log *l, uint64_t time_ns, const Isod__V1__Record *record)
{
	size_t n = protobuf_c_message_get_packed_size(&record->base);
	char *body = segment_place(l, n);

	protobuf_c_message_pack(&record->base, (uint8_t *)body);
	return segment_placed(l, time_ns, n);
}

int ledger_read(const char *dir, uint64_t from, ledger_visit visit, void *arg, char *error,
                size_t error_size)
{
	struct segment_reader *reader;
	struct record r;

	int e = segment_reader_open(dir, SEGMENT_LEDGER, from, &reader, error, error_size);
	if (e < 0)
		return e;
	while ((e = segment_read(reader, &r, error, error_size)) > 0) {
		Isod__V1__Record *record =
			isod__v1__record__unpack(NULL, r.body.n, (const uint8_t *)r.body.p);
		if (!record) {
			snprintf(error, error_size, "%s: sequence %" PRIu64 ": no ledger record",
			         dir, r.sequence);
			e = -EBADMSG;
			break;
		}
		e = visit(arg, r.sequence, r.time_ns, record);
		isod__v1__record__free_unpacked(record, NULL);
		if (e < 0)
			break;
	}
	segment_reader_close(reader);
	return e < 0 ? e : 0;
}
