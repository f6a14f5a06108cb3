/* The condition's grammar: what each form means, told by which selections of an event must hold; and what is said
 * about conditions that are none. */
#include "sigma.h"

/* a, b, c and _d hold where the event has the field of that name. */
static bool condition_holds(const char *condition, const char *fields)
{
	struct buf json;
	char *detection = xasprintf("  a:\n    a|exists: true\n  b:\n    b|exists: true\n"
	                            "  sel_c:\n    c|exists: true\n  _d:\n    d|exists: true\n"
	                            "  condition: %s\n",
	                            condition);

	buf_init(&json, 0);
	buf_printf(&json, "{\"x\":1");
	for (const char *f = fields; *f; f++)
		buf_printf(&json, ",\"%c\":1", *f);
	buf_printf(&json, "}");
	bool r = holds(detection, buf_cstr(&json));
	buf_release(&json);
	free(detection);
	return r;
}

Test(condition, grammar)
{
	static const struct {
		const char *condition, *fields;
		bool holds;
	} cases[] = {
		{"a", "a", true},
		{"a", "b", false},
		{"not a", "", true},
		{"not not a", "a", true},
		{"not not not a", "a", false},
		{"a and b", "ab", true},
		{"a and b", "a", false},
		{"a or b", "b", true},
		{"A_IS_NOT_a or b or sel_c", "c", true},
		{"a AND NOT b OR sel_c", "c", true},
		/* not > and > or */
		{"a or b and sel_c", "a", true},
		{"(a or b) and sel_c", "a", false},
		{"a and b or sel_c", "c", true},
		{"a and (b or sel_c)", "c", false},
		{"not a and b", "b", true},
		{"not (a and b)", "b", true},
		{"not a or b", "ab", true},
		{"((((a))))", "a", true},
		{"(a)and(b)", "ab", true},
		{"1 of them", "c", true},
		{"1 of them", "d", false}, /* _d is none of them */
		{"all of them", "abc", true},
		{"all of them", "ab", false},
		{"any of them", "b", true},
		{"1 OF Them", "b", true},
		{"1 of sel_*", "c", true},
		{"all of sel*", "c", true},
		{"1 of *", "d", false},
		{"1 of _*", "d", true},
		{"1 of s*_c", "c", true},
		{"2 of them", "ac", true},
		{"2 of them", "a", false},
		{"3 of them", "abc", true},
		{"not 1 of sel_* and a", "a", true},
		{"not 1 of sel_* and a", "ac", false},
		{"1 of sel_* or all of a", "a", true},
		{"[a and b, sel_c]", "c", true},
		{"[a and b, sel_c]", "b", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *condition = cases[i].condition;
		if (strncmp(condition, "A_IS_NOT_", 9) == 0)
			condition += 9;
		cr_expect_eq(condition_holds(condition, cases[i].fields), cases[i].holds,
		             "%s on %s", cases[i].condition, cases[i].fields);
	}
}

Test(condition, folded_over_lines)
{
	cr_expect(condition_holds("|\n    a and\n    (\n      b or\n      sel_c\n    )", "ac"));
	cr_expect(condition_holds("a and\n    not b", "a"));
	cr_expect(condition_holds("'a and b'", "ab"));
}

#define HEAD "  selection: {a: 1}\n  filter: {b: 1}\n"

Test(condition, errors_have_their_place_and_a_hint)
{
	static const struct error_case cases[] = {
		{HEAD "  condition: selction\n", 3, 14, "did you mean `selection`"},
		{HEAD "  condition: selection and filtr\n", 3, 28, "did you mean `filter`"},
		{HEAD "  condition: 'selection and filtr'\n", 3, 29, "did you mean `filter`"},
		{HEAD "  condition: selection and\n", 3, 27, "ends where a selection is expected"},
		{HEAD "  condition: and selection\n", 3, 14, "`and` stands where a selection"},
		{HEAD "  condition: selection filter\n", 3, 24, "`and` or `or` is expected"},
		{HEAD "  condition: (selection\n", 3, 14, "never closed"},
		{HEAD "  condition: selection)\n", 3, 23, "never opened"},
		{HEAD "  condition: ()\n", 3, 15, "`)` stands where a selection"},
		{HEAD "  condition: selection | count() by a > 5\n", 3, 24, "write a correlation"},
		{HEAD "  condition: selection | near filter\n", 3, 24, "write a correlation"},
		{HEAD "  condition: 1 of nothing_*\n", 3, 19, "no selection is named like"},
		{HEAD "  condition: 1 of selction\n", 3, 19, "did you mean `selection`"},
		{HEAD "  condition: 1 of\n", 3, 18, "`them` or a name"},
		{HEAD "  condition: 1 of (selection, filter)\n", 3, 19, "`them` or a name"},
		{HEAD "  condition: some of them\n", 3, 14, "1, all or any"},
		{HEAD "  condition: 0 of them\n", 3, 14, "1, all or any"},
		{HEAD "  condition: 3 of them\n", 3, 14, "can never hold"},
		{HEAD "  condition: sel*\n", 3, 14, "write `1 of sel*`"},
		{HEAD "  condition: not\n", 3, 17, "ends where a selection is expected"},
		{HEAD "  condition: {a: b}\n", 3, 14, "a condition is text, not a map"},
		{HEAD "  condition: []\n", 3, 14, "the condition is empty"},
		{HEAD "  condition:\n", 3, 3, "a condition is text, not nothing"},
		{HEAD "  conditoin: selection\n", 3, 3, "is `conditoin` meant to be it"},
		{HEAD, 1, 3, "needs `condition`"},
		{"  condition: selection\n", 1, 3, "no selection"},
	};

	check_errors(cases, ARRAY_LEN(cases), true);
}

Test(condition, deep_brackets_end_in_an_error)
{
	struct buf text;
	struct error_case one = {.line = 2, .column = 3 + 11 + 64, .part = "nested deeper"};

	buf_init(&text, 0);
	buf_printf(&text, "  a: {b: 1}\n  condition: ");
	for (int i = 0; i < 20000; i++)
		buf_putc(&text, '(');
	buf_printf(&text, "a\n");
	one.text = buf_cstr(&text);
	check_errors(&one, 1, true);
	buf_release(&text);
}

Test(condition, thousands_of_not_and_of_operators_are_no_depth)
{
	struct buf text;

	buf_init(&text, 0);
	for (int i = 0; i < 5000; i++)
		buf_printf(&text, "not ");
	buf_printf(&text, "a");
	for (int i = 0; i < 3000; i++)
		buf_printf(&text, " and not b or a");
	cr_expect(condition_holds(buf_cstr(&text), "a"));
	buf_release(&text);
}
