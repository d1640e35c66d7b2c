/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load of datagrams for tools/bench: requests of which a fixed number is always under way.
 *
 *   load serve ADDR PORT                      sends every datagram back where it came from
 *   load echo ADDR PORT N WINDOW SIZE         N datagrams of SIZE bytes to such a server
 *   load dns ADDR PORT N WINDOW NAMES SUFFIX  N queries for n0.SUFFIX, n1.SUFFIX, ... in turn, NAMES different ones
 *
 * Prints seconds, how many requests had to be sent again, how many answers were no good, and then a line for each
 * request: its microseconds. IPv4 only.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_MAX 256u
#define SIZE_MAX_  1400u
#define LOST_MS    250

struct job {
	int fd;
	unsigned n, window, size, names;
	const char *suffix; /* NULL: echo */
};

struct slot {
	uint16_t id;
	unsigned turn;
	double sent;
	unsigned char packet[SIZE_MAX_];
	size_t packet_n;
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static size_t put_label(unsigned char *p, const char *s, size_t n)
{
	p[0] = (unsigned char)n;
	memcpy(p + 1, s, n);
	return n + 1;
}

static size_t build_query(const struct job *j, unsigned number, unsigned char *p)
{
	char first[16];
	size_t n = 12;
	memset(p, 0, 12);
	p[2] = 1; /* recursion desired */
	put16(p + 4, 1);
	n += put_label(p + n, first, (size_t)snprintf(first, sizeof(first), "n%u", number % j->names));
	for (const char *s = j->suffix; *s;) {
		size_t len = strcspn(s, ".");
		n += put_label(p + n, s, len);
		s += len + (s[len] == '.');
	}
	p[n++] = 0;
	put16(p + n, 1);
	put16(p + n + 2, 1);
	return n + 4;
}

static void send_slot(const struct job *j, struct slot *s)
{
	/* A refusal by ICMP shows on the next call; what is lost is sent again. */
	if (send(j->fd, s->packet, s->packet_n, 0) < 0 && send(j->fd, s->packet, s->packet_n, 0) < 0)
		die("send");
}

static void start(const struct job *j, struct slot *s, unsigned index, unsigned number)
{
	/* Another one each time, which tells the slot: a late answer to an earlier request is not taken for this one's. */
	s->id = (uint16_t)(index + j->window * (s->turn++ % (65536 / j->window)));
	s->packet_n = j->suffix ? build_query(j, number, s->packet) : j->size;
	put16(s->packet, s->id);
	s->sent = now();
	send_slot(j, s);
}

static bool good(const struct job *j, const unsigned char *p, size_t n, const struct slot *s)
{
	if (!j->suffix)
		return n == s->packet_n;
	return n > 12 && (p[3] & 15) == 0 && (p[6] || p[7]);
}

static int run(const struct job *j)
{
	static struct slot slot[WINDOW_MAX];
	float *took = calloc(j->n, sizeof(*took));
	unsigned begun = 0, done = 0, again = 0, wrong = 0;
	unsigned char p[65536];
	if (!took)
		die("calloc");
	const double first = now();
	for (; begun < j->window && begun < j->n; begun++)
		start(j, &slot[begun], begun, begun);
	while (done < j->n) {
		struct pollfd pfd = { .fd = j->fd, .events = POLLIN };
		ssize_t got = recv(j->fd, p, sizeof(p), MSG_DONTWAIT);
		if (got < 0 && poll(&pfd, 1, LOST_MS) == 0) {
			if (++again > 40)
				break;
			for (unsigned i = 0; i < j->window; i++) {
				if (slot[i].packet_n)
					send_slot(j, &slot[i]);
			}
		}
		if (got < 2)
			continue;
		const unsigned id = (unsigned)p[0] << 8 | p[1], i = id % j->window;
		struct slot *s = &slot[i];
		if (s->id != id || !s->packet_n)
			continue;
		took[done++] = (float)((now() - s->sent) * 1e6);
		wrong += !good(j, p, (size_t)got, s);
		s->packet_n = 0;
		if (begun < j->n)
			start(j, s, i, begun++);
	}
	printf("%.6f %u %u\n", now() - first, again, wrong + (j->n - done));
	for (unsigned k = 0; k < done; k++)
		printf("%.1f\n", (double)took[k]);
	free(took);
	return fflush(stdout) == 0 ? 0 : 1;
}

static _Noreturn void serve(int fd)
{
	unsigned char p[65536];
	for (;;) {
		struct sockaddr_in peer;
		socklen_t peer_n = sizeof(peer);
		ssize_t n = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&peer, &peer_n);
		if (n >= 0 && sendto(fd, p, (size_t)n, 0, (struct sockaddr *)&peer, peer_n) < 0)
			perror("sendto");
	}
}

static unsigned number(const char *s, unsigned max)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);
	if (*end || v == 0 || v > max) {
		fprintf(stderr, "load: %s is not a number from 1 to %u\n", s, max);
		exit(2);
	}
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const int buffer = 4 << 20;
	if (argc < 4 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)
		return 2;
	to.sin_port = htons((uint16_t)number(argv[3], 65535));
	struct job j = { .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
	if (j.fd < 0)
		die("socket");
	setsockopt(j.fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	if (strcmp(argv[1], "serve") == 0 && argc == 4) {
		if (bind(j.fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			die("bind");
		serve(j.fd);
	}
	const bool dns = strcmp(argv[1], "dns") == 0 && argc == 8;
	if (!dns && !(strcmp(argv[1], "echo") == 0 && argc == 7))
		return 2;
	j.n = number(argv[4], 10000000);
	j.window = number(argv[5], WINDOW_MAX);
	if (dns) {
		j.names = number(argv[6], 10000);
		j.suffix = argv[7];
	} else {
		j.size = number(argv[6], SIZE_MAX_);
	}
	if (strlen(argv[argc - 1]) > 200 || connect(j.fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	return run(&j);
}
