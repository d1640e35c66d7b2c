/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox is, as seen from inside, and its limits as seen from outside. One sandbox for all tests. */
#include "fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct fixture *the;
static struct dw_sandbox_handle box;

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	the = *state;
	fixture_start(the);
	fixture_fill(the);
	box = fixture_create(the);
	return 0;
}

static int teardown(void **state)
{
	*state = the;
	close(box.agent_fd);
	return fixture_teardown(state);
}

static void has(const char *text, const char *part)
{
	if (strstr(text, part))
		return;
	print_error("not found: %s\n", part);
	print_error("in: %s\n", text);
	fail();
}

static void has_not(const char *text, const char *part)
{
	if (!strstr(text, part))
		return;
	print_error("found: %s\n", part);
	print_error("in: %s\n", text);
	fail();
}

static const char *file(const char *path)
{
	return fixture_ask(&box, 'f', path);
}

static const char *run(const char *command)
{
	return fixture_ask(&box, 'c', command);
}

static void test_identity(void **state)
{
	char map[64];
	(void)state;
	snprintf(map, sizeof(map), "         0 %10u      65536\n", box.uid_base);
	assert_string_equal(file("/proc/self/uid_map"), map);
	assert_string_equal(file("/proc/self/gid_map"), map);
	const char *status = file("/proc/self/status");
	has(status, "\nPid:\t1\n");
	has(status, "\nUid:\t0\t0\t0\t0\n");
	has(status, "\nNSpgid:\t1\n");
	has(status, "\nCapInh:\t0000000000000000\n");
	has(status, "\nCapPrm:\t00000000800405fb\n");
	has(status, "\nCapEff:\t00000000800405fb\n");
	has(status, "\nCapBnd:\t00000000800405fb\n");
	has(status, "\nCapAmb:\t0000000000000000\n");
	has(status, "\nNoNewPrivs:\t1\n");
	has(status, "\nSeccomp:\t2\n");
	has(status, "\nSigBlk:\t0000000000000000\n");
	has(status, "\nSigIgn:\t0000000000000000\n");
	assert_string_equal(run("hostname"), "test-box\nstatus 0");
	assert_string_equal(file("/etc/hostname"), "test-box\n");
	has(file("/etc/hosts"), "127.0.1.1\ttest-box\n");
	const char *groups = file("/proc/self/cgroup");
	has_not(groups, "declaw");
	has_not(groups, "..");
}

static void test_descriptors(void **state)
{
	(void)state;
	const char *fds = fixture_ask(&box, 'd', "/proc/self/fd");
	unsigned lines = 0;
	for (const char *p = fds; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 4);
	has(fds, "0 /dev/null\n1 /dev/null\n2 /dev/null\n3 socket:");
	const char *env = file("/proc/1/environ");
	has(env, "PATH=");
	assert_true(strlen(env) < 100);
}

static void test_files(void **state)
{
	(void)state;
	assert_string_equal(file("/etc/resolv.conf"), "nameserver 100.112.0.1\noptions timeout:2 attempts:2\n");
	has(file("/etc/passwd"), "user:*:1000:1000:user:/home/user:/bin/bash\n");
	static const char *const absent[] = {
		"/etc/shadow", "/etc/machine-id", "/etc/ssh", "/etc/ssl/private", "/old_root",
		"/root/.ssh",  "/sys/kernel",     "/boot",    "/dev/kmsg",        "/dev/mem",
		"/dev/kvm",    "/dev/fuse",       "/dev/net", "/dev/vda",         "/l",
		"/u",          "/work",
	};
	for (size_t i = 0; i < DW_COUNT(absent); i++) {
		char command[128];
		snprintf(command, sizeof(command), "test -e %s", absent[i]);
		if (strcmp(run(command), "status 1") != 0)
			fail_msg("%s is visible inside", absent[i]);
	}
	assert_string_equal(
		run("stat -c '%U %a' / /usr /usr/bin/env /root /tmp /home/user /dev /dev/null"),
		"root 755\nroot 755\nroot 755\nroot 700\nroot 1777\nuser 755\nroot 755\nroot 666\nstatus 0");
	assert_string_equal(
		run("echo x > /usr/bin/new && cat /usr/bin/new && rm /usr/bin/new && echo y > /tmp/t && cat /tmp/t"),
		"x\ny\nstatus 0");
	assert_string_equal(run("rm /usr/bin/env && ! test -e /usr/bin/env"), "status 0");
	assert_int_equal(access("/usr/bin/env", X_OK), 0);
	assert_string_equal(run("touch /dev/x 2>/dev/null || ln -sf / /dev/null 2>/dev/null"), "status 1");
	assert_string_equal(run("echo a > /dev/null && head -c 4 /dev/zero | wc -c && head -c 9 /dev/urandom | wc -c"),
			    "4\n9\nstatus 0");
}

static void test_mounts(void **state)
{
	(void)state;
	const char *mounts = file("/proc/self/mountinfo");
	has(mounts, " / / rw,nosuid,nodev");
	has_not(mounts, the->dir);
	has_not(mounts, "/dev/vda");
	has_not(mounts, "ext4");
	has_not(mounts, "devtmpfs");
	has_not(mounts, " cgroup");
	static const char *const empty[] = {
		"/proc/kcore",    "/proc/keys",    "/proc/timer_list",
		"/proc/kallsyms", "/proc/cmdline", "/proc/sys/kernel/core_pattern",
	};
	for (size_t i = 0; i < DW_COUNT(empty); i++)
		assert_true(strcmp(file(empty[i]), "\n") == 0 ||
			    strcmp(file(empty[i]), "error 2") == 0); /* empty, or not in this kernel */
	assert_string_equal(
		run("for f in /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sys/vm/drop_caches; do "
		    "(echo 1 > $f) 2>/dev/null && echo $f; done; (echo b > /proc/sysrq-trigger) 2>/dev/null"),
		"status 2");
	assert_string_equal(run("ls /proc/irq /proc/bus /proc/fs | grep -v : | tr -d '\\n'; ls /sys"), "status 0");
	char mine[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, mine, sizeof(mine) - 1) == 37);
	close(fd);
	assert_string_not_equal(file("/proc/sys/kernel/random/boot_id"), mine);
	assert_int_equal(strlen(file("/proc/sys/kernel/random/boot_id")), 37);
}

static void test_calls(void **state)
{
	static const char *const want[] = {
		"mount=EPERM",
		"umount2=EPERM",
		"unshare_user=EPERM",
		"setns=EPERM",
		"clone_newnet=EPERM",
		"clone_newuser_high=EPERM",
		"clone3=ENOSYS",
		"bpf=EPERM",
		"io_uring_setup=ENOSYS",
		"perf_event_open=EPERM",
		"keyctl=EPERM",
		"userfaultfd=EPERM",
		"name_to_handle_at=EPERM",
		"modify_ldt=EPERM",
		"af_packet=EAFNOSUPPORT",
		"af_vsock=EAFNOSUPPORT",
		"af_alg=EAFNOSUPPORT",
		"af_inet_raw=EPERM",
		"netlink_audit=EPROTONOSUPPORT",
		"netlink_route=ok",
		"af_inet6=ok",
		"tiocsti=EPERM",
		"tiocsti_high=EPERM",
		"tioclinux=EPERM",
		"tiocgwinsz=ENOTTY",
		"personality_set=EPERM",
		"personality_ask=ok",
		"syslog=EPERM",
		"mknod_null=EPERM",
		"write_exe=EACCES",
		"unknown_call=ENOSYS",
#ifdef __x86_64__
		"x32_getpid=ENOSYS",
#endif
	};
	(void)state;
	const char *got = fixture_ask(&box, 's', "");
	for (size_t i = 0; i < DW_COUNT(want); i++)
		has(got, want[i]);
}

static void test_network(void **state)
{
	char a4[DW_ADDR_STRLEN], a6[DW_ADDR_STRLEN];
	(void)state;
	const char *got =
		run("cat /proc/net/dev | tail -n +3 | wc -l; cat /proc/net/route | tail -n +2 | cut -f 1-4,8");
	assert_string_equal(got, "2\neth0\t00000000\t01007064\t0003\t00000000\nstatus 0");
	dw_addr_format(&box.addr4, a4);
	dw_addr_format(&box.addr6, a6);
	has(file("/proc/net/fib_trie"), a4);
	/* One global address, and no link-local one that the kernel made up. */
	got = file("/proc/net/if_inet6");
	has(got, "fd646377000000000000000064700");
	has_not(got, "fe80");
	assert_string_equal(
		run("cat /proc/sys/net/ipv6/conf/eth0/accept_ra /proc/sys/net/ipv4/ip_unprivileged_port_start"),
		"0\n0\nstatus 0");
	assert_string_equal(run("cat /sys/class/net 2>/dev/null; cat /proc/net/arp | tail -n +2 | tr -s ' '"),
			    "100.112.0.1 0x1 0x6 02:64:63:00:00:01 * eth0\nstatus 0");
	assert_true(gate_links(the->gate_fd) >= 1);
	assert_true(strlen(a6) > 0);
}

/* The gate namespace counts packets, and one must be one datagram. */
static void test_datagrams_leave_one_by_one(void **state)
{
	(void)state;
	assert_string_equal(fixture_ask(&box, 'u', ""), "10");
}

/* The value of a cgroup file of the sandbox, whichever hierarchy has it. */
static char found[64];
static char wanted[96];

static int find_limit(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	size_t n = strlen(path), k = strlen(wanted);
	if (flag != FTW_F || n < k || strcmp(path + n - k, wanted) != 0 || !strstr(path, "/declaw-"))
		return 0;
	char keeper[32];
	snprintf(keeper, sizeof(keeper), "/declaw-%d-", the->keeper);
	int fd = strstr(path, keeper) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t r = fd < 0 ? -1 : read(fd, found, sizeof(found) - 1);
	if (fd >= 0)
		close(fd);
	found[r > 0 ? r : 0] = '\0';
	return r > 0;
}

static const char *limit(const char *v1, const char *v2)
{
	const char *const names[] = { v1, v2 };
	for (size_t i = 0; i < 2; i++) {
		found[0] = '\0';
		snprintf(wanted, sizeof(wanted), "/s%u/%s", box.slot, names[i]);
		if (nftw("/sys/fs/cgroup", find_limit, 16, FTW_PHYS) > 0)
			break;
	}
	return found;
}

static void test_limits(void **state)
{
	(void)state;
	assert_string_equal(limit("memory.limit_in_bytes", "memory.max"), "268435456\n");
	assert_string_equal(limit("pids.max", "pids.max"), "64\n");
	has(limit("cpu.cfs_quota_us", "cpu.max"), "150000");
	assert_string_equal(run("df -m / | tail -1 | awk '{print $2}'"), "32\nstatus 0");
	assert_string_equal(run("head -c 64m /dev/zero > /tmp/big 2>/dev/null; test $(stat -c %s /tmp/big) -lt "
				"34000000; echo $?; rm /tmp/big"),
			    "0\nstatus 0");
	has(run("for i in $(seq 100); do sleep 1 & done 2>&1"), "Cannot fork");
	usleep(1500000);
	has(run("python3 -c 'x = bytearray(400 << 20)' 2>/dev/null; echo rc $?"), "rc 137");
}

static void test_programs(void **state)
{
	(void)state;
	static const char *const commands[] = {
		"bash -c 'true'",
		"ls -la / >/dev/null",
		"tar c /etc 2>/dev/null | wc -c >/dev/null",
		"! command -v python3 >/dev/null || python3 -c 'import ssl, ctypes, multiprocessing as m; "
		"m.Pool(2).map(abs, [1, -2])'",
		"! command -v node >/dev/null || node -e 'new Promise(r => setTimeout(r, 1))'",
		"! command -v git >/dev/null || (cd /tmp && git init -q g && cd g && git -c user.name=a -c "
		"user.email=b commit -q --allow-empty -m x)",
		"! command -v strace >/dev/null || strace -f -o /dev/null true",
		"! command -v script >/dev/null || script -qc 'tty' /dev/null | grep -q pts",
	};
	for (size_t i = 0; i < DW_COUNT(commands); i++) {
		const char *got = run(commands[i]);
		size_t n = strlen(got);
		if (n < 8 || strcmp(got + n - 8, "status 0") != 0)
			fail_msg("%s:\n%s", commands[i], got);
	}
}

/* Without idmapped mounts: usable, and the own directories have their owners. */
static void test_fallback(void **state)
{
	(void)state;
	struct fixture f = { .gate_fd = -1 };
	void *fp = &f;
	assert_int_equal(fixture_setup(&fp), 0);
	struct fixture *other = fp;
	setenv("DECLAW_TEST_NO_IDMAP", "1", 1);
	fixture_start(other);
	fixture_fill(other);
	struct dw_sandbox_handle h = fixture_create(other);
	assert_string_equal(
		fixture_ask(&h, 'c', "stat -c '%U %a' /usr/bin/env /etc/passwd /root /tmp /home/user /var/tmp; id -u"),
		"nobody 755\nnobody 644\nroot 700\nroot 1777\nuser 755\nroot 1777\n0\nstatus 0");
	fixture_destroy(other, &h);
	unsetenv("DECLAW_TEST_NO_IDMAP");
	assert_int_equal(fixture_teardown(&fp), 0);
}

int main(void)
{
	need_root();
	/* Some parents leave glibc's internal signals ignored, and that is inherited; inside it must not show. */
	static const unsigned long ignore[4] = { 1 };
	syscall(SYS_rt_sigaction, 32, ignore, NULL, sizeof(unsigned long));
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_datagrams_leave_one_by_one),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_programs),
	};
	const struct CMUnitTest fallback[] = { cmocka_unit_test(test_fallback) };
	return cmocka_run_group_tests_name("runtime_inside", tests, setup, teardown) +
	       cmocka_run_group_tests_name("runtime_fallback", fallback, NULL, NULL);
}
