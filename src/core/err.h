/* SPDX-License-Identifier: Apache-2.0 */
/* The error object of program edges: a kind (maps to an HTTP status), a stable code, one sentence for the user. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "core/macros.h"

enum dw_err_kind {
	DW_ERR_INTERNAL = 0,    /* 500 */
	DW_ERR_INVALID,         /* 400: a field or argument is wrong; the message names it */
	DW_ERR_UNAUTHORIZED,    /* 401 */
	DW_ERR_FORBIDDEN,       /* 403 */
	DW_ERR_NOT_FOUND,       /* 404 */
	DW_ERR_METHOD,          /* 405 */
	DW_ERR_TIMEOUT,         /* 408 */
	DW_ERR_CONFLICT,        /* 409 */
	DW_ERR_GONE,            /* 410: the sandbox was killed */
	DW_ERR_TOO_LARGE,       /* 413 */
	DW_ERR_UNPROCESSABLE,   /* 422 */
	DW_ERR_LIMIT,           /* 429 */
	DW_ERR_UNAVAILABLE,     /* 503: a blind repeat is harmless */
	DW_ERR_BAD_GATEWAY,     /* 502: a server inside a sandbox can not be reached, or does not answer as one */
	DW_ERR_GATEWAY_TIMEOUT, /* 504: it did not answer in time */
	DW_ERR__COUNT,
};

/* Owned by the caller, usually on the stack; no heap, so it works when memory is out. */
struct dw_err {
	enum dw_err_kind kind;
	char code[48];     /* stable, snake_case, e.g. "invalid_network_entry"; "" until set */
	char message[448]; /* one sentence in the user's terms, no trailing newline; truncated, never overflowed */
	bool begun;        /* what was asked for may have been done: nobody may be told to repeat it blindly */
};

/* Fills err (NULL is allowed) and returns -1, so that `return dw_err_set(...)` is one statement. */
int dw_err_set(struct dw_err *err, enum dw_err_kind kind, const char *code, const char *fmt, ...) DW_PRINTF(4, 5);

/* The same for a failed system call: kind INTERNAL, code "internal", message "<what>: <errno text>". Returns -1. */
int dw_err_errno(struct dw_err *err, int errnum, const char *fmt, ...) DW_PRINTF(3, 4);

/* Puts "prefix: " before the message. Returns -1. */
int dw_err_wrap(struct dw_err *err, const char *fmt, ...) DW_PRINTF(2, 3);
