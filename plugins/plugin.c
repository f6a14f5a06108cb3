#include "plugin.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/diag.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"

#define MESSAGE_MAX ((size_t)4 << 20) /* setup with a long template; alerts are at most 1 MiB */
#define TEXT_MAX    1024              /* of an error or a detail, before and after escaping */
#define PROTOCOL    1u

struct talk {
	const struct plugin *plugin;
	int out;
	bool ready;
};

const char *plugin_option(const Isod__V1__PluginSetup *s, const char *name)
{
	for (size_t i = 0; i < s->n_options; i++)
		if (strcmp(s->options[i]->key, name) == 0)
			return s->options[i]->value;
	return NULL;
}

int plugin_option_bool(const Isod__V1__PluginSetup *s, const char *name, bool *ret, char *error,
                       size_t size)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"true", true},   {"yes", true}, {"on", true},
	             {"false", false}, {"no", false}, {"off", false}};
	const char *text = plugin_option(s, name);

	if (!text)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (str_ieq(str_of(text), str_of(words[i].word))) {
			*ret = words[i].value;
			return 0;
		}
	}
	snprintf(error, size, "option %s: neither true nor false", name);
	return -1;
}

int plugin_option_duration(const Isod__V1__PluginSetup *s, const char *name, uint64_t *ret_ns,
                           char *error, size_t size)
{
	const char *text = plugin_option(s, name);
	uint64_t ns;

	if (!text)
		return 0;
	if (str_to_duration(str_of(text), &ns) < 0 || ns == 0) {
		snprintf(error, size, "option %s: no duration such as \"10s\" or \"1m\"", name);
		return -1;
	}
	*ret_ns = ns;
	return 0;
}

static bool is_known(const char *option, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(names[i]);
		if (strcmp(option, names[i]) == 0 ||
		    (n && names[i][n - 1] == '.' && strncmp(option, names[i], n) == 0 && option[n]))
			return true;
	}
	return false;
}

int plugin_check_options(const Isod__V1__PluginSetup *s, const char *const *names, size_t count,
                         char *error, size_t size)
{
	for (size_t i = 0; i < s->n_options; i++) {
		const char *option = s->options[i]->key;
		if (is_known(option, names, count))
			continue;
		const char *near = diag_suggest(option, names, count);
		snprintf(error, size,
		         near ? "unknown option \"%s\"; did you mean \"%s\"?"
		              : "unknown option \"%s\"",
		         option, near);
		return -1;
	}
	return 0;
}

static int say(struct talk *t, const Isod__V1__FromPlugin *m)
{
	struct buf out;
	int r = 0;

	buf_init(&out, 0);
	wire_append(&out, &m->base);
	for (size_t done = 0; done < out.n && r == 0;) {
		ssize_t n = write(t->out, out.p + done, out.n - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			r = -1;
	}
	buf_release(&out);
	return r;
}

static int on_setup(struct talk *t, const Isod__V1__PluginSetup *s)
{
	char error[TEXT_MAX] = "", safe[TEXT_MAX];
	Isod__V1__PluginReady ready = ISOD__V1__PLUGIN_READY__INIT;
	Isod__V1__FromPlugin m = ISOD__V1__FROM_PLUGIN__INIT;

	if (s->protocol != PROTOCOL)
		snprintf(error, sizeof(error), "isod speaks protocol %u, this plugin %u",
		         s->protocol, PROTOCOL);
	else if (t->plugin->setup(t->plugin->state, s, error, sizeof(error)) < 0 && !error[0])
		snprintf(error, sizeof(error), "the options are not usable");
	t->ready = !error[0];
	ready.error = log_escape(str_of(error), safe, sizeof(safe));
	m.body_case = ISOD__V1__FROM_PLUGIN__BODY_READY;
	m.ready = &ready;
	return say(t, &m);
}

static int on_alert(struct talk *t, const Isod__V1__PluginAlert *a)
{
	char detail[TEXT_MAX] = "", safe[TEXT_MAX];
	Isod__V1__PluginAnswer answer = ISOD__V1__PLUGIN_ANSWER__INIT;
	Isod__V1__FromPlugin m = ISOD__V1__FROM_PLUGIN__INIT;
	Isod__V1__Incident none = ISOD__V1__INCIDENT__INIT;
	Isod__V1__PluginAlert whole = *a;

	if (!whole.incident)
		whole.incident = &none;
	answer.key = a->key;
	answer.outcome = (Isod__V1__PluginOutcome)t->plugin->alert(t->plugin->state, &whole, detail,
	                                                           sizeof(detail));
	answer.detail = log_escape(str_of(detail), safe, sizeof(safe));
	m.body_case = ISOD__V1__FROM_PLUGIN__BODY_ANSWER;
	m.answer = &answer;
	return say(t, &m);
}

/* 0, or -1 when isod said what it must not. */
static int on_message(struct talk *t, struct str body)
{
	Isod__V1__ToPlugin *m = isod__v1__to_plugin__unpack(NULL, body.n, (const uint8_t *)body.p);
	int r = -1;

	if (m && m->body_case == ISOD__V1__TO_PLUGIN__BODY_SETUP && !t->ready)
		r = on_setup(t, m->setup);
	else if (m && m->body_case == ISOD__V1__TO_PLUGIN__BODY_ALERT && t->ready)
		r = on_alert(t, m->alert);
	else
		fprintf(stderr, "isod broke the protocol\n");
	if (m)
		isod__v1__to_plugin__free_unpacked(m, NULL);
	return r;
}

static int take_messages(struct talk *t, struct buf *in)
{
	struct str body;
	size_t used;
	int r;

	while ((r = wire_next(buf_str(in), MESSAGE_MAX, &body, &used)) == 0) {
		if (on_message(t, body) < 0)
			return -1;
		buf_consume(in, used);
	}
	if (r == -EAGAIN)
		return 0;
	fprintf(stderr, "isod's message cannot be read: %s\n", strerror(-r));
	return -1;
}

int plugin_main(const struct plugin *p)
{
	struct talk t = {.plugin = p, .out = dup(STDOUT_FILENO)};
	struct buf in;
	ssize_t n = 0;
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	if (t.out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	buf_init(&in, MESSAGE_MAX + 65536);
	while (r == 0 && buf_reserve(&in, 16384) == 0) {
		n = read(STDIN_FILENO, in.p + in.n, 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		in.n += (size_t)n;
		r = take_messages(&t, &in);
	}
	buf_release(&in);
	close(t.out);
	return r == 0 && n == 0 ? 0 : 1;
}
