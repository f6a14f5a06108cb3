/* conf/patterns.yaml, compiled: what the loader (patterns_load.c) makes and the matcher (patterns.c) runs.
 * Internal to event/. The language is described at the top of conf/patterns.yaml. */
#ifndef ISOD_EVENT_PATTERNS_H
#define ISOD_EVENT_PATTERNS_H

#include "base/map.h"
#include "event/decoders.h"

#define PATTERN_TEXT_MAX     1000 /* bytes of one pattern */
#define PATTERN_NODES_MAX    64   /* pieces of one pattern: bounds the recursion of the matcher */
#define PATTERN_CAPTURES_MAX 40
#define PATTERN_DEPTH_MAX    4 /* optional parts inside each other */
/* Tries for one pattern on one message: a fixed share and one for its length, so that what a message can cost grows
 * with its length only. */
#define PATTERN_STEPS(n) (20000 + 4 * (n))
#define PATTERNS_MAX     20000 /* in the whole file */

enum capture {
	CAPTURE_WORD,   /* no blanks, the shortest that lets the rest fit */
	CAPTURE_TEXT,   /* anything, the longest that lets the rest fit */
	CAPTURE_UNTIL,  /* anything, the shortest that lets the rest fit */
	CAPTURE_INT,    /* digits, perhaps with a minus */
	CAPTURE_HOST,   /* address or host name, the longest that lets the rest fit */
	CAPTURE_IP,     /* an address */
	CAPTURE_QUOTED, /* "…", '…' or `…' */
	CAPTURE_REST,   /* all that is left */
	CAPTURE_PAIRS,  /* all that is left, as name=value pairs */
	CAPTURE_AGAIN,  /* text that the program's patterns are tried on once more */
	CAPTURE_COUNT,
};

enum node_kind { NODE_LITERAL, NODE_CAPTURE, NODE_OPTION, NODE_END };

/* Nodes stand in sequence; an option is followed by its own nodes and, at `skip`, by what comes after it. */
struct pattern_node {
	enum node_kind kind;
	enum capture capture;
	struct str text; /* literal, or the name of the field ("" or "_…": none) */
	size_t skip;
};

struct pattern_constant {
	struct str name, value;
};

struct pattern {
	struct pattern_node *nodes;
	struct str
		needle; /* the longest literal that no message can do without, but for the first; "": none */
	struct pattern_constant *constants;
	size_t constant_count;
	struct pattern_constant *renames; /* of pairs: name → field */
	size_t rename_count;
};

#define PATTERN_FIRSTS   (256 + 1)
#define PATTERN_NO_FIRST 256 /* of an empty message */

struct program {
	struct pattern **items;
	size_t count, cap;
	/* Those that can fit a message which begins with that byte, in order, NULL behind the last. */
	struct pattern **firsts[PATTERN_FIRSTS];
};

struct patterns {
	struct arena arena;
	struct map programs; /* lower-case name → struct program */
	struct program any;  /* program "*" */
	size_t count;
};

#endif
