/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define SKIP 77

static int control = -1;
static pid_t child_pid;
bool drive_is_pid1;

static const char passwd_text[] = "root:x:0:0:root:/root:/bin/bash\n"
				  "user:x:1000:1000:User:/home/user:/bin/bash\n"
				  "other:x:1001:1001::/home/other:\n"
				  "homeless:x:1002:1002::/home/nowhere:/bin/sh\n"
				  "minus:x:-1:1000::/:/bin/sh\n"
				  "keep:x:4294967295:1000::/:/bin/sh\n"
				  "hex:x:0x0:0::/:/bin/sh\n"
				  "short:x:0:0\n"
				  "1234:x:0:0::/:/bin/sh\n";
static const char group_text[] = "root:x:0:\nuser:x:1000:\nextra:x:2000:root,user\nnotus:x:2001:users,use\n";

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

/* All of it is in a mount namespace that ends with the agent. */
static int make_world(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", "/home", "tmpfs", 0, "mode=755") != 0 ||
	    mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777") != 0)
		return -1;
	if (put("/tmp/passwd", passwd_text) != 0 || put("/tmp/group", group_text) != 0 ||
	    mount("/tmp/passwd", "/etc/passwd", NULL, MS_BIND, NULL) != 0 ||
	    mount("/tmp/group", "/etc/group", NULL, MS_BIND, NULL) != 0)
		return -1;
	if (mkdir("/home/user", 0755) != 0 || chown("/home/user", 1000, 1000) != 0 ||
	    mkdir("/home/closed", 0700) != 0 || mkdir("/tmp/small", 0755) != 0 ||
	    mount("tmpfs", "/tmp/small", "tmpfs", 0, "mode=1777,size=1m") != 0)
		return -1;
	char pts[64];
	snprintf(pts, sizeof(pts), "newinstance,ptmxmode=0666,mode=0620,gid=5,max=%d", DRIVE_TTYS);
	if (mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, pts) != 0)
		return -1;
	return drive_is_pid1 ? mount("proc", "/proc", "proc", 0, NULL) : 0;
}

static _Noreturn void become_agent(int agent_fd, int sock)
{
	char *argv[] = { (char[]){ "declaw-agent" }, NULL };
	char *envp[] = { (char[]){ "SECRET=agent" }, (char[]){ "ASAN_OPTIONS=detect_leaks=0" }, NULL };
	if (make_world() != 0 || dup2(sock, DW_AGENT_CONTROL_FD) < 0)
		_exit(SKIP);
	/* A descriptor that the agent has to close. */
	DW_IGNORE(open("/", O_RDONLY | O_DIRECTORY));
	fexecve(agent_fd, argv, envp);
	_exit(1);
}

static _Noreturn void start_child(int agent_fd, int sock)
{
	close(control); /* the agent has to see the test hang up */
	if (unshare(CLONE_NEWNS | (drive_is_pid1 ? CLONE_NEWPID : 0)) != 0)
		_exit(SKIP);
	if (!drive_is_pid1)
		become_agent(agent_fd, sock);
	pid_t pid = fork();
	if (pid == 0)
		become_agent(agent_fd, sock);
	close(sock);
	int status = 0;
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		_exit(1);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int drive_start(const char *agent, bool pid1)
{
	drive_is_pid1 = pid1;
	int agent_fd = fcntl(open(agent, O_RDONLY | O_CLOEXEC), F_DUPFD_CLOEXEC, 10);
	int pair[2];
	if (agent_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return 1;
	control = pair[0];
	child_pid = fork();
	if (child_pid == 0)
		start_child(agent_fd, fcntl(pair[1], F_DUPFD_CLOEXEC, 10));
	close(pair[1]);
	close(agent_fd);
	char r = 0;
	if (recv(control, &r, 1, 0) == 1 && r == 'R')
		return 0;
	int status = drive_stop();
	return WIFEXITED(status) && WEXITSTATUS(status) == SKIP ? SKIP : 1;
}

int drive_stop(void)
{
	int status = -1;
	close(control);
	waitpid(child_pid, &status, 0);
	return status;
}

int drive_control(void)
{
	return control;
}

int op_open(void)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} c = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	memcpy(CMSG_DATA(&c.head), &pair[1], sizeof(int));
	char what = 'O';
	struct iovec iov = { &what, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	assert_int_equal(sendmsg(control, &m, 0), 1);
	close(pair[1]);
	return pair[0];
}

void op_send_raw(int sock, const void *p, size_t n)
{
	const uint8_t *at = p;
	while (n) {
		ssize_t done = send(sock, at, n, MSG_NOSIGNAL);
		/* The agent may have ended the operation already; what it answered tells. */
		if (done < 0)
			return;
		at += done;
		n -= (size_t)done;
	}
}

void op_send(int sock, uint8_t type, const void *payload, size_t n)
{
	uint8_t head[DW_AGENTP_HEADER];
	dw_agentp_header_build(head, type, (uint32_t)n);
	op_send_raw(sock, head, sizeof(head));
	op_send_raw(sock, payload, n);
}

static struct dw_span span_of(const char *s)
{
	return s ? (struct dw_span){ (const uint8_t *)s, strlen(s) } : (struct dw_span){ NULL, 0 };
}

void op_exec(int sock, const struct command *c)
{
	static struct dw_agentp_exec e;
	static uint8_t payload[DW_AGENTP_FRAME_MAX];
	e = (struct dw_agentp_exec){
		.with_stdin = c->with_stdin,
		.timeout_ms = c->timeout_ms,
		.user = span_of(c->user),
		.cwd = span_of(c->cwd),
		.cmd = span_of(c->cmd),
		.program = c->program,
		.cols = c->cols,
		.rows = c->rows,
	};
	for (; c->args[e.arg_n]; e.arg_n++)
		e.arg[e.arg_n] = span_of(c->args[e.arg_n]);
	for (; c->env[e.env_n]; e.env_n++) {
		const char *text = c->env[e.env_n], *eq = strchr(text, '=');
		e.env[e.env_n].key = (struct dw_span){ (const uint8_t *)text, (size_t)(eq - text) };
		e.env[e.env_n].value = span_of(eq + 1);
	}
	size_t n = dw_agentp_exec_build(&e, payload, sizeof(payload));
	assert_true(n > 0);
	op_send(sock, DW_AGENTP_EXEC, payload, n);
}

void op_file(int sock, uint8_t type, const char *user, const char *path)
{
	uint8_t payload[16384];
	size_t n = dw_agentp_file_build(span_of(user), span_of(path), payload, sizeof(payload));
	assert_true(n > 0);
	op_send(sock, type, payload, n);
}

static void append(struct bytes *b, struct dw_span s)
{
	b->p = realloc(b->p, b->n + s.n + 1);
	assert_non_null(b->p);
	if (s.n)
		memcpy(b->p + b->n, s.p, s.n);
	b->n += s.n;
	b->p[b->n] = '\0';
}

static void take_error(struct answer *a, struct dw_span payload)
{
	struct dw_span message;
	assert_int_equal(dw_agentp_error_parse(payload, &a->number, &message), DW_PARSE_OK);
	a->errors++;
	snprintf(a->message, sizeof(a->message), "%.*s", (int)message.n, (const char *)message.p);
}

static void take_frame(struct answer *a, const struct dw_agentp_frame *f)
{
	struct dw_rd r = dw_rd_init(f->payload.p, f->payload.n, false);
	/* Output comes between STARTED and the final frame, and nothing comes after that one. */
	assert_int_equal(a->exits + a->ends + a->wrote_frames + a->errors, 0);
	assert_true(f->payload.n <= DW_AGENTP_CHUNK);
	if (f->type == DW_AGENTP_STDOUT || f->type == DW_AGENTP_STDERR || f->type == DW_AGENTP_EXIT)
		assert_int_equal(a->started, 1);
	if (f->type == DW_AGENTP_STARTED) {
		a->pid = dw_rd_u32(&r);
		a->started++;
	} else if (f->type == DW_AGENTP_CONNECTED) {
		assert_int_equal(f->payload.n, 0);
		a->connected++;
	} else if (f->type == DW_AGENTP_STDOUT) {
		append(&a->out, f->payload);
	} else if (f->type == DW_AGENTP_STDERR) {
		append(&a->err, f->payload);
	} else if (f->type == DW_AGENTP_DATA) {
		append(&a->data, f->payload);
	} else if (f->type == DW_AGENTP_EXIT) {
		struct dw_agentp_exit e;
		assert_int_equal(dw_agentp_exit_parse(f->payload, &e), DW_PARSE_OK);
		a->code = e.code;
		a->timed_out = e.timed_out;
		a->by_signal = e.by_signal;
		a->exits++;
	} else if (f->type == DW_AGENTP_END) {
		a->ends++;
	} else if (f->type == DW_AGENTP_WROTE) {
		a->wrote = (uint64_t)dw_rd_u32(&r) << 32;
		a->wrote |= dw_rd_u32(&r);
		assert_true(dw_rd_done(&r));
		a->wrote_frames++;
	} else if (f->type == DW_AGENTP_ERROR) {
		take_error(a, f->payload);
	} else {
		fail_msg("unexpected frame type %u", f->type);
	}
}

static struct answer read_answer(int sock, struct answer a)
{
	append(&a.out, (struct dw_span){ NULL, 0 });
	append(&a.err, (struct dw_span){ NULL, 0 });
	append(&a.data, (struct dw_span){ NULL, 0 });
	size_t cap = 2 * (DW_AGENTP_HEADER + DW_AGENTP_CHUNK), n = 0;
	uint8_t *buf = malloc(cap);
	assert_non_null(buf);
	for (ssize_t got; (got = recv(sock, buf + n, cap - n, 0)) > 0;) {
		n += (size_t)got;
		size_t at = 0;
		struct dw_agentp_frame f;
		enum dw_parse res;
		while ((res = dw_agentp_frame_parse(buf + at, n - at, &f)) == DW_PARSE_OK) {
			take_frame(&a, &f);
			at += f.frame_n;
		}
		assert_int_equal(res, DW_PARSE_MORE);
		n -= at;
		memmove(buf, buf + at, n);
	}
	a.clean = n == 0;
	free(buf);
	close(sock);
	return a;
}

struct answer op_answer(int sock)
{
	return read_answer(sock, (struct answer){ 0 });
}

struct answer op_rest(int sock)
{
	return read_answer(sock, (struct answer){ .started = 1 });
}

uint8_t op_next_type(int sock)
{
	static uint8_t buf[DW_AGENTP_HEADER + DW_AGENTP_CHUNK];
	assert_int_equal(recv(sock, buf, DW_AGENTP_HEADER, MSG_WAITALL), DW_AGENTP_HEADER);
	struct dw_rd r = dw_rd_init(buf, DW_AGENTP_HEADER, false);
	uint32_t n = dw_rd_u32(&r);
	uint8_t type = dw_rd_u8(&r);
	if (n)
		assert_int_equal(recv(sock, buf, n, MSG_WAITALL), n);
	return type;
}

void op_wait_for(int sock, uint8_t type)
{
	while (op_next_type(sock) != type)
		;
}

/* Where it ends in text; NULL when it is not there. */
static const char *behind(const char *text, const char *what)
{
	const char *p = text ? strstr(text, what) : NULL;
	return p ? p + strlen(what) : NULL;
}

void op_expect_both(int sock, const char *text, const char *then)
{
	static char seen[1u << 20];
	static uint8_t payload[DW_AGENTP_CHUNK];
	size_t n = 0;
	/* What was not seen within this is not coming. */
	const struct timeval patience = { .tv_sec = 10 }, none = { 0 };
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	for (seen[0] = '\0'; !behind(behind(seen, text), then);) {
		uint8_t head[DW_AGENTP_HEADER];
		if (recv(sock, head, sizeof(head), MSG_WAITALL) != sizeof(head))
			fail_msg("\"%s%s\" did not come, but \"%s\"", text, then, seen);
		struct dw_rd r = dw_rd_init(head, sizeof(head), false);
		uint32_t payload_n = dw_rd_u32(&r);
		uint8_t type = dw_rd_u8(&r);
		assert_true(payload_n <= sizeof(payload));
		if (payload_n)
			assert_int_equal(recv(sock, payload, payload_n, MSG_WAITALL), payload_n);
		if (type != DW_AGENTP_STDOUT)
			continue;
		assert_true(n + payload_n < sizeof(seen));
		memcpy(seen + n, payload, payload_n);
		n += payload_n;
		seen[n] = '\0';
	}
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)), 0);
}

void op_expect(int sock, const char *text)
{
	op_expect_both(sock, text, "");
}

void answer_free(struct answer *a)
{
	free(a->out.p);
	free(a->err.p);
	free(a->data.p);
	*a = (struct answer){ 0 };
}

struct answer run(const struct command *c)
{
	int sock = op_open();
	op_exec(sock, c);
	return op_answer(sock);
}

static struct answer run_root(const char *fmt, va_list ap) DW_PRINTF(1, 0);
static struct answer run_root(const char *fmt, va_list ap)
{
	char cmd[2048];
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	return run(&(struct command){ .cmd = cmd, .user = "root" });
}

char *root_text(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct answer a = run_root(fmt, ap);
	va_end(ap);
	assert_int_equal(a.exits, 1);
	if (a.code != 0)
		fail_msg("%s: exit code %u: %s", fmt, a.code, (const char *)a.err.p);
	char *text = (char *)DW_TAKE(a.out.p);
	answer_free(&a);
	return text;
}

void wait_until(const char *fmt, ...)
{
	for (uint64_t end = now_ms() + 5000; now_ms() < end;) {
		va_list ap;
		va_start(ap, fmt);
		struct answer a = run_root(fmt, ap);
		va_end(ap);
		bool ok = a.exits && a.code == 0;
		answer_free(&a);
		if (ok)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	fail_msg("never became true: %s", fmt);
}

void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

unsigned agent_peak_kib(void)
{
	char *text = root_text("grep VmHWM /proc/$PPID/status | tr -dc 0-9");
	const unsigned kib = SANITIZED ? 0 : (unsigned)atoi(text);
	free(text);
	return kib;
}

void assert_agent_idle(void)
{
	wait_until("[ $(ls /proc/$PPID/fd | wc -l) -le 13 ]");
}

uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
