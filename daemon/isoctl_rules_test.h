/* What `isoctl rules test` found out, and how it is told: isoctl_rules_test.c runs the tests, isoctl_rules_report.c
 * prints them. */
#ifndef ISOD_ISOCTL_RULES_TEST_H
#define ISOD_ISOCTL_RULES_TEST_H

#include <stdbool.h>
#include <stdio.h>

#include "base/str.h"

struct test_case {
	char *name; /* "match 1", "sequence 2" */
	char *file; /* where it is written */
	int line;
	char *frame; /* the event, or NULL */
	char *why;   /* NULL: passed */
};

/* The tests of one rule or correlation. */
struct test_suite {
	struct str id, title; /* of the rule set */
	const char *file;     /* of the rule; NULL for a correlation */
	struct test_case *cases;
	size_t count, cap, failed;
};

struct test_report {
	struct test_suite *suites; /* of every rule of the set, also those without a test */
	size_t count;
};

/* For people: a line for each rule that has tests, what failed below it, and the sum. */
void report_print(const struct test_report *r);
/* An object for each rule, and the sum. */
void report_print_json(const struct test_report *r);
/* The form that CI systems read (JUnit's XML). 0 or -errno. */
int report_write_junit(const struct test_report *r, const char *file);

#endif
