#include "isoctl_options.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/pbjson.h"

#define OPTIONS_MAX 16 /* of one command */

static const struct isoctl_option *find(const struct isoctl_option *options, struct str name)
{
	for (; options->name; options++)
		if (str_eq(str_of(options->name), name))
			return options;
	return NULL;
}

static int unknown(const struct isoctl_option *options, struct str name)
{
	const char *names[OPTIONS_MAX];
	size_t count = 0;
	char word[64];

	for (; options->name && count < OPTIONS_MAX; options++)
		names[count++] = options->name;
	snprintf(word, sizeof(word), "%.*s", STR_FMT(name));
	const char *near = diag_suggest(word, names, count);
	fprintf(stderr, "isoctl: no such option: %s%s%s%s\n", word, near ? " (did you mean " : "",
	        near ? near : "", near ? "?)" : "");
	return 2;
}

static int parse_time(struct str text, uint64_t *ret)
{
	uint64_t back;
	size_t used;

	if (clock_parse(text, ret, &used) == 0 && used == text.n)
		return 0;
	if (str_to_duration(text, &back) < 0)
		return -1;
	uint64_t now = clock_now();
	*ret = back < now ? now - back : 0;
	return 0;
}

static void list_choices(const ProtobufCEnumDescriptor *d, struct buf *out)
{
	char name[64];

	for (unsigned i = 0; i < d->n_values; i++)
		if (d->values[i].value != 0)
			buf_printf(out, "%s%s", out->n ? ", " : "",
			           pbjson_enum(d, d->values[i].value, name, sizeof(name)));
}

static int set(const struct isoctl_option *o, const char *value)
{
	struct str text = str_of(value);
	const char *wanted = NULL;
	struct buf names;
	uint64_t number = 0;

	buf_init(&names, 1024);
	if (o->text) {
		*o->text = value;
	} else if (o->number) {
		if (str_to_u64(text, &number) < 0 || (o->most && number > o->most))
			wanted = "a whole number";
		else
			*o->number = number;
	} else if (o->time) {
		if (parse_time(text, o->time) < 0)
			wanted = "a time (2026-11-23T18:26:26Z) or how long ago (90s, 2h, 7d)";
	} else if (pbjson_enum_parse(o->choices, text, o->choice) < 0) {
		list_choices(o->choices, &names);
		wanted = buf_cstr(&names);
	}
	if (wanted && o->most)
		fprintf(stderr, "isoctl: %s wants %s up to %llu, not '%s'\n", o->name, wanted,
		        (unsigned long long)o->most, value);
	else if (wanted)
		fprintf(stderr, "isoctl: %s wants %s, not '%s'\n", o->name, wanted, value);
	buf_release(&names);
	return wanted ? 2 : 0;
}

int isoctl_options(const struct isoctl_option *options, int *argc, char **argv, int arguments)
{
	int kept = 0, r = 0;
	bool plain = false;

	for (int i = 0; i < *argc && r == 0; i++) {
		char *equals = strchr(argv[i], '=');
		if (plain || argv[i][0] != '-' || argv[i][1] != '-') {
			argv[kept++] = argv[i];
			continue;
		}
		if (argv[i][2] == '\0') {
			plain = true;
			continue;
		}
		struct str name =
			equals ? str_make(argv[i], (size_t)(equals - argv[i])) : str_of(argv[i]);
		const struct isoctl_option *o = find(options, name);
		if (!o)
			return unknown(options, name);
		if (o->flag && equals) {
			fprintf(stderr, "isoctl: %s takes no value\n", o->name);
			r = 2;
		} else if (o->flag) {
			*o->flag = true;
		} else if (!equals && i + 1 == *argc) {
			fprintf(stderr, "isoctl: %s wants a value\n", o->name);
			r = 2;
		} else {
			r = set(o, equals ? equals + 1 : argv[++i]);
		}
	}
	if (r == 0 && kept > arguments) {
		fprintf(stderr, "isoctl: '%s' is one argument too many\n", argv[arguments]);
		r = 2;
	}
	*argc = kept;
	return r;
}
