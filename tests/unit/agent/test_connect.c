/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to ports. The agent under test shares the network of this program, which is the server. */
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MIB (1u << 20)

/* A listening socket, and its port. */
static int listen_on(int family, int backlog, uint16_t *ret_port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { .any = { .sa_family = (sa_family_t)family } };
	const int one = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (family == AF_INET)
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.v6.sin6_addr = in6addr_loopback;
	if (family == AF_INET6)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	socklen_t n = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
	assert_int_equal(bind(fd, &a.any, n), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, &a.any, &n), 0);
	*ret_port = ntohs(a.v4.sin_port);
	return fd;
}

static int connect_to(uint16_t port)
{
	uint8_t payload[2];
	int sock = op_open();
	assert_int_equal(dw_agentp_connect_build(port, payload, sizeof(payload)), 2);
	op_send(sock, DW_AGENTP_CONNECT, payload, sizeof(payload));
	return sock;
}

/* A connection with both its ends. */
static int connected(int family, int *ret_server)
{
	uint16_t port;
	int listener = listen_on(family, 5, &port);
	int sock = connect_to(port);
	op_wait_for(sock, DW_AGENTP_CONNECTED);
	*ret_server = accept(listener, NULL, NULL);
	assert_true(*ret_server >= 0);
	close(listener);
	return sock;
}

static void write_all(int fd, const void *p, size_t n)
{
	for (const uint8_t *at = p; n;) {
		ssize_t done = send(fd, at, n, MSG_NOSIGNAL);
		if (done < 0)
			_exit(1);
		at += done;
		n -= (size_t)done;
	}
}

static const uint8_t *much(void)
{
	static uint8_t data[MIB];
	for (unsigned i = 0; i < MIB; i++)
		data[i] = (uint8_t)(i * 5 + i / 241);
	return data;
}

static void end(int sock)
{
	op_send(sock, DW_AGENTP_END, NULL, 0);
}

/* The server answers only after the end of what it is sent, so the half-close has to pass. */
static void serve_whole(int fd)
{
	static uint8_t got[MIB + 1];
	size_t n = 0;
	for (ssize_t k; (k = recv(fd, got + n, sizeof(got) - n, 0)) > 0;)
		n += (size_t)k;
	if (n == MIB)
		write_all(fd, got, n);
	_exit(0);
}

static void serve_echo(int fd)
{
	static uint8_t got[50000];
	for (ssize_t k; (k = recv(fd, got, sizeof(got), 0)) > 0;)
		write_all(fd, got, (size_t)k);
	_exit(0);
}

static void carries_both_ways(void **state)
{
	static void (*const servers[])(int fd) = { serve_whole, serve_echo };
	for (size_t i = 0; i < DW_COUNT(servers) * 2; i++) {
		int server;
		int sock = connected(i / 2 ? AF_INET6 : AF_INET, &server);
		if (fork() == 0)
			servers[i % 2](server);
		close(server);
		if (fork() == 0) {
			for (unsigned at = 0; at < MIB; at += MIB / 16)
				op_send(sock, DW_AGENTP_DATA, much() + at, MIB / 16);
			op_send(sock, DW_AGENTP_DATA, NULL, 0);
			end(sock);
			_exit(0);
		}
		struct answer a = op_answer(sock);
		assert_int_equal(a.data.n, MIB);
		assert_memory_equal(a.data.p, much(), MIB);
		assert_int_equal(a.ends, 1);
		assert_int_equal(a.errors, 0);
		assert_true(a.clean);
		answer_free(&a);
		for (int k = 0; k < 2; k++) {
			int status = -1;
			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
	}
}

static void says_when_nobody_listens(void **state)
{
	uint16_t port;
	close(listen_on(AF_INET, 1, &port));
	int sock = connect_to(port);
	struct answer a = op_answer(sock);
	assert_int_equal(a.connected, 0);
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, ECONNREFUSED);
	char text[16];
	snprintf(text, sizeof(text), "port %u", port);
	assert_non_null(strstr(a.message, text));
	answer_free(&a);
}

/* What comes with the request is kept until there is somebody to give it to. */
static void data_may_come_before_the_connection(void **state)
{
	uint16_t port;
	int listener = listen_on(AF_INET6, 5, &port);
	uint8_t frames[] = { 0,
			     0,
			     0,
			     2,
			     DW_AGENTP_CONNECT,
			     (uint8_t)(port >> 8),
			     (uint8_t)port,
			     0,
			     0,
			     0,
			     2,
			     DW_AGENTP_DATA,
			     'h',
			     'i',
			     0,
			     0,
			     0,
			     0,
			     DW_AGENTP_END };
	int sock = op_open();
	op_send_raw(sock, frames, sizeof(frames));
	int server = accept(listener, NULL, NULL);
	char got[8];
	assert_int_equal(recv(server, got, sizeof(got), MSG_WAITALL), 2);
	assert_memory_equal(got, "hi", 2);
	write_all(server, "ho", 2);
	close(server);
	close(listener);
	struct answer a = op_answer(sock);
	assert_int_equal(a.connected, 1);
	assert_int_equal(a.data.n, 2);
	assert_int_equal(a.ends, 1);
	answer_free(&a);
}

/* The server has said all; the other direction goes on until it ends as well. */
static void the_servers_end_leaves_the_other_direction_open(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	write_all(server, "bye", 3);
	assert_int_equal(shutdown(server, SHUT_WR), 0);
	op_wait_for(sock, DW_AGENTP_END);
	op_send(sock, DW_AGENTP_DATA, "late", 4);
	char got[8];
	assert_int_equal(recv(server, got, 4, MSG_WAITALL), 4);
	assert_memory_equal(got, "late", 4);
	end(sock);
	assert_int_equal(recv(server, got, 4, 0), 0);
	assert_int_equal(recv(sock, got, 4, 0), 0); /* over */
	close(sock);
	close(server);
}

static void shutting_down_behind_the_end_is_no_hang_up(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	end(sock);
	assert_int_equal(shutdown(sock, SHUT_WR), 0);
	char c;
	assert_int_equal(recv(server, &c, 1, 0), 0);
	write_all(server, much(), MIB);
	close(server);
	struct answer a = op_answer(sock);
	assert_int_equal(a.data.n, MIB);
	assert_int_equal(a.ends, 1);
	answer_free(&a);
}

static void reset_by(int server)
{
	const struct linger now = { .l_onoff = 1 };
	assert_int_equal(setsockopt(server, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(server);
}

static void a_reset_is_told(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	write_all(server, "abc", 3);
	op_wait_for(sock, DW_AGENTP_DATA);
	reset_by(server);
	struct answer a = op_answer(sock);
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, ECONNRESET);
	answer_free(&a);
	/* While it does not read, so that there is something to write that fails. */
	sock = connected(AF_INET, &server);
	pid_t writer = fork();
	if (writer == 0) {
		close(server);
		for (unsigned i = 0; i < 64; i++)
			op_send(sock, DW_AGENTP_DATA, much(), MIB);
		_exit(0);
	}
	sleep_ms(200);
	reset_by(server);
	a = op_answer(sock);
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, ECONNRESET);
	answer_free(&a);
	int status;
	assert_int_equal(waitpid(writer, &status, 0), writer);
}

/* It has closed for good: what is still sent there goes nowhere, and that ends the operation. */
static void sending_to_one_who_left_ends(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	write_all(server, "abc", 3);
	close(server);
	op_wait_for(sock, DW_AGENTP_END);
	uint64_t until = now_ms() + 5000;
	bool over = false;
	while (!over && now_ms() < until) {
		op_send(sock, DW_AGENTP_DATA, "more", 4);
		char c;
		over = recv(sock, &c, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
		sleep_ms(5);
	}
	assert_true(over);
	close(sock);
}

/* How much the operation's socket takes before it is full for half a second. */
static size_t send_until_full(int sock)
{
	uint8_t head[DW_AGENTP_HEADER];
	size_t n = 0;
	dw_agentp_header_build(head, DW_AGENTP_DATA, MIB);
	const struct timeval patience = { .tv_usec = 500000 };
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
	for (;;) {
		if (send(sock, head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
			return n;
		for (size_t at = 0; at < MIB;) {
			ssize_t k = send(sock, much() + at, MIB - at, MSG_NOSIGNAL);
			if (k <= 0)
				return n + at;
			at += (size_t)k;
		}
		n += MIB;
		assert_true(n < 64 * (size_t)MIB);
	}
}

static void a_server_that_does_not_read_stops_the_sender(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	size_t n = send_until_full(sock);
	print_message("taken before it stood still: %zu KiB\n", n / 1024);
	assert_true(n > 0);
	assert_true(agent_peak_kib() < 8192); /* and it answers */
	/* The other way still works. */
	write_all(server, "still here", 10);
	op_wait_for(sock, DW_AGENTP_DATA);
	/* The daemon leaves amid a frame: the server must not take what it has got for all. */
	close(sock);
	static uint8_t got[65536];
	ssize_t k;
	while ((k = recv(server, got, sizeof(got), 0)) > 0)
		;
	assert_int_equal(k, -1);
	assert_int_equal(errno, ECONNRESET);
	close(server);
}

static void a_daemon_that_does_not_read_stops_the_server(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	const struct timeval patience = { .tv_usec = 500000 };
	assert_int_equal(setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
	size_t n = 0;
	for (ssize_t k; (k = send(server, much(), MIB, MSG_NOSIGNAL)) > 0; n += (size_t)k)
		assert_true(n < 64 * (size_t)MIB);
	assert_true(n > 0);
	assert_true(agent_peak_kib() < 8192);
	/* The other way still works. */
	op_send(sock, DW_AGENTP_DATA, "question", 8);
	char got[8];
	assert_int_equal(recv(server, got, 8, MSG_WAITALL), 8);
	close(server);
	end(sock);
	struct answer a = op_answer(sock);
	assert_int_equal(a.data.n, n);
	answer_free(&a);
}

static void a_hang_up_is_a_reset(void **state)
{
	int server;
	int sock = connected(AF_INET, &server);
	op_send(sock, DW_AGENTP_DATA, "half", 4);
	char got[8];
	assert_int_equal(recv(server, got, 4, MSG_WAITALL), 4);
	close(sock);
	assert_int_equal(recv(server, got, 4, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(server);
	/* Shut down for writing without an END is one, too. */
	sock = connected(AF_INET, &server);
	assert_int_equal(shutdown(sock, SHUT_WR), 0);
	assert_int_equal(recv(server, got, 4, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(recv(sock, got, 4, 0), 0);
	close(sock);
	close(server);
}

static void other_frames_end_it(void **state)
{
	static const char *const frames[] = { "\0\0\0\1\4x", "\0\0\0\1\x11x", "\0\0\0\2\x0e\0\1", "\0\0\0\0\x7f",
					      "\x7f\0\0\0\x10" };
	for (size_t i = 0; i < DW_COUNT(frames); i++) {
		int server;
		int sock = connected(AF_INET, &server);
		op_send_raw(sock, frames[i], DW_AGENTP_HEADER + (size_t)frames[i][3]);
		struct answer a = op_answer(sock);
		assert_int_equal(a.errors + a.ends + a.data.n, 0);
		answer_free(&a);
		char c;
		assert_int_equal(recv(server, &c, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(server);
	}
}

/* A listener whose queue is full answers nothing at all. */
static int full_listener(uint16_t *ret_port, int filler[4])
{
	int fd = listen_on(AF_INET, 0, ret_port);
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(*ret_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (int i = 0; i < 4; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		int r = connect(filler[i], (struct sockaddr *)&a, sizeof(a));
		assert_true(r == 0 || errno == EINPROGRESS);
	}
	sleep_ms(50);
	return fd;
}

static void a_connection_that_hangs_has_an_end(void **state)
{
	uint16_t port;
	int filler[4];
	int listener = full_listener(&port, filler);
	close(connect_to(port)); /* given up while under way */
	int sock = connect_to(port);
	uint64_t before = now_ms();
	struct answer a = op_answer(sock);
	uint64_t took = now_ms() - before;
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, ETIMEDOUT);
	assert_true(took >= 9000 && took < 15000);
	answer_free(&a);
	for (int i = 0; i < 4; i++)
		close(filler[i]);
	close(listener);
}

static void leaves_nothing(void **state)
{
	assert_agent_idle();
}

const struct CMUnitTest connect_tests[] = {
	cmocka_unit_test(carries_both_ways),
	cmocka_unit_test(says_when_nobody_listens),
	cmocka_unit_test(data_may_come_before_the_connection),
	cmocka_unit_test(the_servers_end_leaves_the_other_direction_open),
	cmocka_unit_test(shutting_down_behind_the_end_is_no_hang_up),
	cmocka_unit_test(a_reset_is_told),
	cmocka_unit_test(sending_to_one_who_left_ends),
	cmocka_unit_test(a_server_that_does_not_read_stops_the_sender),
	cmocka_unit_test(a_daemon_that_does_not_read_stops_the_server),
	cmocka_unit_test(a_hang_up_is_a_reset),
	cmocka_unit_test(other_frames_end_it),
	cmocka_unit_test(a_connection_that_hangs_has_an_end),
	cmocka_unit_test(leaves_nothing),
};
const size_t connect_tests_n = DW_COUNT(connect_tests);
