/* SPDX-License-Identifier: Apache-2.0 */
#include "control_fixture.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "gate/control.h"
#include "proto/gatep.h"

static char received[DW_GATEP_MAX + 1];

/* One datagram as text; NULL when there is none. */
const char *receive(struct fixture *f)
{
	ssize_t n = recv(f->daemon, received, sizeof(received) - 1, MSG_DONTWAIT);

	if (n < 0)
		return NULL;
	received[n] = '\0';
	return received;
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct dw_err err = { 0 };
	int sv[2];

	assert_non_null(f);
	f->g = test_gate_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	f->daemon = sv[0];
	f->g->config.control_fd = sv[1];
	assert_int_equal(gate_control_init(f->g, &err), 0);
	assert_non_null(strstr(receive(f), "\"event\":\"ready\""));
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	gate_control_done(f->g);
	close(f->g->config.control_fd);
	close(f->daemon);
	for (const char *const *id = (const char *const[]){ "one", "two", NULL }; *id; id++) {
		if (gate_sandbox_by_id(f->g, *id))
			gate_sandbox_detach(f->g, gate_sandbox_by_id(f->g, *id));
	}
	test_gate_free(f->g);
	free(f);
	return 0;
}

void send_fds(struct fixture *f, const char *text, size_t n, const int *fds, size_t fd_n)
{
	char space[CMSG_SPACE(sizeof(int) * 8)] __attribute__((aligned(8))) = { 0 };
	char *copy = strndup(text, n);
	struct iovec iov = { .iov_base = copy, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert_non_null(copy);
	if (fd_n) {
		struct cmsghdr *h;

		m.msg_control = space;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_n);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int) * fd_n);
		memcpy(CMSG_DATA(h), fds, sizeof(int) * fd_n);
	}
	assert_int_equal(sendmsg(f->daemon, &m, 0), (ssize_t)n);
	free(copy);
}

/* Sends one request and returns its answer. */
json_t *ask_fds(struct fixture *f, const char *text, const int *fds, size_t fd_n)
{
	const char *answer;
	json_t *o;

	send_fds(f, text, strlen(text), fds, fd_n);
	test_turn(f->g);
	answer = receive(f);
	assert_non_null(answer);
	o = json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	return o;
}

json_t *ask(struct fixture *f, const char *text, int fd)
{
	return ask_fds(f, text, &fd, fd >= 0 ? 1 : 0);
}

int policy_fd(const char *name, unsigned int seals)
{
	const char *const allow[] = { name, NULL };
	struct test_policy t = test_policy(allow, NULL, false);
	int fd = memfd_create("policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, t.image, t.image_n), (ssize_t)t.image_n);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	dw_policy_close(t.policy);
	munmap(t.image, t.image_n);
	return fd;
}

void expect_ok(json_t *o, json_int_t seq)
{
	if (!json_is_true(json_object_get(o, "ok")))
		fail_msg("not ok: %s", json_string_value(json_object_get(o, "message")));
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), seq);
	json_decref(o);
}

void expect_error(json_t *o, json_int_t seq, const char *code)
{
	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), seq);
	assert_string_equal(json_string_value(json_object_get(o, "code")), code);
	assert_true(json_string_length(json_object_get(o, "message")) > 0);
	json_decref(o);
}

void attach_one(struct fixture *f)
{
	int fd = policy_fd("example.com", SEALS);

	expect_ok(ask(f, ATTACH("1", "one", "100.112.1.1", "fd64:6377::6470:101"), fd), 1);
	close(fd);
}
