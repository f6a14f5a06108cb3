/* Stands in for Criterion's header under ThreadSanitizer, whose shadow memory lies where Criterion wants to map the
 * arena it shares with its workers ("Could not initialize inheritable arena"). The part of Criterion that our tests
 * use: each test runs in a forked child; what TSan finds there is the child's exit status. */
#ifndef ISOD_TESTS_TSAN_CRITERION_H
#define ISOD_TESTS_TSAN_CRITERION_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct cr_options {
	void (*init)(void);
	void (*fini)(void);
	int signal;
	int exit_code;
	double timeout;
	bool disabled;
};

struct cr_case {
	const char *suite, *name;
	void (*run)(void); /* NULL: the suite's own options */
	struct cr_options options;
	struct cr_case *next;
};

static struct cr_case *cr_cases, **cr_last = &cr_cases;

static inline void cr_register(struct cr_case *c)
{
	*cr_last = c;
	cr_last = &c->next;
}

#define CR_CASE(suite_, name_, function, label, ...)                                               \
	static struct cr_case label = {                                                            \
		#suite_, name_, function, {.exit_code = 0, __VA_ARGS__}, 0};                       \
	__attribute__((constructor)) static void label##_register(void)                            \
	{                                                                                          \
		cr_register(&label);                                                               \
	}

#define TestSuite(suite_, ...) CR_CASE(suite_, NULL, NULL, suite_##_suite, __VA_ARGS__)
#define Test(suite_, name_, ...)                                                                   \
	static void suite_##_##name_##_impl(void);                                                 \
	CR_CASE(suite_, #name_, suite_##_##name_##_impl, suite_##_##name_##_case, __VA_ARGS__)     \
	static void suite_##_##name_##_impl(void)

#define CR_CHECK(holds, text, ...)                                                                 \
	do {                                                                                       \
		if (!(holds)) {                                                                    \
			fprintf(stderr, "%s:%d: %s ", __FILE__, __LINE__, text);                   \
			fprintf(stderr, "" __VA_ARGS__);                                           \
			fputc('\n', stderr);                                                       \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

#define cr_assert(c, ...)           CR_CHECK(c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...)       CR_CHECK(!(c), "not " #c, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     CR_CHECK((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)    CR_CHECK((a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)     CR_CHECK((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)    CR_CHECK((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)     CR_CHECK((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    CR_CHECK((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(p, ...)      CR_CHECK((p) == NULL, #p " is NULL", __VA_ARGS__)
#define cr_assert_not_null(p, ...)  CR_CHECK((p) != NULL, #p " is not NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) CR_CHECK(strcmp(a, b) == 0, #a " equals " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)                                                               \
	CR_CHECK(strcmp(a, b) != 0, #a " differs from " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) CR_CHECK(memcmp(a, b, n) == 0, #a " equals " #b, __VA_ARGS__)
#define cr_assert_fail(...)            CR_CHECK(false, "failed", __VA_ARGS__)
#define cr_expect                      cr_assert
#define cr_expect_eq                   cr_assert_eq
#define cr_expect_str_eq               cr_assert_str_eq
#define cr_log_info(...)               (printf(__VA_ARGS__), putchar('\n'))
#define cr_log_warn                    cr_log_info
#define cr_expect_not                  cr_assert_not
#define cr_expect_neq                  cr_assert_neq
#define cr_expect_lt                   cr_assert_lt
#define cr_expect_leq                  cr_assert_leq
#define cr_expect_gt                   cr_assert_gt
#define cr_expect_geq                  cr_assert_geq
#define cr_expect_null                 cr_assert_null
#define cr_expect_not_null             cr_assert_not_null
#define cr_expect_str_neq              cr_assert_str_neq
#define cr_expect_arr_eq               cr_assert_arr_eq
#define cr_log_error                   cr_log_info
#define CR_SKIPPED                     77
#define cr_skip_test(...)                                                                          \
	(printf("[SKIP] " __VA_ARGS__), putchar('\n'), fflush(stdout), _exit(CR_SKIPPED))
#define cr_skip cr_skip_test

static inline struct cr_options cr_suite_options(const struct cr_case *of)
{
	for (const struct cr_case *c = cr_cases; c; c = c->next)
		if (!c->run && strcmp(c->suite, of->suite) == 0)
			return c->options;
	return (struct cr_options){0};
}

static inline void cr_child(const struct cr_case *c)
{
	struct cr_options suite = cr_suite_options(c);
	void (*init)(void) = c->options.init ? c->options.init : suite.init;
	void (*fini)(void) = c->options.fini ? c->options.fini : suite.fini;

	if (init)
		init();
	c->run();
	if (fini)
		fini();
	fflush(NULL);
	exit(0);
}

static inline bool cr_passed(const struct cr_case *c, int status, bool *ret_skipped)
{
	*ret_skipped = WIFEXITED(status) && WEXITSTATUS(status) == CR_SKIPPED;
	if (c->options.signal)
		return WIFSIGNALED(status) && WTERMSIG(status) == c->options.signal;
	return WIFEXITED(status) && WEXITSTATUS(status) == c->options.exit_code;
}

int main(void)
{
	int tested = 0, failing = 0, crashing = 0;

	for (const struct cr_case *c = cr_cases; c; c = c->next) {
		bool skipped;
		int status = 0;
		if (!c->run || c->options.disabled)
			continue;
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0)
			cr_child(c);
		waitpid(pid, &status, 0);
		bool passed = cr_passed(c, status, &skipped);
		if (skipped)
			continue;
		tested++;
		failing += !passed && WIFEXITED(status);
		crashing += !passed && !WIFEXITED(status);
		if (!passed)
			printf("[FAIL] %s::%s: status %d\n", c->suite, c->name, status);
	}
	printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n", tested,
	       tested - failing - crashing, failing, crashing);
	return failing + crashing != 0;
}

#endif
