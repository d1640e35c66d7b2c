/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter is an allow-list. No file can be opened by open or openat, which is what libraries would call: only by openat2, which
 * tree.c calls. So a character set's module, a locale or a time zone can not be taken out of the archive's own tree; and no memory is
 * ever made executable. What is not listed gives ENOSYS.
 */
#include "unpack/confine.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* As entry.c gives to everything in a volume. */
#define VOLUME_ID 1000u

#define FDS_MAX 32u
/* libarchive holds a header, a window of zlib and blocks: a few MiB. */
#define MEMORY_MAX (256ull << 20)
/* zlib gives some hundred MiB a second; who asks for an hour is broken, and the caller has a deadline of its own. */
#define CPU_MAX_S 3600u

DW_DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release)

static int limit(int what, uint64_t value, struct dw_err *err)
{
	const struct rlimit l = { .rlim_cur = value, .rlim_max = value };
	return setrlimit((__rlimit_resource_t)what, &l) < 0 ? dw_err_errno(err, errno, "resource limits") : 0;
}

static int limit_resources(uint64_t max_bytes, struct dw_err *err)
{
	signal(SIGXFSZ, SIG_IGN); /* EFBIG says it */
	if (limit(RLIMIT_CORE, 0, err) < 0 || limit(RLIMIT_NOFILE, FDS_MAX, err) < 0 ||
	    limit(RLIMIT_FSIZE, max_bytes, err) < 0 || limit(RLIMIT_CPU, CPU_MAX_S, err) < 0)
		return -1;
#ifndef UNPACK_NO_MEMORY_LIMIT
	/* A sanitizer's shadow is terabytes of address space. */
	return limit(RLIMIT_AS, MEMORY_MAX, err);
#else
	return 0;
#endif
}

static int enter_target(struct dw_err *err)
{
	struct stat here, root;
	if (stat(".", &here) < 0 || stat("/", &root) < 0)
		return dw_err_errno(err, errno, "the target");
	if (here.st_dev == root.st_dev && here.st_ino == root.st_ino)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal",
				  "the working directory is the root: start this with the target as working directory");
	/* A descriptor of a directory outside would be a way out. */
	if (syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
		return dw_err_errno(err, errno, "closing descriptors");
	if (chroot(".") < 0 || chdir("/") < 0)
		return dw_err_errno(err, errno, "making the target the root");
	return 0;
}

static int drop_privileges(enum unpack_mode mode, struct dw_err *err)
{
	static const unsigned kept[] = { CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_SETFCAP };

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the capability bounding set can not be emptied");
	if (setgroups(0, NULL) < 0)
		return dw_err_errno(err, errno, "dropping groups");
	if (mode == UNPACK_VOLUME) {
		if (setresgid(VOLUME_ID, VOLUME_ID, VOLUME_ID) < 0 || setresuid(VOLUME_ID, VOLUME_ID, VOLUME_ID) < 0)
			return dw_err_errno(err, errno, "becoming the owner of the files");
	} else {
		for (size_t i = 0; i < DW_COUNT(kept); i++) {
			if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]) < 0)
				return dw_err_set(err, DW_ERR_INTERNAL, "internal", "capabilities");
		}
	}
	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return dw_err_errno(err, errno, "dropping capabilities");
	if (mode == UNPACK_VOLUME && setresuid(0, 0, 0) == 0)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "privileges could be taken back");
	return 0;
}

static const int allowed_calls[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(pwrite64),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	/* the tree */
	SCMP_SYS(openat2),
	SCMP_SYS(mkdirat),
	SCMP_SYS(unlinkat),
	SCMP_SYS(linkat),
	SCMP_SYS(symlinkat),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(utimensat),
	/* memory, signals, time, the end */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int filter_calls(struct dw_err *err)
{
	DW_AUTO(seccomp_release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r = 0;

	if (!ctx)
		return dw_err_errno(err, ENOMEM, "seccomp filter");
	for (size_t i = 0; r == 0 && i < DW_COUNT(allowed_calls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
	/* abort() after a failed assertion signals itself and nobody else. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (r == 0)
		r = seccomp_load(ctx);
	return r < 0 ? dw_err_errno(err, -r, "seccomp filter") : 0;
}

int unpack_confine(enum unpack_mode mode, uint64_t max_bytes, struct dw_err *err)
{
	if (limit_resources(max_bytes, err) < 0 || enter_target(err) < 0 || drop_privileges(mode, err) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return dw_err_errno(err, errno, "no new privileges");
	return filter_calls(err);
}
