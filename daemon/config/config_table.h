/* Options as tables: what a YAML map may hold, of which type, within which bounds, and where in a struct it goes. One
 * table reads, sets defaults, frees and documents. Every complaint has file, line and column, and an unknown key the
 * nearest known one. */
#ifndef ISOD_CONFIG_CONFIG_TABLE_H
#define ISOD_CONFIG_CONFIG_TABLE_H

#include "base/yaml.h"
#include "config/config.h"

enum option_type {
	OPTION_TEXT,     /* char * */
	OPTION_PATH,     /* char *; relative ones begin in the folder of the file they stand in */
	OPTION_NUMBER,   /* uint64_t */
	OPTION_NUMBER32, /* uint32_t */
	OPTION_SIZE,     /* uint64_t, bytes: str_to_size() */
	OPTION_DURATION, /* uint64_t, ns: str_to_duration() */
	OPTION_MODE,     /* uint64_t: file permissions, octal */
	OPTION_CHOICE,   /* int: one of `words` */
	OPTION_TEXTS,    /* char ** and size_t at `count`: a list, or one text */
	OPTION_PATHS,    /* the same of paths */
	OPTION_PAIRS,    /* struct plugin_option * and size_t at `count`: a map of any keys */
	OPTION_ITEMS, /* array of structs and size_t at `count`: a list of maps, each read by `items` */
};

enum option_flag {
	OPTION_REQUIRED = 1 << 0, /* has no default and must be given */
	OPTION_NULLABLE = 1 << 1, /* may be switched off with `~` though it has a default */
};

struct option_word {
	const char *word; /* NULL ends the list */
	int value;
};

struct option_set;

struct option {
	const char *section; /* the map it stands in; NULL: directly in the set's own */
	const char *name;
	enum option_type type;
	unsigned flags;
	size_t offset, count;
	const char *fallback;  /* the default as one would write it; NULL: none, and `~` means so */
	const char *min, *max; /* inclusive, as one would write them; NULL: no bound */
	const struct option_word
		*words; /* a choice's words; of a number: words that stand for one */
	const struct option_set *items;
	const char *help;
};

struct option_reader {
	const char *file; /* for messages and relative paths */
	struct diags *diags;
};

struct option_set {
	const char *what; /* one of them, for messages: "a listener" */
	const struct option *options;
	size_t count;
	size_t item_size; /* of OPTION_ITEMS: bytes of one struct */
	/* Of OPTION_ITEMS: prepares a zeroed struct; may be NULL. */
	void (*init)(void *item);
	/* Looks at a struct that was read without an error; may be NULL. */
	void (*check)(struct option_reader *r, void *item, const struct yaml_node *node);
};

/* Sets the defaults in the zeroed (and, for items, initialised) struct `target`, then what stands in `node` (a map,
 * or nothing). Complaints go to r->diags; what they are about keeps its default. */
void options_read(struct option_reader *r, const struct option_set *set,
                  const struct yaml_node *node, void *target);
/* Frees everything the table put into the struct, not the struct itself. */
void options_release(const struct option_set *set, void *target);
/* One line an option: "section.key (type, default): what it is". `prefix` goes before each. */
void options_describe(const struct option_set *set, const char *prefix, struct buf *out);

/* An error about `node` (NULL: the file as a whole). */
void option_error(struct option_reader *r, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void option_warning(struct option_reader *r, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* `map` under `section` (NULL: itself) under `name`, or the nearest thing around it that is there. */
const struct yaml_node *option_at(const struct yaml_node *map, const char *section,
                                  const char *name);
/* True if the key stands there with a value. */
bool option_given(const struct yaml_node *map, const char *name);
/* ": did you mean `x`?" or "" into `out`. */
const char *option_hint(const char *word, const char *const *candidates, size_t count, char *out,
                        size_t size);

#endif
