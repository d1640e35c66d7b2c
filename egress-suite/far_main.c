/* SPDX-License-Identifier: Apache-2.0 */
#include "far.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct far far_state;

int far_watch(struct far_watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	return epoll_ctl(far_state.epoll, EPOLL_CTL_ADD, w->fd, &e);
}

int far_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void far_log(const char *what, const struct eg_addr *addr, uint16_t port, const struct eg_addr *src, const char *nonce,
	     const char *extra)
{
	char text[INET6_ADDRSTRLEN];
	struct eg_buf b = { 0 };

	eg_text(&b, "{\"time\": %.6f, \"what\": \"%s\"", eg_wall(), what);
	if (addr)
		eg_text(&b, ", \"addr\": \"%s\", \"port\": %u", eg_addr_text(addr, text), port);
	if (src)
		eg_text(&b, ", \"src\": \"%s\"", eg_addr_text(src, text));
	if (nonce && *nonce)
		eg_text(&b, ", \"nonce\": \"%s\"", nonce);
	eg_text(&b, "%s}\n", extra ? extra : "");
	for (size_t at = 0; at < b.n;) { /* a reader that is slow must not lose a line */
		ssize_t n = write(STDOUT_FILENO, b.p + at, b.n - at);
		if (n < 0 && errno != EINTR)
			_exit(1);
		at += n > 0 ? (size_t)n : 0;
	}
	eg_free(&b);
}

static int usage(void)
{
	fprintf(stderr, "usage: egress-far --config FILE [--KEY VALUE ...]\n"
			"The far side of the egress suite: prints one JSON line for everything that reaches it.\n"
			"Keys: a1 a2 a3 a4 many private metadata resolver (with _6 for IPv6), device, allowed, narrow, "
			"wild, evil, "
			"cotenant\n");
	return 2;
}

static int configure(struct eg_config *c, int argc, char **argv)
{
	eg_config_init(c);
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strncmp(argv[i], "--", 2) != 0)
			return -1;
		if (strcmp(argv[i], "--config") == 0 ? eg_config_read(c, argv[i + 1]) < 0
						     : !eg_config_set(c, argv[i] + 2, argv[i + 1]))
			return -1;
	}
	return argc % 2 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	struct rlimit files;

	if (argc < 2 || configure(&far_state.config, argc, argv) < 0)
		return usage();
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	far_state.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (far_state.epoll < 0 || far_packets_start() < 0 || far_dns_start() < 0 || far_udp_start() < 0 ||
	    far_tcp_start() < 0) {
		fprintf(stderr, "egress-far: %s\n", strerror(errno));
		return 1;
	}
	far_log("ready", NULL, 0, NULL, NULL, NULL);
	for (;;) {
		int n = epoll_wait(far_state.epoll, events, EG_COUNT(events), -1);
		for (int i = 0; i < n; i++) {
			struct far_watch *w = events[i].data.ptr;
			w->on(w, events[i].events);
		}
	}
}
