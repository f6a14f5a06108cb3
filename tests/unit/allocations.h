/* Counts what the test program allocates, where no sanitizer has put an allocator of its own. */
#ifndef ISOD_TESTS_ALLOCATIONS_H
#define ISOD_TESTS_ALLOCATIONS_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static size_t allocated;

static inline size_t allocations(void)
{
	return __atomic_load_n(&allocated, __ATOMIC_RELAXED);
}

#if COUNTS_ALLOCATIONS
void *__libc_malloc(size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_calloc(size_t count, size_t n);

void *malloc(size_t n)
{
	__atomic_add_fetch(&allocated, 1, __ATOMIC_RELAXED);
	return __libc_malloc(n);
}

void *realloc(void *p, size_t n)
{
	__atomic_add_fetch(&allocated, 1, __ATOMIC_RELAXED);
	return __libc_realloc(p, n);
}

void *calloc(size_t count, size_t n)
{
	__atomic_add_fetch(&allocated, 1, __ATOMIC_RELAXED);
	return __libc_calloc(count, n);
}
#endif

#endif
