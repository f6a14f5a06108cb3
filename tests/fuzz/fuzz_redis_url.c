/* Any text as the URL of a Redis, and any text as a key found in one: no crash; what is taken has its parts. */
#include <stdio.h>
#include <stdlib.h>

#include "view/projection.h"
#include "base/redis_url.h"

static void on_command(void *arg, int argc, const char *const *argv, const size_t *lengths)
{
	(void)arg;
	(void)argc;
	(void)argv;
	(void)lengths;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size), key;
	char error[200] = "", room[PROJECTION_KEY_MAX];
	struct redis_url u;
	enum view_kind kind;
	static struct state state;
	static struct projection *p;

	if (redis_url_parse(text, &u, error, sizeof(error)) == 0) {
		if (!u.text || (!u.path && (!u.host || !u.port)))
			abort();
		redis_url_release(&u);
	} else if (!error[0]) {
		abort();
	}
	if (!p) {
		state_init(&state);
		p = projection_new(&(struct projection_options){
			.state = &state, .node = "n", .sink = {.put = on_command}});
	}
	if (projection_parse(p, NULL, text, room, &kind, &key)) {
		if (projection_has(p, kind, key))
			abort(); /* nothing is in that state */
		projection_put(p, kind, key, true, 1);
		projection_put(p, kind, key, false, 1);
	}
	return 0;
}
