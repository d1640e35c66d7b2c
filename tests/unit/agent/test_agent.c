/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "drive.h"

#define GROUP(name)                                  \
	{                                            \
#name, name##_tests, &name##_tests_n \
	}
static const struct {
	const char *name;
	const struct CMUnitTest *tests;
	const size_t *n;
} groups[] = { GROUP(exec),  GROUP(exec_life), GROUP(file),   GROUP(file_dir),
	       GROUP(watch), GROUP(pty),       GROUP(signal), GROUP(connect) };

static int run_groups(const char *only)
{
	int failed = 0, ran = 0;
	for (size_t i = 0; i < DW_COUNT(groups); i++) {
		if (only && strcmp(only, groups[i].name) != 0)
			continue;
		failed += _cmocka_run_group_tests(groups[i].name, groups[i].tests, *groups[i].n, NULL, NULL);
		ran++;
	}
	return ran ? failed : -1;
}

/* One agent serves all tests of a run, so that each also shows that the ones before have not hurt it. */
int main(int argc, char **argv)
{
	if (argc < 3 || argc > 5) {
		fprintf(stderr, "usage: %s AGENT plain|pid1 [GROUP [TESTS]]\n", argv[0]);
		return 2;
	}
	if (argc == 5)
		cmocka_set_test_filter(argv[4]);
	/* Some parents leave glibc's internal signals ignored, and that is inherited; inside it must not show. */
	static const unsigned long ignore[4] = { 1 };
	syscall(SYS_rt_sigaction, 32, ignore, NULL, sizeof(unsigned long));
	alarm(170); /* a test that hangs fails */
	int res = drive_start(argv[1], strcmp(argv[2], "pid1") == 0);
	if (res != 0) {
		fprintf(stderr, "no agent: %s\n",
			res == 77 ? "private namespaces are not allowed here" : "it did not start");
		return res;
	}
	int failed = run_groups(argc > 3 ? argv[3] : NULL);
	int status = drive_stop();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "the agent did not end well: %x\n", (unsigned)status);
		failed++;
	}
	return failed != 0;
}
