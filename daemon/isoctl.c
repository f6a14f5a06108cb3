/* isoctl: finds the command of a family in the tables and runs it. */
#include "isoctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/log.h"
#include "base/mem.h"

#define SOCKET_DEFAULT                                                                             \
	"/var/lib/isod/isod.sock" /* STATE/isod.sock with the default state directory */

static const struct isoctl_command *const families[] = {
	isoctl_rules_commands, isoctl_verify_commands, isoctl_ledger_commands,
	isoctl_send_commands,  isoctl_query_commands,  isoctl_backup_commands,
};

/* Options of all commands: they may stand anywhere before a "--". */
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

#define LINE_WIDTH 80

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static int width_of(const char *word, size_t n)
{
	int width = 0;

	for (size_t i = 0; i < n; i++)
		width += ((unsigned char)word[i] & 0xc0) != 0x80;
	return width;
}

/* Words of `text`, the first line begun at column `at` already, every further one indented by `indent`. */
static void print_wrapped(FILE *out, int at, int indent, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, " ");
		int width = width_of(text, n);
		if (at > indent && at + 1 + width > LINE_WIDTH) {
			fprintf(out, "\n%*s", indent, "");
			at = indent;
		} else if (at > indent) {
			fputc(' ', out);
			at++;
		}
		fwrite(text, 1, n, out);
		at += width;
		text += n + (text[n] == ' ');
	}
	fputc('\n', out);
}

static void print_command(FILE *out, const char *before, const struct isoctl_command *c)
{
	int at = fprintf(out, "%s%s%s%s", before, c->family, c->verb ? " " : "",
	                 c->verb ? c->verb : "");

	print_wrapped(out, at, 8, c->arguments);
	fprintf(out, "%*s", 6, "");
	print_wrapped(out, 6, 6, c->help);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: isoctl [OPTION…] COMMAND [ARGUMENT…]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		fprintf(out, "  %-8s %-10s %s\n", options[i].name,
		        options[i].value ? options[i].value : "", options[i].help);
	fprintf(out, "\ncommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		for (const struct isoctl_command *c = families[i]; c->family; c++)
			print_command(out, "  ", c);
	fprintf(out, "\nexit status: 0 done, 1 what was asked for does not hold, 2 usage, 3 the "
	             "daemon cannot be reached\n");
}

int isoctl_usage(const struct isoctl_command *c)
{
	print_command(stderr, "usage: isoctl [OPTION…] ", c);
	return 2;
}

/* Where the value of the option that `word` begins with goes ("--ca", "--ca=FILE"), or NULL; *ret_value is what stands
 * behind its "=", or NULL. */
static const char **place_of(struct isoctl *ctl, const char *word, const char **ret_value)
{
	const struct {
		const char *name;
		const char **place;
	} places[] = {
		{"--socket", &ctl->socket}, {"--host", &ctl->host}, {"--ca", &ctl->ca},
		{"--cert", &ctl->cert},     {"--key", &ctl->key},
	};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		size_t n = strlen(places[i].name);
		if (strncmp(word, places[i].name, n) != 0 || (word[n] && word[n] != '='))
			continue;
		*ret_value = word[n] ? word + n + 1 : NULL;
		return places[i].place;
	}
	return NULL;
}

/* Takes the options of all commands out of argv. Returns how many arguments are left, or -1 after an error
 * message. */
static int take_options(struct isoctl *ctl, int argc, char **argv)
{
	int kept = 0, i = 0;

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *value = NULL, **place = place_of(ctl, argv[i], &value);
		if (strcmp(argv[i], "--json") == 0) {
			ctl->json = true;
		} else if (!place) {
			argv[kept++] = argv[i];
		} else if (value || i + 1 < argc) {
			*place = value ? value : argv[++i];
		} else {
			fprintf(stderr, "isoctl: %s needs a value\n", argv[i]);
			return -1;
		}
	}
	for (; i < argc; i++)
		argv[kept++] = argv[i];
	return kept;
}

static bool asks_for_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* "rules" alone, "rules --help" and "rules chekc": all commands of the family. */
static int unknown_command(const char *family, const char *verb)
{
	const char *names[64], *near;
	size_t count = 0;
	bool known = false, help = verb && asks_for_help(verb);

	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		for (const struct isoctl_command *c = families[i]; c->family; c++) {
			bool same = strcmp(c->family, family) == 0;
			if (same && !known && verb && !help)
				fprintf(stderr, "isoctl: unknown command %s %s\n", family, verb);
			known |= same;
			if (same)
				isoctl_usage(c);
			if (count < ARRAY_LEN(names))
				names[count++] = c->family;
		}
	if (known)
		return help ? 0 : 2;
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
			if (argc > used && asks_for_help(argv[used])) {
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

	log_setup(LOG_TO_STDERR, LOG_WARNING, "isoctl");
	argc = take_options(&ctl, argc - 1, ++argv);
	if (argc < 0)
		return 2;
	if (argc == 0 || asks_for_help(argv[0])) {
		usage(argc ? stdout : stderr);
		return argc ? 0 : 2;
	}
	if (argv[0][0] == '-') {
		fprintf(stderr, "isoctl: unknown option %s (see isoctl --help)\n", argv[0]);
		return 2;
	}
	return run(&ctl, argc, argv);
}
