/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime with the stub agent in a scratch directory, and views of what the host has of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/runtime.h"

struct fixture {
	char dir[64];
	struct dw_runtime *rt;
	int gate_fd; /* a second descriptor of the gate namespace, to look into it after the end */
	pid_t keeper;
};

/* cmocka setup and teardown; the state is a struct fixture. Teardown asserts that nothing is left on the host. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The parts, for tests that need another order. */
void fixture_start(struct fixture *f);
void fixture_fill(struct fixture *f);
void fixture_stop(struct fixture *f);

struct dw_sandbox_spec fixture_spec(void);
struct dw_sandbox_handle fixture_create(struct fixture *f);
/* Ends the sandbox and closes its socket. */
void fixture_destroy(struct fixture *f, struct dw_sandbox_handle *h);

/* One question to the stub agent; the answer is in a static buffer. */
const char *fixture_ask(const struct dw_sandbox_handle *h, char op, const char *arg);

/* Processes whose cgroup is one of that keeper's. */
unsigned host_processes(pid_t keeper);
/* Directories of that keeper below all cgroup hierarchies. */
unsigned host_cgroups(pid_t keeper);
/* Lines of the host's mount table that name the directory. */
unsigned host_mounts(const char *dir);
/* Links named g<number> in the gate namespace. */
unsigned gate_links(int gate_fd);
/* The keeper that is a child of this process; 0 = none. */
pid_t find_keeper(pid_t parent);
/* Waits until count(arg) is at most max; fails the test after five seconds. */
#define WAIT_FOR(cond)                                                      \
	do {                                                                \
		for (int wait_i_ = 0; wait_i_ < 2000 && !(cond); wait_i_++) \
			usleep(10000);                                      \
		assert_true(cond);                                          \
	} while (0)
/* Shuts the test program down (exit status 77: skipped) when it is not run by root. */
void need_root(void);
