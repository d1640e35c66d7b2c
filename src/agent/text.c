/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"

int dw_fault_set(struct dw_fault *f, int number, const char *fmt, ...)
{
	memset(f, 0, sizeof(*f));
	f->number = (uint16_t)number;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof(f->message), fmt, ap);
	va_end(ap);
	return -1;
}

int dw_fault_errno(struct dw_fault *f, int number, const char *fmt, ...)
{
	memset(f, 0, sizeof(*f));
	f->number = (uint16_t)number;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(f->message, sizeof(f->message), fmt, ap);
	va_end(ap);
	const char *text = strerrordesc_np(number);
	if (n >= 0 && (size_t)n < sizeof(f->message))
		snprintf(f->message + n, sizeof(f->message) - (size_t)n, ": %s", text ? text : "unknown error");
	return -1;
}

bool dw_text_int(const char **at, int *ret)
{
	const char *p = *at;
	while (*p == ' ')
		p++;
	bool minus = *p == '-';
	p += minus;
	const char *digits = p;
	int64_t v = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (*p - '0');
		if (v > INT32_MAX)
			return false;
	}
	if (p == digits)
		return false;
	*at = p;
	*ret = (int)(minus ? -v : v);
	return true;
}
