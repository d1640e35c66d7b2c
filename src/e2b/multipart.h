/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data (RFC 7578) as it comes, in pieces of any size: a part's bytes are handed on and never kept. What is kept is bounded: a
 * part's head, and the beginning of what may become a boundary, which is the parser's own text.
 *
 * Strict: no preamble, no epilogue but a line's end, no white space behind a boundary, one Content-Disposition for each part. What only
 * looks like a boundary because more follows is refused.
 *
 * File names come in several spellings. A backslash stands for itself, unless a quote or another backslash follows (RFC 822, as E2B's own
 * server reads it); %22, %0D and %0A are a quote and line ends (the WHATWG's encoding, which no other client sends in a name by
 * chance); filename* (RFC 8187) may be there too, in UTF-8, and has to say the same.
 */
#pragma once

#include <stdbool.h>

#include "core/rd.h"

#define MULTIPART_BOUNDARY_MAX 70    /* RFC 2046, section 5.1.1 */
#define MULTIPART_HEAD_MAX     16384 /* of one part: a longest path, each byte of it as %xx */
#define MULTIPART_NAME_MAX     64
#define MULTIPART_FILENAME_MAX 4096

enum multipart_event {
	MULTIPART_BAD = 0,  /* and why says what is wrong; it stays so */
	MULTIPART_MORE,     /* all of the input is used */
	MULTIPART_PART,     /* a part begins: name, filename */
	MULTIPART_DATA,     /* bytes of it */
	MULTIPART_PART_END, /* it is whole */
};

struct multipart {
	char name[MULTIPART_NAME_MAX + 1];
	bool has_filename;
	char filename[MULTIPART_FILENAME_MAX + 1]; /* no NUL byte inside, and not empty when it is there */
	const char *why;                           /* a static phrase */

	/* multipart.c's own */
	unsigned char state;
	char delimiter[4 + MULTIPART_BOUNDARY_MAX]; /* line end, two dashes, boundary */
	size_t delimiter_n, matched, head_n;
	char head[MULTIPART_HEAD_MAX];
};

/* False when content_type (NULL: none) is no multipart/form-data with a boundary. */
bool DW_MUST_USE multipart_init(struct multipart *m, const char *content_type);
/* Takes what is next from *in. *ret: the bytes of MULTIPART_DATA, valid until the next call. */
enum multipart_event multipart_next(struct multipart *m, struct dw_span *in, struct dw_span *ret);
/* Whether what came was whole. */
bool multipart_is_whole(const struct multipart *m);
