/* The webhook's template: any text is read or refused with a reason, and what is read renders. What the alert holds
 * is part of the input too: it must come out as the inside of a JSON string, so no quote of its own ends it. */
#include "webhook/template.c"

/* True when no byte of `s` would end the JSON string it stands in or is not allowed there. */
static bool is_inside(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || (unsigned char)s.p[i] < 0x20)
			return false;
		if (s.p[i] == '\\')
			i++;
	}
	return true;
}

static void render(const struct template *t, struct str hostile, struct buf *out)
{
	Isod__V1__PluginAlert a = ISOD__V1__PLUGIN_ALERT__INIT;
	Isod__V1__Incident i = ISOD__V1__INCIDENT__INIT;
	Isod__V1__Entity e = ISOD__V1__ENTITY__INIT, *entities[] = {&e, &e};
	char *text = xstrndup(hostile.n ? hostile.p : "", hostile.n), *tactics[] = {text, text};

	i.title = e.name = a.reason = a.key = text;
	i.first_ns = hostile.n;
	i.tactics = tactics;
	i.n_tactics = 2;
	i.entities = entities;
	i.n_entities = 2;
	a.incident = &i;
	template_render(t, &a, out);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = str_make((const char *)data, size);
	struct str text = str_split(&input, '\0');
	struct template *t;
	struct buf out;
	char error[200];

	if (template_new(text, &t, error, sizeof(error)) == 0) {
		buf_init(&out, 4096); /* small, so that running out of room is met too */
		render(t, input, &out);
		buf_release(&out);
		template_free(t);
	} else if (!error[0]) {
		__builtin_trap();
	}
	if (template_new(STR("{{summary}}{{key}}{{title}}{{reason}}{{entities}}{{tactics}}"), &t,
	                 error, sizeof(error)) < 0)
		__builtin_trap();
	buf_init(&out, 0);
	render(t, input, &out);
	if (!is_inside(buf_str(&out)))
		__builtin_trap();
	buf_release(&out);
	template_free(t);
	return 0;
}
