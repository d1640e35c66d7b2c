/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a command as JSON text, made piece by piece from the bytes that the command wrote. As a whole it can be six
 * times as long as these, and many commands end at one time, so only the client ever holds it whole.
 */
#pragma once

#include "daemon/agentc.h"

#define RESULT_TEXT_PARTS  6
#define RESULT_TEXT_WINDOW 4096u

/* The next bytes of a stream (0 stdout, 1 stderr), at most max; 0 at its end. */
typedef size_t result_fill(void *arg, unsigned stream, char *buf, size_t max);

struct result_text {
	struct result_part {
		const char *p;
		size_t n;
		bool raw;            /* JSON already */
		unsigned char fills; /* 1 + the stream that the rest comes from; 0 = that is all */
	} part[RESULT_TEXT_PARTS];
	result_fill *fill;
	void *fill_arg;
	char window[RESULT_TEXT_WINDOW]; /* of what comes in pieces */
	unsigned at;                     /* the present part */
	size_t begun;                    /* bytes of it that are done */
	char tail[96], ahead[8];
	size_t ahead_n, ahead_at; /* of a character that did not fit */
};

/* note: a line for the end of stderr, or "". It and r stay where they are until the text is read; so does t. */
void result_text_init(struct result_text *t, const struct agent_result *r, const char *note);
/* The same for a result that is not in one piece; of r only what is not output counts. It has no length ahead. */
void result_text_init_pieces(struct result_text *t, const struct agent_result *r, result_fill *fill, void *arg,
			     const char *note);
/* The next bytes, at most max; 0 at the end. buf NULL: counts only. */
size_t result_text_read(struct result_text *t, char *buf, size_t max);
/* How long the text of a freshly initialised t is. */
size_t result_text_length(const struct result_text *t);
