/* The parts of an HTTP Event Collector that know neither sockets nor threads: what a request may hold, in the form that
 * Splunk's collector takes ("HTTP Event Collector REST API endpoints" in its documentation), and how it is answered. What
 * becomes of an event afterwards is in event/hec.h. */
#ifndef ISOD_INGEST_HEC_PARSE_H
#define ISOD_INGEST_HEC_PARSE_H

#include "base/buf.h"
#include "config/config.h"

/* Codes of the answers, as Splunk numbers them. */
enum hec_code {
	HEC_SUCCESS = 0,
	HEC_TOKEN_REQUIRED = 2,
	HEC_INVALID_AUTHORIZATION = 3,
	HEC_INVALID_TOKEN = 4,
	HEC_NO_DATA = 5,
	HEC_INVALID_FORMAT = 6,
	HEC_INTERNAL_ERROR = 8,
	HEC_BUSY = 9,
	HEC_CHANNEL_MISSING = 10,
	HEC_INVALID_CHANNEL = 11,
	HEC_EVENT_REQUIRED = 12,
	HEC_EVENT_BLANK = 13,
	HEC_ACK_DISABLED = 14,
	HEC_INVALID_FIELDS = 15,
	HEC_QUERY_AUTHORIZATION = 16,
	HEC_HEALTHY = 17,
	HEC_UNHEALTHY = 18,
	HEC_STOPPING = 23,
	HEC_TOO_LARGE = 27,
	HEC_UNKNOWN_URL = 404, /* these three are HTTP's */
	HEC_METHOD = 405,
	HEC_ENCODING = 415,
};

#define HEC_CHANNEL_MAX    64    /* bytes; Splunk's own are GUIDs of 36 */
#define HEC_ACKS_ASKED_MAX 10000 /* of one question: as many as one channel can have outstanding */
/* An honest text packs to a twentieth, one line again and again to a thousandth; but nobody packs megabytes of that. */
#define HEC_RATIO_MAX  200
#define HEC_RATIO_FREE ((size_t)4 << 20) /* so much may unpack from anything */

/* The HTTP status that goes with a code. */
int hec_http_status(enum hec_code code);
/* Its words. */
const char *hec_text(enum hec_code code);

/* Who asks: the value of the header Authorization ("Splunk TOKEN", or "Basic …" with the token as password), NULL: there
 * is none. HEC_SUCCESS and *ret, or why not. Takes as long for a wrong token as for a right one. */
enum hec_code hec_authorize(const char *header, const struct hec_token *tokens, size_t count,
                            const struct hec_token **ret);

/* 1 to HEC_CHANNEL_MAX of letters, digits and "-_.". */
bool hec_channel_is_valid(struct str channel);

/* ---- bodies ---- */

/* Looks at bodies of events: JSON objects one behind the other with or without blanks between them, and arrays of such. */
struct hec_reader;
struct hec_reader *hec_reader_new(void);
void hec_reader_free(struct hec_reader *r);

/* Is all of it good? HEC_SUCCESS and how many events there are, or the first thing that is wrong and the number of the
 * event (from 0) it is wrong with. */
enum hec_code hec_check(struct hec_reader *r, struct str body, size_t *ret_count);

/* The next event of a body that is good, cut off *rest, exactly as it came. False at the end. */
bool hec_next_event(struct str *rest, struct str *ret);
/* The next line of a raw body that is not empty, without its line end. False at the end. */
bool hec_next_line(struct str *rest, struct str *ret);

/* What of a raw request's query goes for each of its lines: appends "hec/raw?…" (event/hec.h). -ENOBUFS when it is longer
 * than evidence keeps. */
int hec_raw_meta(struct str query, struct buf *out);

/* {"acks":[1,2,…]}: 0 and *ret_count numbers, or -EINVAL, -E2BIG when there are more than `max`. */
int hec_acks_parse(struct str body, uint64_t *ret, size_t max, size_t *ret_count);

/* Undoes gzip (RFC 1952, several members too) into `out`, whose cap bounds the size. 0; -EFBIG past the cap; -E2BIG when it
 * unpacks to more than HEC_RATIO_MAX times its size; -EBADMSG when it is none or is cut short. */
int hec_gunzip(struct str in, struct buf *out);

#endif
