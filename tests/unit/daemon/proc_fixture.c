/* SPDX-License-Identifier: Apache-2.0 */
#include "proc_fixture.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "daemon/clock.h"

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sandbox *s = calloc(1, sizeof(*s));
	struct dw_err err = { 0 };
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pthread_mutex_init(&f->m.lock, NULL);
	pthread_cond_init(&f->m.change, NULL);
	f->control = pair[1];
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	s->m = &f->m;
	s->refs = 1;
	s->agent_fd = pair[0];
	s->network.policy_fd = -1;
	s->record.state = RECORD_RUNNING;
	s->record.doc = record_doc_new();
	s->record.doc->envs = json_object();
	snprintf(s->record.id, sizeof(s->record.id), "sbx-1");
	pthread_mutex_init(&s->gate_lock, NULL);
	manager_link(s);
	assert_int_equal(procs_new(&f->procs, &err), 0);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;
	struct sandbox *s = manager_find(&f->m, "sbx-1");
	procs_free(f->procs);
	/* Everything was given back. */
	assert_int_equal(s->refs, 1);
	assert_int_equal(s->ops, 0);
	assert_int_equal(s->output_held, 0);
	manager_unlink(s);
	manager_unref(s);
	close(f->control);
	close(f->stop_fd);
	free(f);
	return 0;
}

/* What the agent of the next start does with its end. */
struct script {
	struct fixture *f;
	const char *bytes;
	size_t n;
	int fd; /* the agent's end, afterwards */
};

static void *play(void *arg)
{
	struct script *s = arg;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space;
	char letter;
	struct iovec iov = { &letter, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof(space.bytes)
	};
	assert_int_equal(recvmsg(s->f->control, &m, MSG_CMSG_CLOEXEC), 1);
	memcpy(&s->fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(s->fd));
	static uint8_t request[DW_AGENTP_FRAME_MAX];
	assert_int_equal(recv(s->fd, request, DW_AGENTP_HEADER, MSG_WAITALL), DW_AGENTP_HEADER);
	const size_t rest = (size_t)request[1] << 16 | (size_t)request[2] << 8 | request[3];
	assert_int_equal(recv(s->fd, request, rest, MSG_WAITALL), (ssize_t)rest);
	assert_int_equal(send(s->fd, s->bytes, s->n, MSG_NOSIGNAL), (ssize_t)s->n);
	return NULL;
}

int start_command(struct fixture *f, enum proc_kind kind, const char *cmd, const json_t *envs, const char *bytes,
		  size_t n, struct proc **ret, int *ret_fd, struct dw_err *err)
{
	struct script s = { .f = f, .bytes = bytes, .n = n, .fd = -1 };
	const struct agent_command c = { .cmd = cmd, .user = "user", .cwd = "", .envs = envs, .with_stdin = true };
	const struct proc_spec spec = { .kind = kind, .command = &c };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, play, &s), 0);
	const int r = procs_start(f->procs, &f->m, "sbx-1", -1, f->stop_fd, &spec, ret, err);
	pthread_join(thread, NULL);
	*ret_fd = s.fd;
	return r;
}

int start(struct fixture *f, enum proc_kind kind, const char *bytes, size_t n, struct proc **ret, int *ret_fd,
	  struct dw_err *err)
{
	return start_command(f, kind, "x", NULL, bytes, n, ret, ret_fd, err);
}

struct proc_end wait_end(struct proc *p)
{
	struct proc_waiter w;
	struct proc_end end = { 0 };
	struct dw_err err = { 0 };
	const int64_t until = clock_mono_ms() + 20000;
	assert_int_equal(proc_waiter_open(&w, p, &err), 0);
	while (!proc_end(&w, &end))
		assert_int_equal(proc_wait(&w, -1, -1, until), PROC_WAIT_NEWS);
	proc_waiter_close(&w);
	return end;
}
