/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of server-sent events (WHATWG HTML, section 9.2.6), fed with pieces of any size. Pure. The stream is UTF-8; what is not
 * is left to whoever reads the data. Lines end with LF, CR LF or CR; comments and unknown fields are skipped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/macros.h"

#define EVENTS_NAME_MAX 32u
#define EVENTS_ID_MAX   32u
#define EVENTS_DATA_MAX (4u << 20) /* of one event: four times what the longest line of the published servers carries */

struct event {
	const char *name; /* "message" unless it says otherwise; cut to EVENTS_NAME_MAX - 1 bytes */
	const char *id;   /* the last one seen, "" before; one too long to keep counts as none */
	const char *data; /* n bytes and a NUL behind them; lines joined by LF */
	size_t n;
};

struct events {
	int (*take)(void *arg, const struct event *e); /* other than 0 ends the reading */
	void *arg;
	/* private */
	char name[EVENTS_NAME_MAX], id[EVENTS_ID_MAX];
	char *line, *data;
	size_t line_n, line_cap, data_n, data_cap;
	bool has_data, after_cr;
};

enum events_result {
	EVENTS_MORE = 0,
	EVENTS_ENDED,    /* take said so */
	EVENTS_TOO_LONG, /* a line or an event beyond EVENTS_DATA_MAX */
	EVENTS_NO_MEMORY,
};

/* After a result that is not MORE nothing may be fed. An event that the end of the stream cuts off is never taken. */
enum events_result DW_MUST_USE events_feed(struct events *e, const char *p, size_t n);
void events_done(struct events *e);
