/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/unpack_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/bounds.h"
#include "daemon/clock.h"
#include "daemon/disk_room.h"
#include "daemon/jsonx.h"

struct unpack_run {
	pid_t pid;
	int in_fd, out_fd, stop_fd;
	int dir_fd;      /* the target, for looks at its disk */
	int64_t look_ms; /* when the next one is due */
};

static atomic_uint running;

static void add_files(posix_spawn_file_actions_t *a, int dir, int in, int out)
{
	/* The directory first, while its number can not be one of those below. */
	posix_spawn_file_actions_addfchdir_np(a, dir);
	posix_spawn_file_actions_adddup2(a, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(a, out, STDOUT_FILENO);
}

static int spawn(const struct unpack_order *o, int in, int out, pid_t *ret, struct dw_err *err)
{
	char bytes[24], entries[24];
	snprintf(bytes, sizeof(bytes), "%" PRIu64, o->max_bytes);
	snprintf(entries, sizeof(entries), "%" PRIu64, o->max_entries);
	const char *const args[] = { o->path, o->what == UNPACK_RUN_TEMPLATE ? "template" : "volume", bytes, entries,
				     NULL };
	char *argv[DW_COUNT(args)];
	/* execve takes non-const strings and does not change them. */
	for (size_t i = 0; i < DW_COUNT(args); i++)
		argv[i] = (char *)(uintptr_t)args[i];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	add_files(&actions, o->dir_fd, in, out);
	/* A session of its own: an interrupt from the terminal is for the daemon, which then ends what it started. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
#ifdef DECLAW_TEST_HOOKS
	char *const *environment = environ; /* the sanitizers' options */
#else
	static char *const environment[] = { NULL };
#endif
	int e = posix_spawn(ret, o->path, &actions, &attr, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return e ? dw_err_errno(err, e, "starting %s", o->path) : 0;
}

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
	}
}

static int start(struct unpack_run *u, const struct unpack_order *o, struct dw_err *err)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 };
	u->dir_fd = fcntl(o->dir_fd, F_DUPFD_CLOEXEC, 3);
	if (u->dir_fd < 0)
		return dw_err_errno(err, errno, "starting %s", o->path);
	if (disk_room_check(u->dir_fd, err) < 0)
		return -1;
	if ((o->from_fd < 0 && pipe2(in, O_CLOEXEC) < 0) || pipe2(out, O_CLOEXEC) < 0) {
		dw_err_errno(err, errno, "starting %s", o->path);
		close_pair(in);
		return -1;
	}
	int r = spawn(o, o->from_fd < 0 ? in[0] : o->from_fd, out[1], &u->pid, err);
	u->in_fd = in[1];
	u->out_fd = out[0];
	in[1] = out[0] = -1;
	close_pair(in);
	close_pair(out);
	/* Only our end: a full pipe must not hold up the deadline. */
	if (r == 0 && u->in_fd >= 0 && fcntl(u->in_fd, F_SETFL, O_NONBLOCK) < 0)
		r = dw_err_errno(err, errno, "starting %s", o->path);
	return r;
}

int unpack_start(const struct unpack_order *o, struct unpack_run **ret, struct dw_err *err)
{
	struct unpack_run *u = calloc(1, sizeof(*u));
	if (!u)
		return dw_err_errno(err, ENOMEM, "unpacking");
	*u = (struct unpack_run){ .in_fd = -1, .out_fd = -1, .stop_fd = o->stop_fd, .dir_fd = -1 };
	bool room = atomic_fetch_add(&running, 1) < DAEMON_UNPACKS;
	if (!room)
		dw_err_set(err, DW_ERR_LIMIT, "too_many_unpacks",
			   "%u archives are being unpacked at this moment: try again when one is done", DAEMON_UNPACKS);
	if (!room || start(u, o, err) < 0) {
		unpack_free(u);
		return -1;
	}
	*ret = u;
	return 0;
}

/* It may unpack far more than it is given, so time is what the looks at the disk go by. */
static int look(struct unpack_run *u, struct dw_err *err)
{
	const int64_t now = clock_mono_ms();
	if (now < u->look_ms)
		return 0;
	u->look_ms = now + DAEMON_UNPACK_LOOK_MS;
	return disk_room_check(u->dir_fd, err);
}

/* 0 ready; its time is up, the daemon stops or the disk is full. */
static int wait_for(struct unpack_run *u, int fd, short events, int64_t until_ms, struct dw_err *err)
{
	for (;;) {
		if (look(u, err) < 0)
			return -1;
		int64_t left = until_ms - clock_mono_ms();
		struct pollfd p[2] = { { .fd = fd, .events = events }, { .fd = u->stop_fd, .events = POLLIN } };
		int r = left > 0 ? poll(p, 2, (int)DW_MIN(left, (int64_t)DAEMON_UNPACK_LOOK_MS)) : 0;
		if (r < 0 && errno != EINTR)
			return dw_err_errno(err, errno, "unpacking");
		if (r > 0 && p[1].revents)
			return dw_err_set(err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
		if (r > 0)
			return 0;
		if (left <= 0)
			return dw_err_set(err, DW_ERR_TIMEOUT, "unpack_timeout", "the archive took too long to unpack");
	}
}

int unpack_feed(struct unpack_run *u, const void *p, size_t n, struct dw_err *err)
{
	const char *at = p;
	if (look(u, err) < 0)
		return -1;
	while (n) {
		/* SIGPIPE is ignored in the daemon. */
		ssize_t w = write(u->in_fd, at, n);
		if (w > 0) {
			at += w;
			n -= (size_t)w;
		} else if (errno == EPIPE) {
			struct unpack_counts none;
			if (unpack_finish(u, &none, err) < 0)
				return -1;
			return dw_err_set(err, DW_ERR_INTERNAL, "internal", "declaw-unpack ended early");
		} else if (errno == EAGAIN) {
			if (wait_for(u, u->in_fd, POLLOUT, clock_mono_ms() + DAEMON_UNPACK_STALL_MS, err) < 0)
				return -1;
		} else if (errno != EINTR) {
			return dw_err_errno(err, errno, "unpacking");
		}
	}
	return 0;
}

/* Kinds for the codes that the program has. */
static int report_error(const json_t *error, struct dw_err *err)
{
	static const struct {
		const char *code;
		enum dw_err_kind kind;
	} known[] = {
		{ "bad_archive", DW_ERR_INVALID }, { "bad_owner", DW_ERR_INVALID },  { "too_large", DW_ERR_TOO_LARGE },
		{ "too_many", DW_ERR_TOO_LARGE },  { "no_space", DW_ERR_TOO_LARGE },
	};
	const char *code = jsonx_plain_string(json_object_get(error, "code"));
	const char *message = jsonx_plain_string(json_object_get(error, "message"));
	if (!code || !message)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "declaw-unpack gave no understandable result");
	for (const char *c = message; *c; c++) {
		if (*c < ' ' || *c > '~')
			message = "the archive can not be unpacked";
	}
	for (size_t i = 0; i < DW_COUNT(known); i++) {
		if (strcmp(known[i].code, code) == 0)
			return dw_err_set(err, known[i].kind, code, "%s", message);
	}
	return dw_err_set(err, DW_ERR_INTERNAL, "internal", "%s", message);
}

static int number(const json_t *j, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(j, key);
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return -1;
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

int unpack_report_parse(const char *text, size_t n, struct unpack_counts *ret, struct dw_err *err)
{
	auto_json json_t *j = NULL;
	struct unpack_counts c;
	if (jsonx_parse_object(text, n, &j, NULL) < 0 || number(j, "files", &c.files) < 0 ||
	    number(j, "dirs", &c.dirs) < 0 || number(j, "links", &c.links) < 0 || number(j, "bytes", &c.bytes) < 0 ||
	    number(j, "dropped", &c.dropped) < 0 || number(j, "dropped_links", &c.dropped_links) < 0 ||
	    number(j, "dropped_kinds", &c.dropped_kinds) < 0 || number(j, "dropped_paths", &c.dropped_paths) < 0 ||
	    number(j, "dropped_conflicts", &c.dropped_conflicts) < 0 || !json_object_get(j, "error"))
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "declaw-unpack gave no understandable result");
	if (!json_is_null(json_object_get(j, "error")))
		return report_error(json_object_get(j, "error"), err);
	*ret = c;
	return 0;
}

/* Reads until it closes its output, which is when it ends. */
static int read_report(struct unpack_run *u, char buf[static DAEMON_UNPACK_REPORT], size_t *ret_n, struct dw_err *err)
{
	const int64_t until = clock_mono_ms() + DAEMON_UNPACK_FINISH_MS;
	size_t n = 0;
	for (;;) {
		if (wait_for(u, u->out_fd, POLLIN, until, err) < 0)
			return -1;
		ssize_t got = read(u->out_fd, buf + n, DAEMON_UNPACK_REPORT - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
		if (n == DAEMON_UNPACK_REPORT)
			break;
	}
	*ret_n = n;
	return 0;
}

int unpack_finish(struct unpack_run *u, struct unpack_counts *ret, struct dw_err *err)
{
	char buf[DAEMON_UNPACK_REPORT];
	size_t n = 0;
	int status = 0;
	if (u->in_fd >= 0)
		close(DW_TAKE_FD(u->in_fd));
	if (read_report(u, buf, &n, err) < 0)
		return -1;
	/* One that has closed its output without ending was taken over. To one that is ending this does nothing. */
	kill(u->pid, SIGKILL);
	while (waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
		;
	u->pid = 0;
	if (unpack_report_parse(buf, n, ret, err) < 0)
		return -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "declaw-unpack ended with status %d", status);
	return disk_room_check(u->dir_fd, err);
}

void unpack_free(struct unpack_run *u)
{
	if (!u)
		return;
	if (u->in_fd >= 0)
		close(u->in_fd);
	if (u->out_fd >= 0)
		close(u->out_fd);
	if (u->dir_fd >= 0)
		close(u->dir_fd);
	if (u->pid > 0) {
		kill(u->pid, SIGKILL);
		while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	atomic_fetch_sub(&running, 1);
	free(u);
}
