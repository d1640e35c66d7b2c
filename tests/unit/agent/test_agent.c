/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "drive.h"

/* One agent serves all tests, so that each also shows that the ones before have not hurt it. */
int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s AGENT plain|pid1\n", argv[0]);
		return 2;
	}
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
	int failed = _cmocka_run_group_tests("exec", exec_tests, exec_tests_n, NULL, NULL);
	failed += _cmocka_run_group_tests("file", file_tests, file_tests_n, NULL, NULL);
	int status = drive_stop();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "the agent did not end well: %x\n", (unsigned)status);
		failed++;
	}
	return failed != 0;
}
