/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a command as JSON text, made piece by piece from the bytes that the command wrote. As a whole it can be six
 * times as long as these, and many commands end at one time, so only the client ever holds it whole.
 */
#pragma once

#include "daemon/agentc.h"

#define RESULT_TEXT_PARTS 6

struct result_text {
	struct result_part {
		const char *p;
		size_t n;
		bool raw; /* JSON already */
	} part[RESULT_TEXT_PARTS];
	unsigned at;  /* the present part */
	size_t begun; /* bytes of it that are done */
	char tail[96], ahead[8];
	size_t ahead_n, ahead_at; /* of a character that did not fit */
};

/* note: a line for the end of stderr, or "". It and r stay where they are until the text is read; so does t. */
void result_text_init(struct result_text *t, const struct agent_result *r, const char *note);
/* The next bytes, at most max; 0 at the end. buf NULL: counts only. */
size_t result_text_read(struct result_text *t, char *buf, size_t max);
/* How long the text of a freshly initialised t is. */
size_t result_text_length(const struct result_text *t);
