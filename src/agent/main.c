/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/op.h"
#include "agent/pty.h"
#include "agent/reap.h"
#include "sys/signals.h"

#define EVENTS_MAX          64
#define NOFILE_AGENT        4096u /* more than DW_AGENT_OPS_MAX operations need */
#define NOFILE_SOFT         1024u /* what most programs expect; select() works up to it */
#define OOM_SCORE_ADJ_RAISE 200   /* a command is chosen before the agent unless it is much smaller */
#define OOM_SCORE_ADJ_MAX   1000

struct dw_agent dw_agent = {
	.epoll_fd = -1, .control_fd = DW_AGENT_CONTROL_FD, .signal_fd = -1, .null_fd = -1, .pts_fd = -1
};

void dw_close_from(unsigned first)
{
	if (close_range(first, ~0u, 0) == 0)
		return;
	long end = sysconf(_SC_OPEN_MAX);
	for (int fd = (int)first; fd < end; fd++)
		close(fd);
}

void dw_child_init(void)
{
	sigset_t none;
	sigemptyset(&none);
	dw_signals_default();
	sigprocmask(SIG_SETMASK, &none, NULL);
	size_t n = strlen(dw_agent.oom_score_adj);
	dw_autoclose int fd = n ? open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC) : -1;
	if (fd >= 0)
		DW_IGNORE(write(fd, dw_agent.oom_score_adj, n)); /* a preference only */
}

/* Keeps standard streams and the control socket only, and has nothing of the host on the former. */
static int init_fds(void)
{
	dw_close_from(DW_AGENT_CONTROL_FD + 1);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return -1;
#ifdef DW_AGENT_KEEP_STDERR
	const int last = STDOUT_FILENO;
#else
	const int last = STDERR_FILENO;
#endif
	for (int fd = 0; fd <= last; fd++)
		if (dup2(null_fd, fd) < 0)
			return -1;
	dw_agent.null_fd = fcntl(null_fd, F_DUPFD_CLOEXEC, DW_AGENT_CONTROL_FD + 1);
	if (null_fd > DW_AGENT_CONTROL_FD)
		close(null_fd);
	if (dw_agent.null_fd < 0 || fcntl(DW_AGENT_CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0)
		return -1;
	return 0;
}

/*
 * All signals are blocked but those that a fault raises: PID 1 is told of its children by descriptor, and of
 * nothing else.
 */
static int init_signals(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	struct sigaction sa = { .sa_handler = SIG_DFL };
	for (int i = 1; i < NSIG; i++)
		if (i != SIGSEGV && i != SIGBUS && i != SIGILL && i != SIGFPE) /* a sanitizer's own */
			sigaction(i, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigset_t set;
	sigfillset(&set);
	for (size_t i = 0; i < DW_COUNT(faults); i++)
		sigdelset(&set, faults[i]);
	if (sigaction(SIGPIPE, &sa, NULL) != 0 || sigprocmask(SIG_SETMASK, &set, NULL) != 0)
		return -1;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	dw_agent.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return dw_agent.signal_fd < 0 ? -1 : 0;
}

static void init_oom(void)
{
	dw_autoclose int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	int now;
	const char *at = text;
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || !dw_text_int(&at, &now))
		return;
	snprintf(dw_agent.oom_score_adj, sizeof(dw_agent.oom_score_adj), "%d",
		 DW_MIN(now + OOM_SCORE_ADJ_RAISE, OOM_SCORE_ADJ_MAX));
}

static int init_limits(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return -1;
	dw_agent.nofile = l;
	dw_agent.nofile.rlim_cur = DW_MIN(l.rlim_max, NOFILE_SOFT);
	l.rlim_cur = DW_MIN(l.rlim_max, NOFILE_AGENT);
	return setrlimit(RLIMIT_NOFILE, &l);
}

static int watch(int fd, uint64_t role)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = role };
	return epoll_ctl(dw_agent.epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static int init(void)
{
	/* Nobody inside may look into this process, nor into its children before they run something else. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	/* Orphans come to PID 1 anyway; this is for the tests, which run the agent without being PID 1. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		return -1;
	if (init_fds() != 0 || init_signals() != 0 || init_limits() != 0 || chdir("/") != 0)
		return -1;
	init_oom();
	dw_pty_init();
	dw_agent.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (dw_agent.epoll_fd < 0 || watch(dw_agent.control_fd, DW_EVENT_CONTROL) != 0 ||
	    watch(dw_agent.signal_fd, DW_EVENT_SIGNAL) != 0)
		return -1;
	return send(dw_agent.control_fd, "R", 1, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static void read_clock(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	dw_agent.now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The descriptor of an 'O' datagram, or -1. Whatever else came along is closed. */
static int opened_socket(struct msghdr *msg, char what)
{
	int sock = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (sock < 0 && what == 'O')
				sock = fd;
			else
				close(fd);
		}
	}
	return sock;
}

/* False when the daemon is gone. */
static bool control_readable(void)
{
	char what = 0;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &what, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(dw_agent.control_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	int sock = opened_socket(&msg, what);
	if (n == 0) {
		if (sock >= 0)
			close(sock);
		return false;
	}
	/* The agent asks each call not to wait; its file children do wait, on the same open file. */
	if (sock >= 0 && fcntl(sock, F_SETFL, 0) == 0)
		dw_op_new(sock);
	else if (sock >= 0)
		close(sock);
	return true;
}

static void children_ended(void)
{
	struct signalfd_siginfo si;
	while (read(dw_agent.signal_fd, &si, sizeof(si)) > 0)
		;
	dw_reap();
}

static void run(void)
{
	for (bool alive = true; alive;) {
		struct epoll_event events[EVENTS_MAX];
		read_clock();
		int n = epoll_wait(dw_agent.epoll_fd, events, EVENTS_MAX, dw_op_next_timeout());
		read_clock();
		for (int i = 0; i < n; i++) {
			uint64_t data = events[i].data.u64;
			if (data == DW_EVENT_CONTROL)
				alive = control_readable() && alive;
			else if (data == DW_EVENT_SIGNAL)
				children_ended();
			else
				dw_op_dispatch(data, events[i].events);
		}
		dw_op_expire();
	}
}

int main(void)
{
	if (init() != 0)
		return 1;
	run();
	/* As PID 1 this ends everything inside; ending the operations is for when it is not. */
	dw_op_abort_all();
	_exit(0);
}
