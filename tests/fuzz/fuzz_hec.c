/* Anything as a request of an HTTP Event Collector: the first byte chooses what it is. A body that is found good comes apart
 * into as many events as were counted, and each of them is decoded, as evidence will have it, without a reading past its
 * end. */
#include <stdlib.h>

#include "event/decode.h"
#include "event/hec.h"
#include "ingest/hec_parse.h"

static struct decoder *decoder;
static struct event event;
static struct hec_reader *reader;

static void touch(struct str s)
{
	volatile unsigned char sum = 0;

	for (size_t i = 0; i < s.n; i++)
		sum = (unsigned char)(sum + (unsigned char)s.p[i]);
}

static void decode(struct str meta, struct str frame)
{
	event_reset(&event);
	event.received_ns = UINT64_C(1790000000000000000);
	event.meta = meta;
	event_decode(decoder, &event, frame);
	for (size_t i = 0; i < event.count; i++) {
		touch(event.fields[i].name);
		touch(event.fields[i].value);
	}
}

static void events(struct str body)
{
	struct str rest = body, frame;
	size_t count, n = 0;

	if (hec_check(reader, body, &count) != HEC_SUCCESS)
		return;
	while (hec_next_event(&rest, &frame)) {
		decode(STR(HEC_META_EVENT), frame);
		n++;
	}
	if (n != count)
		abort();
}

static void raw(struct str text)
{
	struct str query = str_split(&text, '\n'), line;
	struct buf meta;

	buf_init(&meta, 0);
	if (hec_raw_meta(query, &meta) == 0)
		while (hec_next_line(&text, &line))
			decode(buf_str(&meta), line);
	buf_release(&meta);
}

static void packed(struct str body)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	if (hec_gunzip(body, &out) == 0)
		events(buf_str(&out));
	if (out.n > 1 << 20)
		abort();
	buf_release(&out);
}

static void asked(struct str body)
{
	uint64_t ids[16];
	size_t n = 0;

	if (hec_acks_parse(body, ids, 16, &n) == 0 && n > 16)
		abort();
}

static void header(struct str text)
{
	struct hec_token token = {0};
	const struct hec_token *found;
	char *value = strndup(text.p, text.n);

	hec_authorize(value, &token, 1, &found);
	hec_channel_is_valid(text);
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct str) = {events, raw, packed, asked, header};

	if (!decoder) {
		decoder = decoder_new(NULL);
		event_setup(&event);
		reader = hec_reader_new();
	}
	if (size == 0)
		return 0;
	/* In memory of its own, so that reading past the end shows. */
	char *copy = malloc(size);
	memcpy(copy, data, size);
	kinds[data[0] % 5](str_make(copy + 1, size - 1));
	free(copy);
	return 0;
}
