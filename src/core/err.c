/* SPDX-License-Identifier: Apache-2.0 */
#include "core/err.h"

#include <stdio.h>
#include <string.h>

void dw_assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "assertion failed: %s at %s:%d\n", cond, file, line);
	abort();
}

static void set_code(struct dw_err *err, enum dw_err_kind kind, const char *code)
{
	err->kind = kind;
	err->begun = false;
	snprintf(err->code, sizeof(err->code), "%s", code);
}

int dw_err_set(struct dw_err *err, enum dw_err_kind kind, const char *code, const char *fmt, ...)
{
	if (!err)
		return -1;
	set_code(err, kind, code);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return -1;
}

int dw_err_errno(struct dw_err *err, int errnum, const char *fmt, ...)
{
	if (!err)
		return -1;
	set_code(err, DW_ERR_INTERNAL, "internal");
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->message)) {
		const char *text = strerrordesc_np(errnum);
		snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", text ? text : "unknown error");
	}
	return -1;
}

int dw_err_wrap(struct dw_err *err, const char *fmt, ...)
{
	if (!err)
		return -1;
	char inner[sizeof(err->message)];
	memcpy(inner, err->message, sizeof(inner));
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->message) - 2) {
		size_t room = sizeof(err->message) - (size_t)n - 2;
		memcpy(err->message + n, ": ", 2);
		snprintf(err->message + n + 2, room, "%.*s", (int)room - 1, inner);
	}
	return -1;
}
