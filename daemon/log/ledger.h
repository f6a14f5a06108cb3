/* The ledger: everything that changes the officer's mind, in one order, hash-chained record by record, in
 * STATE/ledger/. A record's body is a packed isod.v1.Record. Its time never decreases. */
#ifndef ISOD_LOG_LEDGER_H
#define ISOD_LOG_LEDGER_H

#include "ledger.pb-c.h"
#include "log/segment.h"

/* Packs and appends. Returns the sequence. */
uint64_t ledger_append(struct segment_log *l, uint64_t time_ns, const Isod__V1__Record *record);

/* Called for every record in order; `record` is freed after the call. A negative return ends the reading. */
typedef int (*ledger_visit)(void *arg, uint64_t sequence, uint64_t time_ns,
                            const Isod__V1__Record *record);

/* Reads everything from sequence `from` on. 0, the visitor's negative answer, -EBADMSG or -errno, with `error`. */
int ledger_read(const char *dir, uint64_t from, ledger_visit visit, void *arg, char *error,
                size_t error_size);

#endif
