/* SPDX-License-Identifier: Apache-2.0 */
/* A gate with the daemon's end of its control socket. */
#pragma once

#include "gate_test.h"

#include <fcntl.h>
#include <jansson.h>

struct fixture {
	struct gate *g;
	int daemon; /* the daemon's end */
};

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
#define ATTACH(seq, id, a4, a6)                                                                          \
	"{\"seq\":" seq ",\"op\":\"attach\",\"sandbox\":\"" id "\",\"addr4\":\"" a4 "\",\"addr6\":\"" a6 \
	"\",\"generation\":3}"

const char *receive(struct fixture *f);
int setup(void **state);
int teardown(void **state);
void send_fds(struct fixture *f, const char *text, size_t n, const int *fds, size_t fd_n);
json_t *ask_fds(struct fixture *f, const char *text, const int *fds, size_t fd_n);
json_t *ask(struct fixture *f, const char *text, int fd);
int policy_fd(const char *name, unsigned int seals);
void expect_ok(json_t *o, json_int_t seq);
void expect_error(json_t *o, json_int_t seq, const char *code);
void attach_one(struct fixture *f);
