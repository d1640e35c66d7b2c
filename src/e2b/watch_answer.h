/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a watcher tells in one answer, as text while it grows. Names are chosen inside and become up to six times as long in JSON, so it is bounded
 * by bytes, and counted among what the sandbox's commands wrote until the client has taken it.
 */
#pragma once

#include "daemon/http.h"

struct watch_answer {
	char *text;
	size_t n;
	unsigned events;
	struct sandbox *sandbox; /* held */
	size_t counted;
};

/* For a struct that is all zero. LIMIT when the sandbox's answers take too much already. */
int DW_MUST_USE watch_answer_begin(struct watch_answer *a, struct sandbox *s, struct dw_err *err);
void watch_answer_done(struct watch_answer *a);
#define auto_watch_answer __attribute__((cleanup(watch_answer_done)))
/* Whether the next event has to wait for the next answer. */
bool watch_answer_full(const struct watch_answer *a);
/* The message is taken. False without memory. */
bool DW_MUST_USE watch_answer_add(struct watch_answer *a, json_t *message_take);
/* Takes what is in a, also on failure: NULL, without memory. */
struct MHD_Response *watch_answer_response(struct watch_answer *a);
