/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/macros.h"
#include "daemon/clock.h"

#define LINE_MAX_BYTES 2048

static void put(char *buf, size_t size, size_t *at, const char *s, size_t n)
{
	if (*at + n + 1 > size)
		return;
	memcpy(buf + *at, s, n);
	*at += n;
	buf[*at] = '\0';
}

static bool is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

void log_escape(char *buf, size_t size, size_t *at, const char *value)
{
	bool plain = *value != '\0';
	for (const char *p = value; *p && plain; p++)
		plain = is_plain((unsigned char)*p);
	if (plain) {
		put(buf, size, at, value, strlen(value));
		return;
	}
	put(buf, size, at, "\"", 1);
	for (const char *p = value; *p; p++) {
		unsigned char c = (unsigned char)*p;
		char hex[8];
		if (is_plain(c) || c == ' ' || c == '=')
			put(buf, size, at, p, 1);
		else
			put(buf, size, at, hex, (size_t)snprintf(hex, sizeof(hex), "\\x%02x", c));
	}
	put(buf, size, at, "\"", 1);
}

const char *log_num(char buf[static 24], int64_t n)
{
	snprintf(buf, 24, "%lld", (long long)n);
	return buf;
}

void log_event(enum log_level level, const char *event, ...)
{
	static const char *const names[] = { "error", "warn", "info" };
	char line[LINE_MAX_BYTES];
	char now[CLOCK_ISO_SIZE];
	int head =
		snprintf(line, sizeof(line), "time=%s level=%s event=", clock_iso(clock_wall_us(), now), names[level]);
	size_t at = head > 0 ? (size_t)head : 0;
	/* The last byte is kept for the newline. */
	const size_t size = sizeof(line) - 1;
	log_escape(line, size, &at, event);

	va_list ap;
	va_start(ap, event);
	const char *key;
	while ((key = va_arg(ap, const char *))) {
		const char *value = va_arg(ap, const char *);
		put(line, size, &at, " ", 1);
		put(line, size, &at, key, strlen(key));
		put(line, size, &at, "=", 1);
		log_escape(line, size, &at, value ? value : "");
	}
	va_end(ap);
	line[at++] = '\n';
	/* Nothing can be done about a log that can not be written. */
	DW_IGNORE(write(STDERR_FILENO, line, at));
}
