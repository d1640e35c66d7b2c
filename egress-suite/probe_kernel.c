/* SPDX-License-Identifier: Apache-2.0 */
/* Section C: ways around that the kernel offers a process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static void control(struct eg_run *r)
{
	eg_connect(r, EG_CONTROL, eg_at(r, EG_A3), eg_port(r));
}

/* With full power inside, if there is any: routes, addresses, rules. What is outside must not change. */
static void reroute(struct eg_run *r)
{
	const uint64_t start = eg_now_ms();
	struct ifreq q = { .ifr_name = "eth0" };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in any = { .sin_family = AF_INET };
	int done = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	any.sin_addr.s_addr = htonl(0x64700001); /* a gateway to try */
	memcpy(&route.rt_gateway, &any, sizeof(any));
	any.sin_addr.s_addr = htonl(0xcb007163); /* 203.0.113.99 */
	memcpy(&q.ifr_addr, &any, sizeof(any));
	done += fd >= 0 && ioctl(fd, SIOCADDRT, &route) == 0;
	strcpy(q.ifr_name, "eth0:1");
	done += fd >= 0 && ioctl(fd, SIOCSIFADDR, &q) == 0;
	const int nft = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 12);
	eg_note(r, EG_DENIED, EG_UNAVAILABLE, done ? 0 : errno, start);
	eg_remark(r, EG_DENIED, "%d changes inside were taken, netfilter socket: %s", done, nft >= 0 ? "yes" : "no");
	if (nft >= 0)
		close(nft);
	if (fd >= 0)
		close(fd);
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
	eg_connect(r, EG_DENIED, eg_at(r, EG_METADATA), eg_port(r));
	control(r);
}

/* A network of one's own with a TUN in it; whatever comes of that still has to leave through the sandbox's link. */
static void nested(struct eg_run *r)
{
	const uint64_t start = eg_now_ms();
	struct ifreq q = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	const bool made = tun >= 0 && ioctl(tun, TUNSETIFF, &q) == 0;

	eg_note(r, EG_DENIED, EG_UNAVAILABLE, made ? 0 : errno, start);
	pid_t pid = fork();
	if (pid == 0) {
		const bool inside = unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 || unshare(CLONE_NEWNET) == 0;
		eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
		_exit(r->arm[EG_DENIED].worst >= EG_CONNECTED ? 2 : inside);
	}
	int status = 0;
	if (pid > 0)
		waitpid(pid, &status, 0);
	const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 2;
	eg_remark(r, EG_DENIED, "TUN: %s, new namespace: %s", made ? "yes" : "no", code == 1 ? "yes" : "no");
	eg_note(r, EG_DENIED, code == 2 ? EG_CONNECTED : EG_UNREACHABLE, 0, start);
	if (tun >= 0)
		close(tun);
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
	control(r);
}

/* One IORING_OP_CONNECT. Returns a negative errno where there is no ring, else the operation's result (or -ETIME). */
static int ring_connect(int sock, const struct sockaddr_storage *to, socklen_t n)
{
	struct io_uring_params p = { 0 };
	const int ring = (int)syscall(SYS_io_uring_setup, 2, &p);

	if (ring < 0)
		return -errno - 4096;
	const size_t sq_n = p.sq_off.array + p.sq_entries * sizeof(unsigned),
		     cq_n = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	uint8_t *sq = mmap(NULL, sq_n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	uint8_t *cq = mmap(NULL, cq_n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *e =
		mmap(NULL, p.sq_entries * sizeof(*e), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || (void *)e == MAP_FAILED) {
		close(ring);
		return -ENOMEM - 4096;
	}
	e[0] = (struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = sock, .addr = (uintptr_t)to, .off = n };
	unsigned zero = 0, tail;
	memcpy(sq + p.sq_off.array, &zero, sizeof(zero));
	memcpy(&tail, sq + p.sq_off.tail, sizeof(tail));
	__atomic_store_n((unsigned *)(void *)(sq + p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	int result = -ETIMEDOUT;
	if (syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) < 0)
		result = -errno - 4096;
	struct pollfd wait = { .fd = ring, .events = POLLIN };
	if (result == -ETIMEDOUT && poll(&wait, 1, 800) > 0)
		memcpy(&result, cq + p.cq_off.cqes + offsetof(struct io_uring_cqe, res), sizeof(result));
	munmap(sq, sq_n);
	munmap(cq, cq_n);
	close(ring);
	return result;
}

static void io_uring(struct eg_run *r)
{
	const struct eg_addr *to = eg_at(r, EG_A2);
	struct sockaddr_storage s;
	const socklen_t n = eg_addr_sock(to, eg_port(r), &s);
	const uint64_t start = eg_now_ms();
	int fd = socket(r->six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	eg_aim_ip(r, IPPROTO_TCP, to, eg_port(r));
	const int result = ring_connect(fd, &s, n);
	if (result <= -4096)
		eg_note(r, EG_DENIED, EG_UNAVAILABLE, -result - 4096, start);
	else
		eg_note(r, EG_DENIED, result == 0 ? EG_CONNECTED : eg_of_errno(-result), -result, start);
	if (fd >= 0)
		close(fd);
	control(r);
}

/* Abstract sockets are named by the network namespace: those of the host have no place in it. */
static void abstract_sockets(struct eg_run *r)
{
	static const char *const names[] = { "/tmp/.X11-unix/X0",
					     "/tmp/dbus-system",
					     "/org/kernel/linux/storage/multipathd",
					     "/containerd-shim/moby/shim.sock",
					     "ISCSIADM_ABSTRACT_NAMESPACE",
					     "/com/ubuntu/upstart" };
	const uint64_t start = eg_now_ms();
	char line[512];
	unsigned listed = 0;
	FILE *f = fopen("/proc/net/unix", "re");

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strchr(line, '@');
		unsigned flags = 0;
		const char *fields = strchr(line, ':');
		if (fields && strlen(fields) > 19)
			flags = (unsigned)strtoul(fields + 19, NULL, 16);
		listed += at && flags & 0x10000; /* listening */
	}
	if (f)
		fclose(f);
	eg_note(r, EG_DENIED, listed ? EG_CONNECTED : EG_UNAVAILABLE, 0, start);
	for (size_t i = 0; i < EG_COUNT(names); i++) {
		struct sockaddr_un s = { .sun_family = AF_UNIX };
		const size_t n = strlen(names[i]);
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		memcpy(s.sun_path + 1, names[i], n);
		const bool open = fd >= 0 && connect(fd, (struct sockaddr *)&s,
						     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0;
		eg_note(r, EG_DENIED, open ? EG_CONNECTED : EG_UNAVAILABLE, open ? 0 : errno, start);
		if (fd >= 0)
			close(fd);
	}
	eg_remark(r, EG_DENIED, "%u listening abstract names are to be seen", listed);
	control(r);
}

static void inherited(struct eg_run *r)
{
	eg_note(r, EG_DENIED, eg_inherited > 0 ? EG_CONNECTED : EG_UNAVAILABLE, 0, eg_now_ms());
	eg_remark(r, EG_DENIED, "%d descriptors beside 0, 1, 2 at the start", eg_inherited);
	control(r);
}

/* A process's children and threads, another program image: the policy is the network's, not the process's. */
static void other_process(struct eg_run *r)
{
	const uint64_t start = eg_now_ms();
	int status = 0;
	pid_t pid = fork();

	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A2), eg_port(r));
	if (pid == 0) {
		struct eg_run mine = *r;
		setsid();
		if (fork() != 0)
			_exit(0);
		eg_connect(&mine, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	usleep(900000);
	eg_note(r, EG_DENIED, EG_SILENT, 0, start);
	control(r);
}

const struct eg_case eg_cases_kernel[] = {
	{ 91, 'C', "routes, addresses and rules changed from inside", reroute, EG_SOLO, "flow_policy floor" },
	{ 92, 'C', "TUN and a network namespace of one's own", nested, 0, "flow_policy" },
	{ 95, 'C', "connect through io_uring", io_uring, EG_PACKETS, "flow_policy@link" },
	{ 98, 'C', "abstract sockets of the host", abstract_sockets, EG_NO_RECORD | EG_ONCE, NULL },
	{ 100, 'C', "descriptors left open", inherited, EG_NO_RECORD | EG_ONCE, NULL },
	{ 130, 'C', "a daemon that left its parent", other_process, 0, "flow_policy" },
	{ 0 },
};
