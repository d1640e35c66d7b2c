/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of a running command's agent (proto/agentp.h) as they come, in whatever pieces. Output is passed on without waiting for the
 * end of its frame, so that what is kept of an unfinished one is a few hundred bytes and not a whole chunk for each
 * process. Pure; every byte is hostile.
 */
#pragma once

#include "proto/agentp.h"

/* The longest frame that is gathered: ERROR with the longest message that an honest agent sends. */
#define PROC_FEED_WHOLE 512u

/* {} is the start. */
struct proc_feed {
	uint8_t head[DW_AGENTP_HEADER];
	uint8_t head_n;
	bool started, ended; /* STARTED has come; EXIT or ERROR has come: nothing after it counts */
	uint32_t left;       /* of the payload */
	uint16_t whole_n;
	uint8_t whole[PROC_FEED_WHOLE];
};

struct proc_event {
	enum dw_agentp_type type; /* STARTED, STDOUT, STDERR, EXIT or ERROR */
	struct dw_span
		bytes; /* STDOUT, STDERR: some of it, perhaps not all; otherwise the payload. Valid until the next call */
	uint32_t number;            /* STARTED: the pid */
	struct dw_agentp_exit exit; /* EXIT */
};

/*
 * Takes the next event off the front of *data. MORE: *data is used up. BAD: no honest agent says this; whatever comes then is
 * bad too. After EXIT or ERROR: MORE, and *data is dropped.
 */
enum dw_parse proc_feed_next(struct proc_feed *f, struct dw_span *data, struct proc_event *ret);
