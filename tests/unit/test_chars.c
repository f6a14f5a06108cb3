/* Classes of bytes: the same as ctype.h's in the C locale, and the sets of headers as their formats have them. */
#include <criterion/criterion.h>
#include <ctype.h>

#include "base/chars.h"

Test(chars, are_those_of_the_c_locale)
{
	for (int c = 0; c < 256; c++) {
		cr_expect_eq(char_is((char)c, CHAR_SPACE), isspace(c) != 0, "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_DIGIT), isdigit(c) != 0, "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_UPPER), isupper(c) != 0, "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_LOWER), islower(c) != 0, "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_ALNUM), isalnum(c) != 0, "%d", c);
	}
}

Test(chars, are_those_that_headers_have)
{
	for (int c = 0; c < 256; c++) {
		bool in_host = isalnum(c) || (c && strchr(".:-_%", c));
		bool in_address = isxdigit(c) || c == '.' || c == ':';
		bool in_tag = isalnum(c) || (c > ' ' && c < 0x7f && !strchr("\"'=<>{},;?&|`", c));
		cr_expect_eq(char_is((char)c, CHAR_HOST), in_host, "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_HOST_TOO), c == '/' || c == '@', "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_ADDRESS), in_address, "%d", c);
		cr_expect_eq(char_is((char)c, CHAR_TAG), in_tag, "%d", c);
	}
}

Test(chars, runs_end_at_another_byte_or_with_the_text)
{
	cr_assert_eq(char_run(STR("2026-11"), CHAR_DIGIT), 4);
	cr_assert_eq(char_run(STR("2026"), CHAR_DIGIT), 4);
	cr_assert_eq(char_run(STR(""), CHAR_DIGIT), 0);
	cr_assert_eq(char_run_not(STR("host app"), CHAR_SPACE), 4);
	cr_assert_eq(char_run_not(STR("host"), CHAR_SPACE | CHAR_DIGIT), 4);
}
