/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pack_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "runtime/failpoint.h"
#include "runtime/layer.h"
#include "runtime/msg.h"
#include "sys/signals.h"

/* Reading a full disk takes some seconds. */
#define CPU_SECONDS 120u
/* Two for each directory of the longest path. */
#define FILES_MAX (DW_LAYER_PATH_MAX + 64)
/* Beside what the program is: links remembered, a buffer for each directory of a path, and the hole of layer_pack.c. */
#define MEMORY_MAX (4ull << 30)

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

DW_DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release)

static int limit(int resource, rlim_t max)
{
	const struct rlimit l = { max, max };
	return setrlimit(resource, &l) < 0 ? -errno : 0;
}

static int set_limits(uint64_t max_bytes)
{
	int r = limit(RLIMIT_CORE, 0);
	if (r == 0)
		r = limit(RLIMIT_CPU, CPU_SECONDS);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, FILES_MAX);
	if (r == 0)
		r = limit(RLIMIT_FSIZE, max_bytes);
	if (r == 0)
		r = limit(RLIMIT_NPROC, 0);
#ifndef SANITIZED
	/* The shadow memory of a sanitizer is larger than any limit. */
	if (r == 0)
		r = limit(RLIMIT_AS, MEMORY_MAX);
#endif
	return r;
}

/* Into the sandbox's user namespace and among its files: from here on nothing else has a name. */
static int enter(const struct dw_pack_job *j)
{
	if (setns(j->userns_fd, CLONE_NEWUSER) < 0 || fchdir(j->upper_fd) < 0 || chroot(".") < 0)
		return -errno;
	if (setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresuid(0, 0, 0) < 0)
		return -errno;
	close(j->userns_fd);
	close(j->upper_fd);
	return 0;
}

/* One capability: to read what the sandbox's users keep from each other. */
static int drop_caps(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	data[0].permitted = data[0].effective = 1u << CAP_DAC_READ_SEARCH;
	for (int c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++) {
		if (prctl(PR_CAPBSET_DROP, c) < 0)
			return -errno;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &head, data) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* Changing users has forgotten it. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
}

/* What reading a tree and writing to open files takes. Anything else is the end. */
static int load_filter(void)
{
	static const int calls[] = {
		SCMP_SYS(read),       SCMP_SYS(pread64),        SCMP_SYS(write),
		SCMP_SYS(close),      SCMP_SYS(openat),         SCMP_SYS(fstat),
		SCMP_SYS(newfstatat), SCMP_SYS(getdents64),     SCMP_SYS(readlinkat),
		SCMP_SYS(flistxattr), SCMP_SYS(fgetxattr),      SCMP_SYS(lseek),
		SCMP_SYS(fcntl),      SCMP_SYS(sendmsg),        SCMP_SYS(brk),
		SCMP_SYS(munmap),     SCMP_SYS(mremap),         SCMP_SYS(madvise),
		SCMP_SYS(futex),      SCMP_SYS(getrandom),      SCMP_SYS(clock_gettime),
		SCMP_SYS(getpid),     SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit_group),
	};
	scmp_filter_ctx ctx DW_AUTO(seccomp_release) = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!ctx)
		return -ENOMEM;
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* EXEC */, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* EXEC */, 0));
	for (size_t i = 0; r == 0 && i < DW_COUNT(calls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return r == 0 ? seccomp_load(ctx) : r;
}

static int confine(const struct dw_pack_job *j)
{
	const int keep[] = { j->userns_fd, j->upper_fd, j->out_fd, j->report_fd };
	dw_close_except(keep, DW_COUNT(keep));
	dw_signals_default();
	signal(SIGXFSZ, SIG_IGN); /* a write past the limit fails, and says why */
	prctl(PR_SET_NAME, "declaw-pack");
	setsid();
	int r = enter(j);
	if (r == 0)
		r = drop_caps();
	if (r == 0)
		r = set_limits(j->max_bytes);
	return r == 0 ? load_filter() : r;
}

_Noreturn void dw_pack_child(const struct dw_pack_job *j)
{
	struct dw_pack_report report = { 0 };
	int r = dw_step_fails(DW_STEP_PACK) ? -EIO : confine(j);
	if (r < 0)
		report.errnum = -r;
	else
		dw_layer_pack(j->out_fd, j->max_bytes, &report);
	DW_IGNORE(dw_msg_send(j->report_fd, &report, sizeof(report), NULL, 0, MSG_DONTWAIT)); /* the exit says it too */
	_exit(0);
}
