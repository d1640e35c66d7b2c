/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Default: ENOSYS, so that a C library that tries a call newer than this list falls back to an older one. What is known and
 * refused says EPERM. As Docker's default profile for the capabilities that a sandbox keeps, less what is listed as refused.
 */
#include "runtime/sysfilter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "runtime/sysfilter_list.h"

/* linux/tty ioctls: put characters into a terminal's input, and the console's selection. */
#define IOCTL_TIOCSTI   0x5412
#define IOCTL_TIOCLINUX 0x541C

#define CLONE_NEW_ANY                                                                                                \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | \
	 0x80 /* CLONE_NEWTIME */)

DW_DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release)

static bool listed(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name) != 0)
		names++;
	return *names != NULL;
}

/* All of names but those of except. */
static int add_names(scmp_filter_ctx ctx, uint32_t action, const char *const *names, const char *const *except)
{
	for (; *names; names++) {
		if (listed(except, *names))
			continue;
		int nr = seccomp_syscall_resolve_name(*names);
		if (nr == __NR_SCMP_ERROR || nr < 0)
			continue; /* not on this architecture, or newer than the library: stays refused */
		int r = seccomp_rule_add(ctx, action, nr, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Calls newer than the library's tables, by their number: the same on every architecture since 5.0. */
static int add_new_numbers(scmp_filter_ctx ctx)
{
	static const int numbers[] = {
		451, /* cachestat */
		452, /* fchmodat2 */
		453, /* map_shadow_stack */
		454, /* futex_wake */
		455, /* futex_wait */
		456, /* futex_requeue */
		462, /* mseal */
	};
	for (size_t i = 0; i < DW_COUNT(numbers); i++) {
		int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, numbers[i], 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Without any of the namespaces `refused`. One rule per flag: together they say "any of them". */
static int add_without(scmp_filter_ctx ctx, int nr, uint64_t refused)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, refused, 0));
	for (unsigned bit = 0; r == 0 && bit < 32; bit++) {
		uint64_t flag = 1ull << bit;
		if (refused & flag)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
	}
	return r;
}

/*
 * Threads and processes, but no namespaces. A builder may make those that image tools want, but never a user namespace (whose every
 * capability would be new) nor a network namespace (whose setup is the kernel's largest surface).
 */
static int add_clone(scmp_filter_ctx ctx, bool builder)
{
	const uint64_t refused = builder ? CLONE_NEWUSER | CLONE_NEWNET | 0x80 : CLONE_NEW_ANY;
	int r = add_without(ctx, SCMP_SYS(clone), refused);
	return r == 0 && builder ? add_without(ctx, SCMP_SYS(unshare), refused) : r;
}

static int add_socket(scmp_filter_ctx ctx)
{
	static const int allowed[] = { AF_UNIX, AF_INET, AF_INET6 };
	int r = 0;
	for (size_t i = 0; r == 0 && i < DW_COUNT(allowed); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)allowed[i]));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
				     SCMP_A2(SCMP_CMP_EQ, 0 /* NETLINK_ROUTE */));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 2,
				     SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_NE, 0));
	/* What is left says that the family is unknown, as a kernel without it would. */
	for (unsigned family = 0; r == 0 && family < AF_NETLINK; family++) {
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					     SCMP_A0(SCMP_CMP_EQ, family));
	}
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
	return r;
}

/* The default personality, and the question for the present one. */
static int add_personality(scmp_filter_ctx ctx)
{
	static const scmp_datum_t allowed[] = { 0, 0xffffffffu, 0xffffffffffffffffull };
	int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, 0x0040000));
	for (size_t i = 0; r == 0 && i < DW_COUNT(allowed); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, allowed[i]));
	return r;
}

static int build(scmp_filter_ctx ctx, bool builder)
{
	static const char *const none[] = { NULL }, *const with_args[] = { "unshare", NULL };
	/* A binary tree: loading costs what the kernel needs to evaluate the program once for every call number. */
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0)
		r = add_names(ctx, SCMP_ACT_ALLOW, dw_seccomp_allowed, none);
	if (r == 0 && builder)
		r = add_names(ctx, SCMP_ACT_ALLOW, dw_seccomp_builder, with_args);
	if (r == 0)
		r = add_names(ctx, SCMP_ACT_ERRNO(EPERM), dw_seccomp_refused, builder ? dw_seccomp_builder : none);
	if (r == 0)
		r = add_new_numbers(ctx);
	if (r == 0)
		r = add_clone(ctx, builder);
	if (r == 0)
		r = add_socket(ctx);
	if (r == 0)
		r = add_personality(ctx);
	return r;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARG_LOW(n)  (offsetof(struct seccomp_data, args[n]))
#define ARG_HIGH(n) (offsetof(struct seccomp_data, args[n]) + 4)
#else
#define ARG_LOW(n)  (offsetof(struct seccomp_data, args[n]) + 4)
#define ARG_HIGH(n) (offsetof(struct seccomp_data, args[n]))
#endif

/* clang-format off */
#define LOAD(at)          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (at))
#define IF(value, t, f)   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (t), (f))
#define FAIL(number)      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (number))

/*
 * Runs before the tree. The kernel looks only at the low half of these arguments, and a rule of the library compares all 64 bits,
 * so that high garbage would slip past it (CVE-2019-10063 in Flatpak).
 *
 * The core file limit stays what enter.c made it, because with any other a crash inside starts the host's core dump program, as the
 * host's root and with memory of the sandbox's choice. Programs that switch core files off and insist on it hear that it worked,
 * which is true in effect; who also asks for the old limit can not be lied to.
 */
static const struct sock_filter guard[] = {
	/*  0 */ LOAD(offsetof(struct seccomp_data, nr)),
	/*  1 */ IF(SYS_ioctl, 0, 4),
	/*  2 */ LOAD(ARG_LOW(1)),
	/*  3 */ IF(IOCTL_TIOCSTI, 1, 0),
	/*  4 */ IF(IOCTL_TIOCLINUX, 0, 18),
	/*  5 */ FAIL(EPERM),
	/*  6 */ IF(SYS_setrlimit, 0, 3),
	/*  7 */ LOAD(ARG_LOW(0)),
	/*  8 */ IF(RLIMIT_CORE, 0, 14),
	/*  9 */ FAIL(0),
	/* 10 */ IF(SYS_prlimit64, 0, 12),
	/* 11 */ LOAD(ARG_LOW(1)),
	/* 12 */ IF(RLIMIT_CORE, 0, 10),
	/* 13 */ LOAD(ARG_LOW(2)), /* the new limit: none is a question */
	/* 14 */ IF(0, 0, 2),
	/* 15 */ LOAD(ARG_HIGH(2)),
	/* 16 */ IF(0, 6, 0),
	/* 17 */ LOAD(ARG_LOW(3)), /* where the old one is wanted */
	/* 18 */ IF(0, 0, 2),
	/* 19 */ LOAD(ARG_HIGH(3)),
	/* 20 */ IF(0, 1, 0),
	/* 21 */ FAIL(EPERM),
	/* 22 */ FAIL(0),
};
/* clang-format on */

static int export_program(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
	dw_autoclose int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = seccomp_export_bpf(ctx, fd);
	struct stat st;
	if (r < 0 || fstat(fd, &st) < 0)
		return r < 0 ? r : -errno;
	size_t tree_n = (size_t)st.st_size / sizeof(struct sock_filter);
	size_t n = tree_n + DW_COUNT(guard);
	if (tree_n == 0 || n > BPF_MAXINSNS)
		return -E2BIG;
	struct sock_filter *f = calloc(n, sizeof(*f));
	if (!f)
		return -ENOMEM;
	memcpy(f, guard, sizeof(guard));
	size_t bytes = tree_n * sizeof(*f);
	if (pread(fd, f + DW_COUNT(guard), bytes, 0) != (ssize_t)bytes) {
		free(f);
		return -EIO;
	}
	*ret = (struct sock_fprog){ .len = (unsigned short)n, .filter = f };
	return 0;
}

int dw_seccomp_compile(bool builder, struct sock_fprog *ret, struct dw_err *err)
{
	scmp_filter_ctx ctx DW_AUTO(seccomp_release) = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!ctx)
		return dw_err_errno(err, ENOMEM, "seccomp");
	int r = build(ctx, builder);
	if (r == 0)
		r = export_program(ctx, ret);
	return r < 0 ? dw_err_errno(err, -r, "cannot compile the system call filter") : 0;
}
