/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for the agent in the runtime's tests: says that it is ready, then answers each datagram on the control socket. The
 * first byte is the question, the rest its argument. It lives until the socket closes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#define CONTROL_FD 3
#define ANSWER_MAX 60000

static char answer[ANSWER_MAX + 1];
static size_t answer_n;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(answer + answer_n, ANSWER_MAX - answer_n, fmt, ap);
	va_end(ap);
	if (n > 0)
		answer_n += (size_t)n < ANSWER_MAX - answer_n ? (size_t)n : ANSWER_MAX - answer_n - 1;
}

static void say_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	if (fd < 0) {
		say("error %d", errno);
		return;
	}
	while (answer_n < ANSWER_MAX && (n = read(fd, answer + answer_n, ANSWER_MAX - answer_n)) > 0)
		answer_n += (size_t)n;
	close(fd);
}

static void say_dir(const char *path)
{
	DIR *d = opendir(path);
	if (!d) {
		say("error %d", errno);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		char link[4400] = "", target[4096] = "";
		snprintf(link, sizeof(link), "%.4000s/%s", path, e->d_name);
		ssize_t n = readlink(link, target, sizeof(target) - 1);
		if (strcmp(path, "/proc/self/fd") == 0 && atoi(e->d_name) == dirfd(d))
			continue;
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			say("%s%s%s\n", e->d_name, n > 0 ? " " : "", n > 0 ? target : "");
	}
	closedir(d);
}

static void say_stat(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		say("error %d", errno);
	else
		say("%o %u:%u %ld", (unsigned)st.st_mode, (unsigned)st.st_uid, (unsigned)st.st_gid, (long)st.st_size);
}

/* Output of a shell command, then its status. */
static void say_command(const char *command)
{
	int p[2];
	if (pipe(p) < 0)
		return;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		; /* what earlier commands left */
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		close(p[0]);
		close(p[1]);
		close(CONTROL_FD);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	ssize_t n;
	while (answer_n < ANSWER_MAX - 100 && (n = read(p[0], answer + answer_n, ANSWER_MAX - 100 - answer_n)) > 0)
		answer_n += (size_t)n;
	close(p[0]);
	int status = 0;
	waitpid(pid, &status, 0);
	say("status %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void say_result(const char *what, long r)
{
	say("%s=%s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
}

static void say_calls(void)
{
	char buf[512];
	say_result("mount", mount("x", "/tmp", "tmpfs", 0, NULL));
	say_result("umount2", umount2("/proc", MNT_DETACH));
	say_result("unshare_user", unshare(CLONE_NEWUSER));
	say_result("setns", setns(0, 0));
	say_result("clone_newnet", syscall(SYS_clone, CLONE_NEWNET | 17, 0, 0, 0, 0));
	say_result("clone_newuser_high", syscall(SYS_clone, (1ul << 40) | CLONE_NEWUSER | 17, 0, 0, 0, 0));
	say_result("clone3", syscall(SYS_clone3, buf, 88));
	say_result("bpf", syscall(SYS_bpf, 0, buf, 0));
	say_result("io_uring_setup", syscall(SYS_io_uring_setup, 1, buf));
	say_result("perf_event_open", syscall(SYS_perf_event_open, buf, 0, -1, -1, 0));
	say_result("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	say_result("userfaultfd", syscall(SYS_userfaultfd, 0));
	say_result("name_to_handle_at", syscall(SYS_name_to_handle_at, 0, buf, buf, buf, 0));
	say_result("modify_ldt", syscall(SYS_modify_ldt, 0, buf, 8));
	say_result("af_packet", socket(AF_PACKET, SOCK_RAW, 0));
	say_result("af_vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	say_result("af_alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
	say_result("af_inet_raw", socket(AF_INET, SOCK_RAW, 1));
	say_result("netlink_audit", socket(AF_NETLINK, SOCK_RAW, 9));
	say_result("netlink_route", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	say_result("af_inet6", socket(AF_INET6, SOCK_STREAM, 0));
	say_result("tiocsti", ioctl(0, 0x5412, buf));
	say_result("tiocsti_high", syscall(SYS_ioctl, 0, 0x100005412ul, buf));
	say_result("tioclinux", syscall(SYS_ioctl, 0, 0x541Cul, buf));
	say_result("tiocgwinsz", ioctl(0, 0x5413, buf));
	say_result("personality_set", personality(ADDR_NO_RANDOMIZE));
	say_result("personality_ask", personality(0xffffffff));
	say_result("x32_getpid", syscall(0x40000000 | SYS_getpid));
	say_result("syslog", syscall(SYS_syslog, 3, buf, sizeof(buf)));
	say_result("mknod_null", mknod("/tmp/null", S_IFCHR | 0666, 0x103));
	say_result("write_exe", open("/proc/1/exe", O_WRONLY));
	say_result("unknown_call", syscall(999));
}

static unsigned long sent_packets(void)
{
	unsigned long n = 0;
	char line[512];
	FILE *f = fopen("/proc/net/dev", "re");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, " eth0: %*u %*u %*u %*u %*u %*u %*u %*u %*u %lu", &n);
	if (f)
		fclose(f);
	return n;
}

/* Ten datagrams in one call (UDP_SEGMENT): by how many packets the link has sent more. */
static void say_segments(void)
{
	const struct sockaddr_in to = { .sin_family = AF_INET,
					.sin_port = htons(9),
					.sin_addr.s_addr = htonl(0xc0000201) };
	const int size = 100;
	char data[1000] = "";
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	const unsigned long before = sent_packets();

	if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0 ||
	    sendto(fd, data, sizeof(data), 0, (const struct sockaddr *)&to, sizeof(to)) != sizeof(data))
		say("error %d", errno);
	close(fd);
	say("%lu", sent_packets() - before);
}

static void serve(char op, const char *arg)
{
	switch (op) {
	case 'f':
		say_file(arg);
		break;
	case 'd':
		say_dir(arg);
		break;
	case 'c':
		say_command(arg);
		break;
	case 't':
		say_stat(arg);
		break;
	case 's':
		say_calls();
		break;
	case 'u':
		say_segments();
		break;
	case 'x':
		_exit(7);
	case 'b': /* children that outlive their parent and ignore what can be ignored */
		for (int i = 0; i < 20; i++) {
			if (fork() == 0) {
				setsid();
				close(CONTROL_FD);
				for (;;)
					pause();
			}
		}
		say("ok");
		break;
	default:
		say("?");
	}
}

int main(void)
{
	char q[4096];
	if (send(CONTROL_FD, "R", 1, MSG_NOSIGNAL) != 1)
		return 1;
	for (;;) {
		ssize_t n = recv(CONTROL_FD, q, sizeof(q) - 1, 0);
		if (n <= 0)
			return 0;
		q[n] = '\0';
		answer_n = 0;
		serve(q[0], q + 1);
		if (answer_n == 0)
			say("\n");
		send(CONTROL_FD, answer, answer_n, MSG_NOSIGNAL);
	}
}
