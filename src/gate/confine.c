/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up every privilege, for good.
 *
 * The process has then: uid and gid nobody, no capability in any set, no new privileges, no core dumps, no debugger
 * of its own uid (not dumpable), and a seccomp filter. It keeps descriptors only: the TUN, the transparent sockets,
 * the control socket.
 *
 * The filter is an allow-list of what an epoll program with sockets, splice and one helper thread (libunbound's) calls.
 * Everything else gives ENOSYS, which libraries take as "an older kernel" and work around, and which for exec, fork,
 * ptrace, mount, setns, unshare, bpf, io_uring, keyctl, modules and the like simply ends the attempt. Arguments are
 * looked at where one call does two jobs: sockets are of the internet families (and rtnetlink); files can be opened for
 * reading only; clone makes threads only; no memory is ever executable anew. A filter that lists what is forbidden
 * was rejected: every new kernel would add to what it lets pass.
 *
 * Order: limits while root may raise them; groups and ids before capabilities (they need some); the filter last (it
 * would refuse all of these).
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "gate/gate.h"

#define NOBODY 65534u

/* Beside the flows: listeners, DNS over TCP, upstream queries, spare pipes. */
#define SPARE_FDS 12288u

DW_DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release)

static int limit_resources(struct dw_err *err)
{
	const struct rlimit no_core = { 0, 0 };
	struct rlimit files;
	rlim_t want = (rlim_t)GATE_FLOWS_MAX * 4 + SPARE_FDS;

	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return dw_err_errno(err, errno, "resource limits");
	if (files.rlim_cur >= want)
		return 0;
	files.rlim_max = DW_MAX(files.rlim_max, want);
	files.rlim_cur = want;
	if (setrlimit(RLIMIT_NOFILE, &files) == 0)
		return 0;
	/* Not allowed to raise it, or above fs.nr_open: what there is must do; flows are refused when it runs out. */
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return dw_err_errno(err, errno, "resource limits");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return dw_err_errno(err, errno, "resource limits");
	return 0;
}

static int drop_ids(struct dw_err *err)
{
	capng_clear(CAPNG_SELECT_ALL);
	/* The bounding set first: it needs CAP_SETPCAP. */
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the capability bounding set can not be emptied");
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return dw_err_errno(err, errno, "becoming nobody");
	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return dw_err_errno(err, errno, "dropping capabilities");
	return 0;
}

/* Asks the kernel instead of trusting the calls above. */
static int check_dropped(struct dw_err *err)
{
	uid_t u[3];
	gid_t g[3];

	if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0)
		return dw_err_errno(err, errno, "reading ids");
	for (int i = 0; i < 3; i++) {
		if (u[i] != NOBODY || g[i] != NOBODY)
			return dw_err_set(err, DW_ERR_INTERNAL, "internal", "ids were not dropped");
	}
	if (getgroups(0, NULL) != 0 || setresuid(0, 0, 0) == 0)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "privileges could be taken back");
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() < 0 || capng_have_capabilities(CAPNG_SELECT_ALL) != CAPNG_NONE)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "capabilities were not dropped");
	return 0;
}

/* Allowed whatever the arguments. */
static const int allowed_calls[] = {
	/* descriptors and bytes */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(close),
	SCMP_SYS(splice),
	SCMP_SYS(tee),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(statx),
	SCMP_SYS(lseek),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(eventfd2),
	SCMP_SYS(signalfd4),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(close_range),
	/* waiting */
	SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(restart_syscall),
	/* sockets (socket itself is below) */
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg),
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* threads */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(membarrier),
	SCMP_SYS(gettid),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	/* signals */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	/* who and when */
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrusage),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(getcpu),
};

struct allowed_if {
	int call;
	struct scmp_arg_cmp arg[2];
	unsigned int arg_n;
};

#define IF1(c, a)                     \
	{                             \
		SCMP_SYS(c), { a }, 1 \
	}
#define IF2(c, a, b)                     \
	{                                \
		SCMP_SYS(c), { a, b }, 2 \
	}
#define ARG_IS(i, v) SCMP_CMP64(i, SCMP_CMP_EQ, v)
/* The bits of mask in argument i are v. */
#define ARG_BITS(i, mask, v) SCMP_CMP64(i, SCMP_CMP_MASKED_EQ, mask, v)

#define OPEN_WRITES ((scmp_datum_t)(O_ACCMODE | O_CREAT | O_TRUNC))
#define CLONE_KINDS                                                                                           \
	((scmp_datum_t)(CLONE_THREAD | CLONE_VM | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | \
			CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP))

static const struct allowed_if allowed_if_table[] = {
	IF1(socket, ARG_IS(0, AF_INET)),
	IF1(socket, ARG_IS(0, AF_INET6)),
	IF2(socket, ARG_IS(0, AF_NETLINK), ARG_IS(2, 0)), /* NETLINK_ROUTE: the machine's addresses */
	IF1(socketpair, ARG_IS(0, AF_UNIX)),              /* libunbound and libevent talk to their thread */
	IF1(openat, ARG_BITS(2, OPEN_WRITES, O_RDONLY)),  /* time zone, random source */
	IF1(open, ARG_BITS(1, OPEN_WRITES, O_RDONLY)),
	IF1(clone, ARG_BITS(0, CLONE_KINDS, CLONE_THREAD | CLONE_VM)),
	IF1(mmap, ARG_BITS(2, PROT_EXEC, 0)),
	IF1(mprotect, ARG_BITS(2, PROT_EXEC, 0)),
	IF1(prctl, ARG_IS(0, PR_SET_NAME)),
	IF1(prctl, ARG_IS(0, PR_SET_VMA)), /* glibc names its mappings */
	IF1(ioctl, ARG_IS(1, FIONREAD)),
	IF1(ioctl, ARG_IS(1, FIONBIO)),
	IF1(ioctl, ARG_IS(1, SIOCOUTQ)),
	IF1(ioctl, ARG_IS(1, TCGETS)), /* stdio asks whether it writes to a terminal */
};

static int filter_calls(struct dw_err *err)
{
	DW_AUTO(seccomp_release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	const struct scmp_arg_cmp self = ARG_IS(0, (scmp_datum_t)getpid());
	int r = 0;

	if (!ctx)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "seccomp filter: out of memory");
	for (size_t i = 0; r == 0 && i < DW_COUNT(allowed_calls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	for (size_t i = 0; r == 0 && i < DW_COUNT(allowed_if_table); i++) {
		const struct allowed_if *a = &allowed_if_table[i];

		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, a->call, a->arg_n, a->arg);
	}
	/* abort() after a failed assertion signals itself and nobody else. */
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &self);
	if (r == 0)
		r = seccomp_load(ctx);
	if (r < 0)
		return dw_err_errno(err, -r, "seccomp filter");
	return 0;
}

int gate_confine(struct dw_err *err)
{
	if (limit_resources(err) < 0 || drop_ids(err) < 0 || check_dropped(err) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return dw_err_errno(err, errno, "no new privileges");
	return filter_calls(err);
}
