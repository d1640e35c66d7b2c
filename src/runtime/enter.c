/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "proto/agentp.h"
#include "runtime/failpoint.h"
#include "runtime/keeper_proto.h"
#include "runtime/msg.h"
#include "runtime/netlink.h"
#include "runtime/rootfs.h"
#include "runtime/template.h"
#include "sys/signals.h"

/* A process inside may open this many files; above most programs' needs, below what would hurt the host. */
#define NOFILE_MAX 65536u
#define AGENT_FD   4

/* What root inside keeps: its own files, users and services. Nothing that reaches mounts, devices or the network's setup. */
#define CAP_BIT(c) (1ull << (c))
static const uint64_t kept_caps = CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FSETID) |
				  CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETUID) |
				  CAP_BIT(CAP_SETFCAP) | CAP_BIT(CAP_SETPCAP) | CAP_BIT(CAP_NET_BIND_SERVICE) |
				  CAP_BIT(CAP_SYS_CHROOT) | CAP_BIT(CAP_KILL);

/*
 * A sandbox that builds images mounts layers inside its own mount namespace. The kernel counts this capability for what the sandbox's
 * user namespace owns alone; sysfilter.c says which calls it reaches.
 */
static uint64_t caps_of(const struct dw_child_go *go)
{
	return go->builder ? kept_caps | CAP_BIT(CAP_SYS_ADMIN) : kept_caps;
}

static _Noreturn void fail(const struct dw_parked *p, enum dw_step step, int r)
{
	const struct dw_child_msg m = { .tag = DW_CHILD_FAILED, .step = step, .errnum = -r };
	DW_IGNORE(dw_msg_send(p->control_fd, &m, sizeof(m), NULL, 0, MSG_DONTWAIT)); /* the exit says it as well */
	_exit(1);
}

/* Waits for one word of the builder. A builder that is gone means that nobody wants this slot. */
static int sync_wait(const struct dw_parked *p, char want)
{
	char word = 0;
	int fds[DW_MSG_FDS_MAX];
	size_t n;
	ssize_t r = dw_msg_recv(p->sync_fd, &word, 1, fds, &n, 0);
	if (r != 1 || word != want || n > 1)
		_exit(1);
	return n ? fds[0] : -1;
}

static int become_root(void)
{
	if (setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresuid(0, 0, 0) < 0)
		return -errno;
	/* Changing users made the process private to the host's root, its own /proc/self too. */
	if (prctl(PR_SET_DUMPABLE, 1) < 0)
		return -errno;
	/* Should the keeper be killed so that it cannot clean up, nothing of the sandbox may live on. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
}

/*
 * Each process moves itself, so that the waits of several slots (12 ms when the host is idle) pass side by side and hold up neither
 * builder nor keeper. Only afterwards the cgroup namespace, so that the sandbox sees itself at the top.
 */
static int join_cgroups(struct dw_parked *p)
{
	if (dw_step_fails(DW_STEP_CGROUP_JOIN))
		return -EIO;
	for (int i = 0; i < p->procs_n; i++) {
		if (write(p->procs_fds[i], "0", 1) != 1)
			return -errno;
		close(p->procs_fds[i]);
	}
	return unshare(CLONE_NEWCGROUP) < 0 ? -errno : 0;
}

static int set_rlimits(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_max = DW_MIN(files.rlim_max, (rlim_t)NOFILE_MAX);
	files.rlim_cur = files.rlim_max;
	/* One byte: no core file, and no start of the host's core dump program either, which zero would not prevent.
	 * The system call filter keeps it so. */
	const struct rlimit core = { 1, 1 }, none = { 0, 0 };
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0 ||
	    setrlimit(RLIMIT_NICE, &none) < 0 || setrlimit(RLIMIT_RTPRIO, &none) < 0)
		return -errno;
	return 0;
}

static void park_network(const struct dw_parked *p)
{
	struct dw_nl nl = { .ioctl_fd = -1 };
	int r = dw_nl_open(p->no_ipv6, &nl);
	if (r == 0)
		r = dw_step_fails(DW_STEP_ADDRESS) ? -EIO : dw_net_sandbox_addresses(&nl, p->slot);
	if (r < 0)
		fail(p, DW_STEP_ADDRESS, r);
	r = dw_step_fails(DW_STEP_ROUTE) ? -EIO : dw_net_sandbox_routes(&nl);
	if (r < 0)
		fail(p, DW_STEP_ROUTE, r);
	dw_net_sandbox_settle(&nl);
	dw_nl_close(&nl);
}

/* What the program may get by its exec. The process itself keeps what it needs for the mounts until drop_caps. */
static int drop_bounding_set(uint64_t kept)
{
	for (int c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++) {
		if (c < 64 && (kept & CAP_BIT(c)))
			continue;
		if (prctl(PR_CAPBSET_DROP, c) < 0)
			return -errno;
	}
	return 0;
}

static void park(struct dw_parked *p)
{
	int keep[3 + DW_CGROUP_TREES] = { p->control_fd, p->sync_fd, p->agent_fd };
	for (int i = 0; i < p->procs_n; i++)
		keep[3 + i] = p->procs_fds[i];
	dw_close_except(keep, 3 + (size_t)p->procs_n);
	dw_signals_default();
	prctl(PR_SET_NAME, "declaw-parked");
	setsid(); /* out of the keeper's process group, which kill(0) would reach */
	int r = join_cgroups(p);
	if (r < 0)
		fail(p, DW_STEP_CGROUP_JOIN, r);
	/* Any directory that everybody may enter will do; by name, to get this namespace's mount. */
	dw_autoclose int stage = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (stage < 0)
		fail(p, DW_STEP_TMPFS, -errno);
	int dev_fd = sync_wait(p, DW_SYNC_MAPPED);
	r = become_root();
	if (r < 0)
		fail(p, DW_STEP_USERNS_MAP, r);
	sync_wait(p, DW_SYNC_LINKED);
	park_network(p); /* needs the host's /proc: before the root changes */
	enum dw_step step;
	r = dw_rootfs_prepare(stage, dev_fd, &step);
	if (r < 0)
		fail(p, step, r);
	r = set_rlimits();
	if (r < 0)
		fail(p, DW_STEP_CAPS, r);
	close(p->sync_fd);
}

static int drop_caps(uint64_t kept)
{
	int r = drop_bounding_set(kept);
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	for (unsigned i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(kept >> (32 * i));
		data[i].effective = data[i].permitted;
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* 0..2 on the sandbox's /dev/null, 3 the control socket, 4 the program (closed by the exec), nothing else. */
static int arrange_fds(struct dw_parked *p)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	/* Out of the way of the numbers to come. */
	int control = fcntl(p->control_fd, F_DUPFD_CLOEXEC, 10);
	int agent = fcntl(p->agent_fd, F_DUPFD_CLOEXEC, 10);
	if (control < 0 || agent < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++) {
		if (dup2(null, fd) < 0)
			return -errno;
	}
	if (dup2(control, DW_AGENT_CONTROL_FD) < 0 || dup3(agent, AGENT_FD, O_CLOEXEC) < 0)
		return -errno;
	p->control_fd = DW_AGENT_CONTROL_FD;
	p->agent_fd = AGENT_FD;
	return close_range(AGENT_FD + 1, ~0u, 0) < 0 ? -errno : 0;
}

static _Noreturn void become_agent(struct dw_parked *p, const struct dw_child_go *go)
{
	char name[] = "declaw-agent", path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char home[] = "HOME=/root", lang[] = "LANG=C.UTF-8";
	char *const argv[] = { name, NULL };
	char *const envp[] = { path, home, lang, NULL };
	int r = dw_step_fails(DW_STEP_CAPS) ? -EIO : arrange_fds(p);
	if (r == 0)
		r = drop_caps(caps_of(go));
	if (r < 0)
		fail(p, DW_STEP_CAPS, r);
	bool exec_fails = dw_step_fails(DW_STEP_EXEC);
	if (dw_step_fails(DW_STEP_SECCOMP))
		fail(p, DW_STEP_SECCOMP, -EIO);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, go->builder ? p->builder_filter : p->filter) < 0)
		fail(p, DW_STEP_SECCOMP, -errno);
	if (!exec_fails)
		syscall(SYS_execveat, AGENT_FD, "", argv, envp, AT_EMPTY_PATH);
	fail(p, DW_STEP_EXEC, exec_fails ? -EIO : -errno);
}

/* With the upper directories' place, before anything of the sandbox's own runs: who reads its files later begins there. */
static void say_parked(const struct dw_parked *p)
{
	const struct dw_child_msg parked = { .tag = DW_CHILD_PARKED };
	dw_autoclose int upper = open("/u", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (upper < 0 || dw_msg_send(p->control_fd, &parked, sizeof(parked), &upper, 1, 0) < 0)
		_exit(1);
}

static bool go_ok(const struct dw_child_go *go, size_t fds_n)
{
	const struct dw_extras *x = &go->extras;
	if (!memchr(go->hostname, 0, sizeof(go->hostname)) || x->own_root > 1 || x->layer > 1 ||
	    x->attach_n > DW_ATTACH_MAX || fds_n != dw_go_fds(x))
		return false;
	for (uint32_t i = 0; i < x->attach_n; i++) {
		if (!memchr(x->attach[i].path, 0, sizeof(x->attach[i].path)))
			return false;
	}
	return true;
}

/* The one record that turns a parked process into a sandbox. An end of file instead means: not needed any more. */
static void wait_go(const struct dw_parked *p, struct dw_child_go *ret, int fds[static DW_MSG_FDS_MAX], size_t *ret_n)
{
	say_parked(p);
	ssize_t n = dw_msg_recv(p->control_fd, ret, sizeof(*ret), fds, ret_n, 0);
	if (n <= 0)
		_exit(0);
	if (n != sizeof(*ret) || !go_ok(ret, *ret_n))
		fail(p, DW_STEP_GO, -EBADMSG);
}

_Noreturn void dw_parked_main(struct dw_parked *p)
{
	struct dw_child_go go = { 0 };
	int fds[DW_MSG_FDS_MAX];
	size_t fds_n = 0;
	enum dw_step step;
	park(p);
	wait_go(p, &go, fds, &fds_n);
	if (sethostname(go.hostname, strlen(go.hostname)) < 0)
		fail(p, DW_STEP_GO, -errno);
	int r = dw_rootfs_enter(&go, fds, &step);
	if (r < 0)
		fail(p, step, r);
	become_agent(p, &go);
}
