/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/gatectl_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/bounds.h"
#include "daemon/log.h"
#include "proto/gatep.h"

/* Numbers of the descriptors in the gate. */
enum {
	FD_GATE_NETNS = 3,
	FD_UPLINK_NETNS = 4,
	FD_CONTROL = 5,
	FD_END,
};

/* The program's name, three descriptors, the lists, NULL. */
#define ARGS_MAX (8 + 2 * (OPTIONS_RESOLVERS + OPTIONS_ALLOW_PRIVATE))

struct args {
	char *v[ARGS_MAX];
	size_t n;
	char text[OPTIONS_RESOLVERS + OPTIONS_ALLOW_PRIVATE][OPTIONS_ENDPOINT_STRLEN];
};

static void add(struct args *a, const char *s)
{
	/* execve takes non-const strings and does not change them. */
	a->v[a->n++] = (char *)(uintptr_t)s;
}

static void build_args(struct args *a, const struct gatectl_config *c)
{
	size_t t = 0;
	add(a, c->path);
	add(a, "--gate-netns-fd=3");
	add(a, "--uplink-netns-fd=4");
	add(a, "--control-fd=5");
	for (size_t i = 0; i < c->options->resolver_n; i++) {
		add(a, "--resolver");
		add(a, options_format_endpoint(&c->options->resolver[i], a->text[t++]));
	}
	for (size_t i = 0; i < c->options->allow_private_n; i++) {
		_Static_assert(OPTIONS_ENDPOINT_STRLEN >= DW_PREFIX_STRLEN, "either fits");
		add(a, "--allow-private");
		add(a, dw_prefix_format(&c->options->allow_private[i], a->text[t++]));
	}
}

/* Above FD_END, so that placing one never overwrites another that is still to be placed. */
static int lift(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, FD_END);
}

static int spawn(const struct gatectl_config *c, int control, pid_t *ret, struct dw_err *err)
{
	dw_autoclose int gate = lift(c->gate_netns_fd);
	dw_autoclose int uplink = lift(c->uplink_netns_fd);
	dw_autoclose int sock = lift(control);
	if (gate < 0 || uplink < 0 || sock < 0)
		return dw_err_errno(err, errno, "starting %s", c->path);
	struct args a = { .n = 0 };
	build_args(&a, c);

	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, gate, FD_GATE_NETNS);
	posix_spawn_file_actions_adddup2(&actions, uplink, FD_UPLINK_NETNS);
	posix_spawn_file_actions_adddup2(&actions, sock, FD_CONTROL);
	/* A session of its own: an interrupt from the terminal is for the daemon, which then ends the gate in order. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
#ifdef DECLAW_TEST_HOOKS
	char *const *environment = environ; /* the hooks, and the sanitizers' options */
#else
	static char *const environment[] = { NULL };
#endif
	int e = posix_spawn(ret, c->path, &actions, &attr, a.v, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return e ? dw_err_errno(err, e, "starting %s", c->path) : 0;
}

int gate_process_recv(int control, json_t **ret, size_t *ret_bytes)
{
	dw_autofree char *buf = malloc(DW_GATEP_MAX);
	ssize_t n;
	if (!buf)
		return -1;
	do
		n = recv(control, buf, DW_GATEP_MAX, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -1;
	auto_json json_t *msg = json_loadb(buf, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(msg))
		return 0;
	*ret = DW_TAKE(msg);
	*ret_bytes = (size_t)n;
	return 1;
}

int gate_process_send(int control, const json_t *msg, int fd)
{
	dw_autofree char *text = json_dumps(msg, JSON_COMPACT);
	if (!text) {
		errno = ENOMEM;
		return -1;
	}
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space = { 0 };
	struct iovec iov = { .iov_base = text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd >= 0) {
		m.msg_control = space.bytes;
		m.msg_controllen = sizeof(space.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	ssize_t n;
	do
		n = sendmsg(control, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : 0;
}

static int wait_ready(int control, struct dw_err *err)
{
	const int64_t until = clock_mono_ms() + DAEMON_GATE_READY_MS;
	for (;;) {
		int64_t left = until - clock_mono_ms();
		struct pollfd p = { .fd = control, .events = POLLIN };
		int r = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return dw_err_set(err, DW_ERR_INTERNAL, "internal", "declaw-gate was not ready within %u s",
					  DAEMON_GATE_READY_MS / 1000);
		auto_json json_t *msg = NULL;
		size_t bytes;
		r = gate_process_recv(control, &msg, &bytes);
		if (r < 0)
			return dw_err_set(err, DW_ERR_INTERNAL, "internal",
					  "declaw-gate ended as it started (its own message is above)");
		const char *event = r ? jsonx_plain_string(json_object_get(msg, "event")) : NULL;
		if (event && strcmp(event, "ready") == 0)
			return 0;
	}
}

int gate_process_start(const struct gatectl_config *config, struct gate_process *ret, struct dw_err *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return dw_err_errno(err, errno, "starting %s", config->path);
	struct gate_process p = { .control = pair[0] };
	/* A gate that stopped reading must not hold up a request for longer than one that stopped answering. */
	const struct timeval limit = { .tv_sec = DAEMON_GATE_CALL_MS / 1000 };
	int r = spawn(config, pair[1], &p.pid, err);
	close(pair[1]);
	if (r == 0 && setsockopt(p.control, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		r = dw_err_errno(err, errno, "starting %s", config->path);
	if (r == 0)
		r = wait_ready(p.control, err);
	if (r < 0) {
		gate_process_end(&p);
		return -1;
	}
	*ret = p;
	return 0;
}

void gate_process_end(struct gate_process *p)
{
	if (p->control >= 0)
		close(p->control);
	p->control = -1;
	if (p->pid <= 0)
		return;
	/* It ends by itself when the socket closes; half a second is a long time for that. */
	for (int i = 0; i < 50; i++) {
		if (waitpid(p->pid, NULL, WNOHANG) != 0) {
			p->pid = 0;
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	p->pid = 0;
}
