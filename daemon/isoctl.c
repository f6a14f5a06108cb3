/* isoctl: finds the command of a family in the tables and runs it. */
#include "isoctl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/log.h"
#include "base/mem.h"

#define SOCKET_DEFAULT                                                                             \
	"/var/lib/isod/isod.sock" /* STATE/isod.sock with the default state directory */

static const struct isoctl_command *const families[] = {
	isoctl_rules_commands,
	isoctl_ledger_commands,
	isoctl_send_commands,
};

/* Options that stand before the command; --json may stand anywhere. */
static const struct option_text {
	const char *name, *value, *help;
} options[] = {
	{"--json", NULL, "objects for programs: one a line where there are several"},
	{"--socket", "PATH", "the daemon's socket (default $ISOD_SOCKET, else " SOCKET_DEFAULT ")"},
	{"--host", "HOST:PORT", "ask the daemon over TLS instead"},
	{"--ca", "FILE", "who signed the daemon's certificate"},
	{"--cert", "FILE", "your certificate"},
	{"--key", "FILE", "its private key"},
	{"--help", NULL, "this text"},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: isoctl [OPTION…] COMMAND [ARGUMENT…]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		fprintf(out, "  %-8s %-10s %s\n", options[i].name,
		        options[i].value ? options[i].value : "", options[i].help);
	fprintf(out, "\ncommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		for (const struct isoctl_command *c = families[i]; c->family; c++)
			fprintf(out, "  %s%s%s %s\n      %s\n", c->family, c->verb ? " " : "",
			        c->verb ? c->verb : "", c->arguments, c->help);
	fprintf(out, "\nexit status: 0 done, 1 what was asked for does not hold, 2 usage, 3 the "
	             "daemon cannot be reached\n");
}

int isoctl_usage(const struct isoctl_command *c)
{
	fprintf(stderr, "usage: isoctl [OPTION…] %s%s%s %s\n%s\n", c->family, c->verb ? " " : "",
	        c->verb ? c->verb : "", c->arguments, c->help);
	return 2;
}

/* Where the value of `name` goes, or NULL. */
static const char **place_of(struct isoctl *ctl, const char *name)
{
	const struct {
		const char *name;
		const char **place;
	} places[] = {
		{"--socket", &ctl->socket}, {"--host", &ctl->host}, {"--ca", &ctl->ca},
		{"--cert", &ctl->cert},     {"--key", &ctl->key},
	};

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (strcmp(name, places[i].name) == 0)
			return places[i].place;
	return NULL;
}

/* Takes --json out wherever it stands before a "--". Returns how many arguments are left. */
static int take_json(struct isoctl *ctl, int argc, char **argv)
{
	bool ended = false;
	int n = 0;

	for (int i = 0; i < argc; i++) {
		ended |= strcmp(argv[i], "--") == 0;
		if (!ended && strcmp(argv[i], "--json") == 0)
			ctl->json = true;
		else
			argv[n++] = argv[i];
	}
	return n;
}

/* Reads the options at the front. Returns how many arguments they take, or -1 after an error message. */
static int take_options(struct isoctl *ctl, int argc, char **argv)
{
	int i = 0;

	while (i < argc && strncmp(argv[i], "--", 2) == 0) {
		const char **place = place_of(ctl, argv[i]);
		if (strcmp(argv[i], "--help") == 0) {
			usage(stdout);
			exit(0);
		}
		if (!place || i + 1 == argc) {
			fprintf(stderr,
			        place ? "isoctl: %s needs a value\n"
			              : "isoctl: unknown option %s (see isoctl --help)\n",
			        argv[i]);
			return -1;
		}
		*place = argv[i + 1];
		i += 2;
	}
	return i;
}

static int unknown_command(const char *family, const char *verb)
{
	const char *names[64], *near;
	size_t count = 0;
	bool known = false;

	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		for (const struct isoctl_command *c = families[i]; c->family; c++) {
			bool same = strcmp(c->family, family) == 0;
			known |= same;
			if (same)
				isoctl_usage(c);
			if (count < ARRAY_LEN(names))
				names[count++] = c->family;
		}
	if (known)
		return 2;
	near = diag_suggest(family, names, count);
	fprintf(stderr, "isoctl: unknown command %s%s%s", family, verb ? " " : "",
	        verb ? verb : "");
	if (near)
		fprintf(stderr, ": did you mean %s?\n", near);
	else
		fprintf(stderr, " (see isoctl --help)\n");
	return 2;
}

static int run(const struct isoctl *ctl, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		for (const struct isoctl_command *c = families[i]; c->family; c++) {
			int used = c->verb ? 2 : 1;
			if (strcmp(c->family, argv[0]) != 0)
				continue;
			if (c->verb && (argc < 2 || strcmp(c->verb, argv[1]) != 0))
				continue;
			if (argc > used && strcmp(argv[used], "--help") == 0) {
				isoctl_usage(c);
				return 0;
			}
			return c->run(ctl, argc - used, argv + used);
		}
	return unknown_command(argv[0], argc > 1 ? argv[1] : NULL);
}

int main(int argc, char **argv)
{
	const char *socket = getenv("ISOD_SOCKET");
	struct isoctl ctl = {.socket = socket ? socket : SOCKET_DEFAULT};
	int used;

	log_setup(LOG_TO_STDERR, LOG_WARNING, "isoctl");
	argc = take_json(&ctl, argc - 1, ++argv);
	used = take_options(&ctl, argc, argv);
	if (used < 0)
		return 2;
	if (used == argc) {
		usage(stderr);
		return 2;
	}
	return run(&ctl, argc - used, argv + used);
}
