/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declaw-unpack volume|template MAX_BYTES MAX_ENTRIES
 *
 * Unpacks the archive on standard input into the working directory, confined to it before it reads a byte, and writes one line of JSON on
 * standard output. Exit code: 0 unpacked, 1 the archive was refused, 2 anything else.
 */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "unpack/confine.h"
#include "unpack/unpack.h"

#define EXIT_REFUSED 1
#define EXIT_FAILED  2

static int parse_number(const char *s, uint64_t *ret)
{
	char *end;
	if (*s < '0' || *s > '9')
		return -1;
	errno = 0;
	unsigned long long v = strtoull(s, &end, 10);
	if (errno || *end || v == 0 || v > INT64_MAX)
		return -1;
	*ret = v;
	return 0;
}

/* What needs escaping in JSON, replaced: messages are ASCII, because unpack_printable made what is foreign in them. */
static void plain(const char *s, char *buf, size_t size)
{
	size_t n = 0;
	for (; *s && n + 1 < size; s++)
		buf[n++] = *s == '"' || *s == '\\' || *s < ' ' || *s > '~' ? '\'' : *s;
	buf[n] = '\0';
}

/* The whole line in one write: a reader of a pipe gets it or nothing. */
static void report(const struct unpack_result *r, const struct dw_err *err)
{
	char line[2048], error[1088] = "null", message[512];
	if (err) {
		plain(err->message, message, sizeof(message));
		snprintf(error, sizeof(error), "{\"code\":\"%s\",\"message\":\"%s\"}", err->code, message);
	}
	uint64_t dropped = r->dropped_links + r->dropped_kinds + r->dropped_paths + r->dropped_conflicts;
	int n = snprintf(line, sizeof(line),
			 "{\"files\":%" PRIu64 ",\"dirs\":%" PRIu64 ",\"links\":%" PRIu64 ",\"bytes\":%" PRIu64
			 ",\"dropped\":%" PRIu64 ",\"dropped_links\":%" PRIu64 ",\"dropped_kinds\":%" PRIu64
			 ",\"dropped_paths\":%" PRIu64 ",\"dropped_conflicts\":%" PRIu64 ",\"dropped_xattrs\":%" PRIu64
			 ",\"error\":%s}\n",
			 r->files, r->dirs, r->links, r->bytes, dropped, r->dropped_links, r->dropped_kinds,
			 r->dropped_paths, r->dropped_conflicts, r->dropped_xattrs, error);
	DW_IGNORE(write(STDOUT_FILENO, line, (size_t)n)); /* nobody else to tell */
}

int main(int argc, char **argv)
{
	struct unpack_limits limits;
	struct unpack_result result = { 0 };
	struct dw_err err = { 0 };
	enum unpack_mode mode = UNPACK_VOLUME;

	if (argc != 4 || (strcmp(argv[1], "volume") != 0 && strcmp(argv[1], "template") != 0) ||
	    parse_number(argv[2], &limits.bytes) < 0 || parse_number(argv[3], &limits.entries) < 0) {
		fputs("usage: declaw-unpack volume|template MAX_BYTES MAX_ENTRIES < ARCHIVE\n"
		      "Started by declawd; unpacks into the working directory, and needs to be root.\n",
		      stderr);
		return EXIT_FAILED;
	}
	if (strcmp(argv[1], "template") == 0)
		mode = UNPACK_TEMPLATE;
	umask(0);
	/* Names in archives are UTF-8. This locale is part of the C library, so nothing is loaded later. */
	if (!setlocale(LC_CTYPE, "C.UTF-8")) {
		fputs("declaw-unpack: the C library has no C.UTF-8\n", stderr);
		return EXIT_FAILED;
	}
	int r = unpack_confine(mode, limits.bytes, &err);
	if (r == 0)
		r = unpack_archive(STDIN_FILENO, mode, &limits, &result, &err);
	report(&result, r < 0 ? &err : NULL);
	/* Past here only destructors of libraries would run, under a filter that was not made for them. */
	_exit(r == 0 ? 0 : err.kind == DW_ERR_INTERNAL ? EXIT_FAILED : EXIT_REFUSED);
}
