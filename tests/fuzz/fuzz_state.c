/* A saved state of anybody's making: it is loaded or refused, and what was loaded can be saved, loaded again to the same
 * bytes, and folds on. */
#include <stdlib.h>
#include <string.h>

#include "officer/save.h"

static int to_buf(void *arg, struct str bytes)
{
	return buf_add(arg, bytes);
}

static void fold_on(struct state *s)
{
	Isod__V1__Tick tick = ISOD__V1__TICK__INIT;
	Isod__V1__Record record = ISOD__V1__RECORD__INIT;
	Isod__V1__Started started = ISOD__V1__STARTED__INIT;

	record.body_case = ISOD__V1__RECORD__BODY_STARTED;
	record.started = &started;
	state_apply(s, s->sequence + 1, s->time_ns + 1000000000, &record, NULL);
	record.body_case = ISOD__V1__RECORD__BODY_TICK;
	record.tick = &tick;
	state_apply(s, s->sequence + 1, s->time_ns + 86400000000000, &record, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state s, again;
	struct buf saved, twice;
	char error[256];

	state_init(&s);
	if (state_load(&s, str_make((const char *)data, size), error, sizeof(error)) == 0) {
		buf_init(&saved, 0);
		buf_init(&twice, 0);
		state_save(&s, to_buf, &saved);
		state_init(&again);
		if (state_load(&again, buf_str(&saved), error, sizeof(error)) < 0)
			abort();
		state_save(&again, to_buf, &twice);
		if (!str_eq(buf_str(&saved), buf_str(&twice)))
			abort();
		fold_on(&again);
		state_release(&again);
		buf_release(&saved);
		buf_release(&twice);
	}
	state_release(&s);
	return 0;
}
