/* What bounds a search. PCRE2 backtracks: a pattern such as (a+)+$ takes time exponential in the value's length. The
 * match limit counts steps back from one starting point and ends the whole search when it is reached, so the exponential
 * ones die in about a millisecond; what remains is at worst quadratic in the value's length, and that is bounded by
 * REGEX_SUBJECT_MAX. Neither bound looks at a clock: detecting the same evidence again after a crash must give the
 * same matches. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "sigma/regex.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define JIT_STACK_MIN  (32 * 1024)
#define JIT_STACK_MAX  (1024 * 1024) /* reached only by patterns that explode */
#define HEAP_LIMIT_KIB 8192          /* of the interpreter, where there is no JIT */

struct regex {
	pcre2_code *code;
	char *text;
	size_t n;
	unsigned flags;
};

struct regex_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

struct regex *regex_compile(struct str pattern, unsigned flags, char *error, size_t error_size,
                            size_t *ret_offset)
{
	uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
	int code;
	PCRE2_SIZE offset;

	options |= flags & REGEX_CASELESS ? PCRE2_CASELESS : 0;
	options |= flags & REGEX_MULTILINE ? PCRE2_MULTILINE : 0;
	options |= flags & REGEX_DOTALL ? PCRE2_DOTALL : 0;
	if (pattern.n > REGEX_PATTERN_MAX) {
		snprintf(error, error_size, "longer than %d bytes", REGEX_PATTERN_MAX);
		*ret_offset = 0;
		return NULL;
	}
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)(pattern.n ? pattern.p : ""), pattern.n,
	                                     options, &code, &offset, NULL);
	if (!compiled) {
		PCRE2_UCHAR text[256];
		pcre2_get_error_message(code, text, sizeof(text));
		snprintf(error, error_size, "%s", (const char *)text);
		*ret_offset = offset;
		return NULL;
	}
	/* Without JIT (a kernel that forbids writable code) the interpreter gives the same answers. */
	(void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
	struct regex *r = xmalloc(sizeof(*r));
	*r = (struct regex){compiled, xstrndup(pattern.n ? pattern.p : "", pattern.n), pattern.n,
	                    flags};
	return r;
}

void regex_free(struct regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	free(r->text);
	free(r);
}

struct str regex_text(const struct regex *r)
{
	return str_make(r->text, r->n);
}

unsigned regex_flags_of(const struct regex *r)
{
	return r->flags;
}

struct regex_scratch *regex_scratch_new(void)
{
	struct regex_scratch *s = xmalloc(sizeof(*s));

	s->data = pcre2_match_data_create(1, NULL);
	s->context = pcre2_match_context_create(NULL);
	s->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
	if (!s->data || !s->context)
		abort(); /* a few hundred bytes: the same as in base/mem.h */
	pcre2_set_match_limit(s->context, REGEX_STEPS_MAX);
	pcre2_set_depth_limit(s->context, REGEX_STEPS_MAX);
	pcre2_set_heap_limit(s->context, HEAP_LIMIT_KIB);
	if (s->stack)
		pcre2_jit_stack_assign(s->context, NULL, s->stack);
	return s;
}

void regex_scratch_free(struct regex_scratch *s)
{
	if (!s)
		return;
	pcre2_match_data_free(s->data);
	pcre2_match_context_free(s->context);
	pcre2_jit_stack_free(s->stack);
	free(s);
}

int regex_search(const struct regex *r, struct regex_scratch *s, struct str subject)
{
	struct str seen = str_head(subject, REGEX_SUBJECT_MAX);
	uint32_t options = seen.n < subject.n ? PCRE2_NOTEOL : 0;
	int n = pcre2_match(r->code, (PCRE2_SPTR)(seen.n ? seen.p : ""), seen.n, 0, options,
	                    s->data, s->context);

	if (n >= 0)
		return 1;
	if (n == PCRE2_ERROR_NOMATCH && seen.n == subject.n)
		return 0;
	return -E2BIG;
}
