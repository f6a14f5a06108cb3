/* The plugins of test_escalate.c: this test program itself, called by another name. A constructor sees the name
 * before the test framework does and behaves accordingly, so that each plugin is a real process of its own and needs
 * no interpreter and no second binary. */
#ifndef ISOD_TESTS_ESCALATE_PLUGINS_H
#define ISOD_TESTS_ESCALATE_PLUGINS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/wire.h"
#include "plugin.pb-c.h"

#define PLUGIN_PREFIX "plugin-"

#define DELIVERED ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_DELIVERED
#define RETRY     ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_RETRY
#define FAILED    ISOD__V1__PLUGIN_OUTCOME__PLUGIN_OUTCOME_FAILED

static void plugin_write(const void *p, size_t n)
{
	while (n) {
		ssize_t w = write(STDOUT_FILENO, p, n);
		if (w < 0)
			_exit(9);
		p = (const char *)p + w;
		n -= (size_t)w;
	}
}

static void plugin_say(const Isod__V1__FromPlugin *m)
{
	struct buf out;

	buf_init(&out, 0);
	wire_append(&out, &m->base);
	plugin_write(out.p, out.n);
	buf_release(&out);
}

static void plugin_ready(const char *error, uint32_t parallel)
{
	Isod__V1__PluginReady ready = ISOD__V1__PLUGIN_READY__INIT;
	Isod__V1__FromPlugin m = ISOD__V1__FROM_PLUGIN__INIT;

	ready.error = (char *)(uintptr_t)error;
	ready.parallel = parallel;
	m.body_case = ISOD__V1__FROM_PLUGIN__BODY_READY;
	m.ready = &ready;
	plugin_say(&m);
}

static void plugin_answer(const char *key, Isod__V1__PluginOutcome outcome, const char *detail)
{
	Isod__V1__PluginAnswer answer = ISOD__V1__PLUGIN_ANSWER__INIT;
	Isod__V1__FromPlugin m = ISOD__V1__FROM_PLUGIN__INIT;

	answer.key = (char *)(uintptr_t)key;
	answer.outcome = outcome;
	answer.detail = (char *)(uintptr_t)detail;
	m.body_case = ISOD__V1__FROM_PLUGIN__BODY_ANSWER;
	m.answer = &answer;
	plugin_say(&m);
}

/* The next message, or the end of the process when the input has ended. Never freed: the process is short. */
static Isod__V1__ToPlugin *plugin_next(void)
{
	static struct buf in;
	struct str body;
	size_t used;
	char chunk[4096];

	for (;;) {
		int r = wire_next(buf_str(&in), (size_t)4 << 20, &body, &used);
		if (r == 0) {
			Isod__V1__ToPlugin *m =
				isod__v1__to_plugin__unpack(NULL, body.n, (const uint8_t *)body.p);
			buf_consume(&in, used);
			if (!m)
				_exit(8);
			return m;
		}
		ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
		if (n <= 0)
			_exit(r == -EAGAIN ? 0 : 8);
		buf_append(&in, chunk, (size_t)n);
	}
}

static const Isod__V1__PluginAlert *plugin_next_alert(void)
{
	return plugin_next()->alert;
}

static const char *plugin_setup_option(const Isod__V1__PluginSetup *s, const char *name)
{
	for (size_t i = 0; i < s->n_options; i++)
		if (strcmp(s->options[i]->key, name) == 0)
			return s->options[i]->value;
	return "";
}

static void plugin_sleep(void)
{
	for (;;)
		pause();
}

/* Writes a line into the file that the option `report` names. */
static void plugin_report(const Isod__V1__PluginSetup *s, const char *text)
{
	FILE *f = fopen(plugin_setup_option(s, "report"), "a");

	if (!f)
		_exit(7);
	fprintf(f, "%s\n", text);
	fclose(f);
}

static void act_good(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	for (;;) {
		const Isod__V1__PluginAlert *a = plugin_next_alert();
		plugin_answer(a->key, DELIVERED, a->key);
	}
}

static void act_refuse(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("option url: is \x1b[31mmissing", 0);
	plugin_next();
}

static void act_mute(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_sleep();
}

static void act_hang(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	plugin_next();
	plugin_sleep();
}

static void act_stubborn(const Isod__V1__PluginSetup *s)
{
	signal(SIGTERM, SIG_IGN);
	act_hang(s);
}

static void act_crash(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 4);
	plugin_next();
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void act_quit(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	plugin_next();
	fprintf(stderr, "first\nno more \x07paper");
	_exit(3);
}

/* Answers and ends in one breath. */
static void act_last_words(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	plugin_answer(plugin_next_alert()->key, DELIVERED, "done");
	_exit(0);
}

/* Answers only once its input has ended. */
static void act_at_end(const Isod__V1__PluginSetup *s)
{
	char c;

	(void)s;
	plugin_ready("", 0);
	const Isod__V1__PluginAlert *a = plugin_next_alert();
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	plugin_answer(a->key, DELIVERED, "at last");
	_exit(0);
}

static void babble(const void *p, size_t n)
{
	plugin_ready("", 0);
	plugin_next();
	plugin_write(p, n);
	plugin_sleep();
}

static void act_no_varint(const Isod__V1__PluginSetup *s)
{
	(void)s;
	babble("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
}

static void act_too_long(const Isod__V1__PluginSetup *s)
{
	(void)s;
	babble("\xff\xff\xff\xff\x0f", 5);
}

static void act_garbled(const Isod__V1__PluginSetup *s)
{
	(void)s;
	babble("\x05hello", 6);
}

static void act_says_nothing(const Isod__V1__PluginSetup *s)
{
	(void)s;
	babble("\0", 1);
}

/* A program that is no plugin: it greets the user. */
static void act_text(const Isod__V1__PluginSetup *s)
{
	(void)s;
	for (int i = 0; i < 20; i++)
		plugin_write("Starting up...\n", 15);
	plugin_sleep();
}

static void act_early(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_answer("1", DELIVERED, "");
	plugin_sleep();
}

static void act_ready_twice(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	plugin_next();
	plugin_ready("", 0);
	plugin_sleep();
}

static void act_twice(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	for (;;) {
		const Isod__V1__PluginAlert *a = plugin_next_alert();
		plugin_answer(a->key, DELIVERED, "first");
		plugin_answer(a->key, FAILED, "second");
	}
}

static void act_stray(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	for (;;) {
		const Isod__V1__PluginAlert *a = plugin_next_alert();
		plugin_answer("somebody else's", DELIVERED, "");
		plugin_answer("", FAILED, "");
		plugin_answer(a->key, FAILED, "bad \xff\x01 text");
	}
}

static void act_stray_flood(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	plugin_next();
	for (;;)
		plugin_answer("none", DELIVERED, "");
}

static void act_no_outcome(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	for (;;)
		plugin_answer(plugin_next_alert()->key, (Isod__V1__PluginOutcome)77, "x");
}

/* Leaves a child behind that ignores SIGTERM and holds every pipe; its number goes into the report. */
static void act_fork(const Isod__V1__PluginSetup *s)
{
	char text[32];
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGTERM, SIG_IGN);
		plugin_sleep();
	}
	snprintf(text, sizeof(text), "%d", (int)pid);
	plugin_report(s, text);
	plugin_ready("", 0);
	plugin_next();
	_exit(0);
}

static void act_close_output(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 0);
	plugin_next();
	close(STDOUT_FILENO);
	plugin_sleep();
}

static void act_close_input(const Isod__V1__PluginSetup *s)
{
	(void)s;
	close(STDIN_FILENO);
	plugin_ready("", 0);
	plugin_sleep();
}

/* Claims to work on many and reads none. */
static void act_deaf(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 64);
	plugin_sleep();
}

static void act_loud(const Isod__V1__PluginSetup *s)
{
	char text[10000];

	(void)s;
	plugin_ready("", 0);
	for (;;) {
		const Isod__V1__PluginAlert *a = plugin_next_alert();
		memset(text, 'x', sizeof(text));
		for (int i = 0; i < 1000; i++) { /* 10 MB: half of it one line, half short ones */
			if (i == 500)
				for (size_t j = 0; j < sizeof(text); j += 50)
					text[j] = '\n';
			if (write(STDERR_FILENO, text, sizeof(text)) < 0)
				_exit(6);
		}
		plugin_answer(a->key, DELIVERED, "");
	}
}

/* Three at a time, answered from the last to the first. */
static void act_reverse(const Isod__V1__PluginSetup *s)
{
	(void)s;
	plugin_ready("", 3);
	for (;;) {
		const Isod__V1__PluginAlert *a[3];
		for (int i = 0; i < 3; i++)
			a[i] = plugin_next_alert();
		for (int i = 3; i > 0; i--)
			plugin_answer(a[i - 1]->key, DELIVERED, "");
	}
}

extern char **environ;

/* Reports what it was born with. */
static void act_inspect(const Isod__V1__PluginSetup *s)
{
	char text[4200];
	sigset_t blocked;
	int fds = 0, odd_signals = 0;
	DIR *d = opendir("/proc/self/fd");

	for (char **e = environ; *e; e++) {
		snprintf(text, sizeof(text), "env %.*s", (int)strcspn(*e, "="), *e);
		plugin_report(s, text);
	}
	while (d && readdir(d))
		fds++;
	if (d)
		closedir(d);
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int i = 1; i < 32; i++) {
		struct sigaction a;
		if (sigismember(&blocked, i) ||
		    (sigaction(i, NULL, &a) == 0 && a.sa_handler == SIG_IGN))
			odd_signals++;
	}
	snprintf(text, sizeof(text), "fds %d", fds - 3); /* not ".", ".." and the folder itself */
	plugin_report(s, text);
	snprintf(text, sizeof(text), "signals %d", odd_signals);
	plugin_report(s, text);
	snprintf(text, sizeof(text), "leader %d", getpgrp() == getpid());
	plugin_report(s, text);
	snprintf(text, sizeof(text), "cwd %s", getcwd(text + 2048, sizeof(text) - 2048));
	plugin_report(s, text);
	act_good(s);
}

static const struct {
	const char *name;
	void (*act)(const Isod__V1__PluginSetup *setup);
} plugin_acts[] = {
	{"good", act_good},
	{"refuse", act_refuse},
	{"mute", act_mute},
	{"hang", act_hang},
	{"stubborn", act_stubborn},
	{"crash", act_crash},
	{"quit", act_quit},
	{"last-words", act_last_words},
	{"at-end", act_at_end},
	{"no-varint", act_no_varint},
	{"too-long", act_too_long},
	{"garbled", act_garbled},
	{"says-nothing", act_says_nothing},
	{"text", act_text},
	{"early", act_early},
	{"ready-twice", act_ready_twice},
	{"twice", act_twice},
	{"stray", act_stray},
	{"stray-flood", act_stray_flood},
	{"no-outcome", act_no_outcome},
	{"fork", act_fork},
	{"close-output", act_close_output},
	{"close-input", act_close_input},
	{"deaf", act_deaf},
	{"loud", act_loud},
	{"reverse", act_reverse},
	{"inspect", act_inspect},
};

__attribute__((constructor)) static void plugin_main_or_tests(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	name = name ? name + 1 : "";
	if (strncmp(name, PLUGIN_PREFIX, strlen(PLUGIN_PREFIX)) != 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(plugin_acts); i++) {
		if (strcmp(name + strlen(PLUGIN_PREFIX), plugin_acts[i].name) != 0)
			continue;
		plugin_acts[i].act(plugin_next()->setup);
		_exit(0);
	}
	_exit(5);
}

#endif
