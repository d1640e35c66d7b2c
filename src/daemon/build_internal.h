/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of templates.h. */
#pragma once

#include <pthread.h>

#include "daemon/build_log.h"
#include "daemon/templates.h"

struct build {
	struct build *next; /* of those that have not ended */
	struct templates *t;
	unsigned refs;              /* under t's lock, as what follows */
	struct build_record record; /* without its logs */
	struct build_log log;
	char reason[128]; /* why it is cancelled; "" = it is not */
	bool launched, ended;

	/* The builder's own: whoever runs it. */
	struct build_spec spec;
	struct template template;
	int base_fd[DAEMON_BUILD_BASES]; /* of spec.bases: their roots, locked */
	json_t *base_envs[DAEMON_BUILD_BASES];
	int cancel_fd, ended_fd; /* eventfds */
	int64_t deadline_ms;
};

struct templates {
	struct templates_config config;
	pthread_mutex_t lock;
	pthread_cond_t idle; /* a build has ended */
	struct build *builds;
	unsigned running; /* threads */
	bool stop;
};

void build_say(struct build *b, const char *fmt, ...) DW_PRINTF(2, 3);
/* build_run.c: its sandbox; then everything else. b->template is complete when the latter returns 0. */
int build_run_prepare(struct build *b, struct dw_err *err);
int build_run(struct build *b, struct dw_err *err);
