/* SPDX-License-Identifier: Apache-2.0 */
/* Small language helpers: array sizes, ownership transfer, cleanup attributes, always-on assertions. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define DW_COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define DW_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DW_MAX(a, b) ((a) > (b) ? (a) : (b))

#define DW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define DW_MUST_USE          __attribute__((warn_unused_result))

/* Drops a result on purpose; say why in a comment beside it. */
#define DW_IGNORE(x)                             \
	do {                                     \
		__typeof__(x) dw_ignored_ = (x); \
		(void)dw_ignored_;               \
	} while (0)

/* Hands an owned pointer or descriptor on: the variable forgets it, so its cleanup does nothing. */
#define DW_TAKE(p)                             \
	({                                     \
		__typeof__(p) dw_taken_ = (p); \
		(p) = NULL;                    \
		dw_taken_;                     \
	})
#define DW_TAKE_FD(fd)                \
	({                            \
		int dw_taken_ = (fd); \
		(fd) = -1;            \
		dw_taken_;            \
	})

static inline void dw_autofree_(void *pp)
{
	free(*(void **)pp);
}

static inline void dw_autoclose_(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Owned locals. Initialise on the same line: NULL or -1. */
#define dw_autofree  __attribute__((cleanup(dw_autofree_)))
#define dw_autoclose __attribute__((cleanup(dw_autoclose_)))

/* DW_DEFINE_CLEANUP(struct x *, x_free) makes DW_AUTO(x_free) usable on `struct x *p = NULL`. */
#define DW_DEFINE_CLEANUP(type, func)               \
	static inline void func##_cleanup_(type *p) \
	{                                           \
		if (*p)                             \
			func(*p);                   \
	}
#define DW_AUTO(func) __attribute__((cleanup(func##_cleanup_)))

/* Invariants of the program itself, never of its input. Compiled in always. */
#define dw_assert(cond)                                              \
	do {                                                         \
		if (__builtin_expect(!(cond), 0))                    \
			dw_assert_failed(#cond, __FILE__, __LINE__); \
	} while (0)
_Noreturn void dw_assert_failed(const char *cond, const char *file, int line);
