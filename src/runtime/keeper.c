/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "runtime/builder.h"
#include "runtime/msg.h"
#include "runtime/sysfilter.h"
#include "sys/signals.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

#define EVENTS_PER_TURN 64
/* How long the end may take before the keeper leaves what is stuck to the kernel. */
#define STOP_MS 10000

int64_t dw_keeper_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int dw_keeper_watch(struct dw_keeper *k, enum dw_keeper_source source, uint32_t index, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index };
	return epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

int dw_keeper_reply(int reply_fd, const struct dw_keeper_rep *rep, int fd)
{
	int r = dw_msg_send(reply_fd, rep, sizeof(*rep), &fd, fd >= 0, MSG_DONTWAIT);
	close(reply_fd);
	return r;
}

void dw_keeper_reply_err(int reply_fd, const struct dw_err *err)
{
	const struct dw_keeper_rep rep = { .status = -1, .err = *err };
	dw_keeper_reply(reply_fd, &rep, -1); /* a caller that is gone needs no answer */
}

static void on_builder(struct dw_keeper *k)
{
	struct dw_builder_rep rep;
	int fds[DW_MSG_FDS_MAX];
	size_t fds_n;
	ssize_t n = dw_msg_recv(k->builder_fd, &rep, sizeof(rep), fds, &fds_n, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		/* Nothing can be made or cleaned any more: end all of it rather than half work. */
		fprintf(stderr, "declaw: the builder process ended unexpectedly; all sandboxes are stopped\n");
		k->stopping = true;
		epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, k->builder_fd, NULL);
		close(k->builder_fd);
		k->builder_fd = -1;
		return;
	}
	if (n == sizeof(rep))
		dw_pool_on_builder(k, &rep, fds, fds_n);
	dw_close_all(fds, fds_n);
}

static void dispatch(struct dw_keeper *k, uint64_t key)
{
	uint32_t index = (uint32_t)key;
	switch ((enum dw_keeper_source)(key >> 32)) {
	case DW_SOURCE_REQUEST:
		dw_keeper_on_request(k);
		break;
	case DW_SOURCE_BUILDER:
		on_builder(k);
		break;
	case DW_SOURCE_PIDFD:
		dw_pool_on_exit(k, &k->slots[index]);
		break;
	case DW_SOURCE_CONTROL:
		dw_pool_on_control(k, &k->slots[index]);
		break;
	case DW_SOURCE_PACK:
		dw_pack_on_exit(k, &k->packs[index]);
		break;
	}
}

/* The next time that something is due, as a timeout of epoll. */
static int next_timeout(struct dw_keeper *k, int64_t now)
{
	int64_t at = dw_pack_expire(k, now);
	if (k->filled && !k->stopping && k->parked_n + k->building_n < k->pool)
		at = DW_MIN(at, DW_MAX(k->refill_at, k->backoff_until));
	if (k->clean_at)
		at = DW_MIN(at, k->clean_at);
	if (k->pending_n)
		at = DW_MIN(at, k->pending[k->pending_first].deadline);
	if (at == INT64_MAX)
		return -1;
	/* Not zero: what is overdue but has to wait for something else would spin. */
	return (int)DW_MIN(DW_MAX(at - now, (int64_t)1), (int64_t)10000);
}

static void turn(struct dw_keeper *k)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int n = epoll_wait(k->epoll_fd, events, EVENTS_PER_TURN, next_timeout(k, dw_keeper_now()));
	for (int i = 0; i < n; i++)
		dispatch(k, events[i].data.u64);
	dw_keeper_serve_pending(k);
	int64_t now = dw_keeper_now();
	dw_keeper_expire_pending(k, now);
	dw_pool_schedule(k, now);
	if (k->clean_at && now >= k->clean_at)
		dw_pool_clean(k, now);
}

/* Kills everything, waits for it, and lets the builder clean up. */
static void end_all(struct dw_keeper *k)
{
	int64_t deadline = dw_keeper_now() + STOP_MS;
	k->stopping = true;
	epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, k->req_fd, NULL);
	dw_keeper_expire_pending(k, dw_keeper_now());
	dw_pack_end(k, 0);
	for (uint32_t i = 0; i < k->slots_n; i++) {
		struct dw_slot *s = &k->slots[i];
		if (s->state == DW_SLOT_PARKED || s->state == DW_SLOT_LIVE)
			dw_pool_kill(k, s);
		else if (s->state == DW_SLOT_ENDED)
			dw_pool_bury(k, s);
	}
	while ((k->used_n || dw_pack_count(k)) && k->builder_fd >= 0 && dw_keeper_now() < deadline)
		turn(k);
	if (k->used_n)
		fprintf(stderr, "declaw: %u sandboxes could not be taken apart completely\n", k->used_n);
}

/* A copy of the agent that nobody can write, so that no sandbox can reach the program file (CVE-2019-5736). */
static int seal_agent(const char *path, struct dw_err *err)
{
	dw_autoclose int from = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (from < 0 || fstat(from, &st) < 0)
		return dw_err_errno(err, errno, "cannot open the agent program %s", path);
	dw_autoclose int fd = memfd_create("declaw-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("declaw-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING); /* before Linux 6.3 */
	if (fd < 0)
		return dw_err_errno(err, errno, "memfd_create");
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(fd, from, NULL, (size_t)left);
		if (n <= 0)
			return dw_err_errno(err, n < 0 ? errno : EIO, "cannot copy the agent program %s", path);
		left -= n;
	}
	if (fchmod(fd, 0555) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return dw_err_errno(err, errno, "cannot seal the agent program");
	return DW_TAKE_FD(fd);
}

static _Noreturn void builder_child(const struct dw_keeper *k, int sock, int agent_fd)
{
	int keep[3 + 2 * DW_CGROUP_TREES] = { sock, agent_fd, k->templates.dev_fd };
	size_t n = 3;
	for (unsigned i = 0; i < k->cgroups.n; i++) {
		keep[n++] = k->cgroups.trees[i].host_fd;
		keep[n++] = k->cgroups.trees[i].parent_fd;
	}
	dw_close_except(keep, n);
	prctl(PR_SET_NAME, "declaw-builder");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	const struct dw_builder_config c = {
		.sock = sock,
		.agent_fd = agent_fd,
		.cgroups = &k->cgroups,
		.templates = &k->templates,
		.filter = &k->filter,
		.builder_filter = &k->builder_filter,
		.no_ipv6 = k->no_ipv6,
	};
	dw_builder_main(&c);
	_exit(0);
}

/* The gate namespace's descriptor, or -1 with err. */
static int start_builder(struct dw_keeper *k, int agent_fd, struct dw_err *err)
{
	int pair[2], fds[DW_MSG_FDS_MAX];
	size_t fds_n;
	struct dw_builder_rep hello;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return dw_err_errno(err, errno, "socketpair");
	k->builder_pid = fork();
	if (k->builder_pid == 0)
		builder_child(k, pair[1], agent_fd);
	close(pair[1]);
	k->builder_fd = pair[0];
	if (k->builder_pid < 0)
		return dw_err_errno(err, errno, "fork");
	ssize_t n = dw_msg_recv(k->builder_fd, &hello, sizeof(hello), fds, &fds_n, 0);
	if (n == sizeof(hello) && hello.errnum == 0 && fds_n == 1)
		return fds[0];
	if (n > 0)
		dw_close_all(fds, fds_n);
	return dw_err_errno(err, n == sizeof(hello) ? hello.errnum : ECHILD,
			    "cannot make the gate's network namespace");
}

/* A mount namespace of its own, which follows the host's: what the keeper mounts does not grow the host's table. */
static int leave_mount_ns(struct dw_err *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return dw_err_errno(err, errno, "cannot make a mount namespace (is the server run by root?)");
	return 0;
}

/* Everything up to the hello; the gate namespace's descriptor, or -1 with err. */
static int prepare(struct dw_keeper *k, const struct dw_keeper_config *c, struct dw_err *err)
{
	if (leave_mount_ns(err) < 0 || dw_templates_open(c->data_dir, &k->templates, err) < 0 ||
	    dw_seccomp_compile(false, &k->filter, err) < 0 || dw_seccomp_compile(true, &k->builder_filter, err) < 0 ||
	    dw_cgroups_open(&k->cgroups, err) < 0)
		return -1;
	int r = dw_pool_init(k);
	k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r < 0 || k->epoll_fd < 0)
		return dw_err_errno(err, r < 0 ? -r : errno, "the keeper's tables");
	dw_autoclose int agent = seal_agent(c->agent_path, err);
	if (agent < 0)
		return -1;
	dw_autoclose int netns = start_builder(k, agent, err);
	if (netns < 0)
		return -1;
	r = dw_keeper_watch(k, DW_SOURCE_REQUEST, 0, k->req_fd);
	if (r == 0)
		r = dw_keeper_watch(k, DW_SOURCE_BUILDER, 0, k->builder_fd);
	return r < 0 ? dw_err_errno(err, -r, "epoll") : DW_TAKE_FD(netns);
}

/* In the first moments of the process: nothing of the daemon's but its standard error and the two sockets. */
static void detach(const struct dw_keeper_config *c)
{
	const int keep[] = { c->req_fd, c->event_fd };
	dw_close_except(keep, DW_COUNT(keep));
	dw_autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dw_signals_default();
	/* A signal to the server's whole group must not kill what has to clean up; the daemon's end is what ends us. */
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	for (size_t i = 0; i < DW_COUNT(ignored); i++)
		signal(ignored[i], SIG_IGN);
	setsid();
	umask(0022);
	prctl(PR_SET_NAME, "declaw-keeper");
}

int dw_keeper_main(const struct dw_keeper_config *c)
{
	static struct dw_keeper k; /* large, and there is one */
	struct dw_keeper_rep hello = { 0 };
	detach(c);
	k = (struct dw_keeper){
		.pool = c->pool,
		.max_sandboxes = c->max_sandboxes,
		.no_ipv6 = c->no_ipv6,
		.req_fd = c->req_fd,
		.event_fd = c->event_fd,
		.builder_fd = -1,
		.epoll_fd = -1,
		.templates = { .root_fd = -1, .usr_fd = -1, .dev_fd = -1 },
	};
	int netns = prepare(&k, c, &hello.err);
	hello.status = netns < 0 ? -1 : 0;
	int r = dw_msg_send(k.req_fd, &hello, sizeof(hello), &netns, netns >= 0, 0);
	if (netns >= 0)
		close(netns);
	while (r == 0 && hello.status == 0 && !k.stopping)
		turn(&k);
	if (k.slots)
		end_all(&k);
	if (k.builder_fd >= 0)
		close(k.builder_fd);
	if (k.builder_pid > 0)
		waitpid(k.builder_pid, NULL, 0);
	dw_cgroups_close(&k.cgroups);
	return hello.status == 0 ? 0 : 1;
}
