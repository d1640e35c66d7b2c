/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define LINE_MAX_BYTES 8192u      /* a longer line is skipped */
#define FILE_MAX_BYTES (4u << 20) /* a longer file is read up to here */
#define FIELDS_MAX     7          /* of a passwd line; a group line has 4 */
#define GROUP_FIELDS   4

struct lines {
	int fd;
	size_t at, n, total;
	bool skipping; /* inside a line that is too long */
	char buf[LINE_MAX_BYTES];
};

/* More bytes behind what is kept; false at the end. */
static bool lines_fill(struct lines *l)
{
	if (l->at > 0) {
		l->n -= l->at;
		memmove(l->buf, l->buf + l->at, l->n);
		l->at = 0;
	}
	if (l->n == sizeof(l->buf)) {
		l->skipping = true;
		l->n = 0;
	}
	ssize_t got = l->total < FILE_MAX_BYTES ? read(l->fd, l->buf + l->n, sizeof(l->buf) - l->n) : 0;
	if (got <= 0)
		return false;
	l->n += (size_t)got;
	l->total += (size_t)got;
	return true;
}

/* The next line without its end; false when there is none. Valid until the next call. */
static bool lines_next(struct lines *l, struct dw_span *ret)
{
	for (;;) {
		const char *end = memchr(l->buf + l->at, '\n', l->n - l->at);
		bool last = false;
		if (!end) {
			if (lines_fill(l))
				continue;
			last = true;
			end = l->buf + l->n;
		}
		*ret = (struct dw_span){ .p = (uint8_t *)l->buf + l->at, .n = (size_t)(end - l->buf) - l->at };
		bool skip = l->skipping;
		l->skipping = false;
		l->at += ret->n + (last ? 0 : 1);
		if (last && (skip || !ret->n))
			return false;
		if (!skip)
			return true;
	}
}

/* Only a regular file: the sandbox may have put a fifo there. */
static int open_regular(const char *path)
{
	dw_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	return DW_TAKE_FD(fd);
}

/* Number of fields, or max + 1 when there are more. */
static size_t split(struct dw_span s, char by, struct dw_span *fields, size_t max)
{
	size_t n = 0;
	for (;;) {
		const uint8_t *end = s.n ? memchr(s.p, by, s.n) : NULL;
		if (n == max)
			return max + 1;
		fields[n] = (struct dw_span){ .p = s.p, .n = end ? (size_t)(end - s.p) : s.n };
		s.n -= fields[n].n;
		s.p += fields[n].n;
		n++;
		if (!end)
			return n;
		s.p++;
		s.n--;
	}
}

static bool span_eq(struct dw_span a, struct dw_span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Plain decimal. The largest number is "leave as it is" to the set*id calls, so it is no id. */
static bool id_parse(struct dw_span s, uint32_t *ret)
{
	uint64_t v = 0;
	if (s.n == 0 || s.n > 10)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	if (v >= UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool path_copy(struct dw_span s, const char *otherwise, char out[static PATH_MAX])
{
	if (s.n >= PATH_MAX || (s.n && memchr(s.p, 0, s.n)))
		return false;
	if (s.n && s.p[0] == '/') {
		memcpy(out, s.p, s.n);
		out[s.n] = '\0';
	} else {
		snprintf(out, PATH_MAX, "%s", otherwise);
	}
	return true;
}

static bool account_from_line(struct dw_span line, struct dw_account *ret)
{
	struct dw_span f[FIELDS_MAX];
	return split(line, ':', f, FIELDS_MAX) == FIELDS_MAX && id_parse(f[2], &ret->uid) &&
	       id_parse(f[3], &ret->gid) && path_copy(f[5], "/", ret->home) && path_copy(f[6], "/bin/sh", ret->shell);
}

/*
 * The first line with that name counts, as it does for everybody else who reads the file. Always EINVAL, so that a
 * missing passwd file is not taken for a missing file that was asked for.
 */
static int passwd_find(const char *path, struct dw_span name, struct dw_account *ret, struct dw_fault *f)
{
	static struct lines l;
	dw_autoclose int fd = open_regular(path);
	if (fd < 0)
		return dw_fault_set(f, EINVAL, "the user \"%s\" can not be looked up in %s: %s", ret->name, path,
				    strerrordesc_np(errno));
	l = (struct lines){ .fd = fd };
	for (struct dw_span line; lines_next(&l, &line);) {
		struct dw_span first;
		split(line, ':', &first, 1);
		if (first.n == line.n || !span_eq(first, name))
			continue;
		if (account_from_line(line, ret))
			return 0;
		return dw_fault_set(f, EINVAL, "the line of user \"%s\" in %s is malformed", ret->name, path);
	}
	return dw_fault_set(f, EINVAL, "unknown user \"%s\"", ret->name);
}

static void group_add(struct dw_account *a, gid_t gid)
{
	for (size_t i = 0; i < a->groups_n; i++)
		if (a->groups[i] == gid)
			return;
	if (a->groups_n < DW_ACCOUNT_GROUPS_MAX)
		a->groups[a->groups_n++] = gid;
}

static bool is_member(struct dw_span members, struct dw_span name)
{
	while (members.n) {
		struct dw_span m;
		split(members, ',', &m, 1);
		if (span_eq(m, name))
			return true;
		size_t step = DW_MIN(m.n + 1, members.n);
		members.p += step;
		members.n -= step;
	}
	return false;
}

/* Without a group file there is the primary group. */
static void groups_find(const char *path, struct dw_span name, struct dw_account *a)
{
	static struct lines l;
	group_add(a, a->gid);
	dw_autoclose int fd = open_regular(path);
	if (fd < 0)
		return;
	l = (struct lines){ .fd = fd };
	for (struct dw_span line; lines_next(&l, &line);) {
		struct dw_span f[GROUP_FIELDS];
		uint32_t gid;
		if (split(line, ':', f, GROUP_FIELDS) == GROUP_FIELDS && id_parse(f[2], &gid) && is_member(f[3], name))
			group_add(a, gid);
	}
}

static bool all_digits(struct dw_span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

int dw_account_find_in(const char *passwd, const char *group, struct dw_span name, struct dw_account *ret,
		       struct dw_fault *f)
{
	if (name.n == 0)
		name = (struct dw_span){ .p = (const uint8_t *)DW_ACCOUNT_DEFAULT, .n = strlen(DW_ACCOUNT_DEFAULT) };
	if (name.n > DW_ACCOUNT_NAME_MAX)
		return dw_fault_set(f, EINVAL, "the user name is longer than %d bytes", DW_ACCOUNT_NAME_MAX);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, name.p, name.n);
	/* A number is an id to some programs and a name to others, so it is neither here. */
	if (all_digits(name))
		return dw_fault_set(f, EINVAL, "the user \"%s\" is given as a number; a name is needed", ret->name);
	if (passwd_find(passwd, name, ret, f) != 0)
		return -1;
	groups_find(group, name, ret);
	return 0;
}

int dw_account_find(struct dw_span name, struct dw_account *ret, struct dw_fault *f)
{
	return dw_account_find_in("/etc/passwd", "/etc/group", name, ret, f);
}

bool dw_account_name_in(const char *path, uint32_t id, char ret[static DW_ACCOUNT_NAME_MAX + 1])
{
	static struct lines l;
	dw_autoclose int fd = open_regular(path);
	if (fd < 0)
		return false;
	l = (struct lines){ .fd = fd };
	for (struct dw_span line; lines_next(&l, &line);) {
		struct dw_span f[FIELDS_MAX];
		uint32_t v;
		/* Both kinds of line have the id in their third field. */
		if (split(line, ':', f, FIELDS_MAX) < GROUP_FIELDS || !id_parse(f[2], &v) || v != id)
			continue;
		if (!f[0].n || f[0].n > DW_ACCOUNT_NAME_MAX || memchr(f[0].p, 0, f[0].n))
			continue;
		memcpy(ret, f[0].p, f[0].n);
		ret[f[0].n] = '\0';
		return true;
	}
	return false;
}

/* Changing the uid clears the other sets, but inheritable capabilities stay, and root keeps the rest on purpose. */
static int drop_inheritable(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	if (syscall(SYS_capget, &head, data) != 0)
		return -1;
	if (!data[0].inheritable && !data[1].inheritable)
		return 0;
	data[0].inheritable = data[1].inheritable = 0;
	return (int)syscall(SYS_capset, &head, data);
}

int dw_account_become(const struct dw_account *a, struct dw_fault *f)
{
	/* Without ambient capabilities in the kernel there are none to clear. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
		return dw_fault_errno(f, errno, "ambient capabilities can not be dropped");
	if (setgroups(a->groups_n, a->groups) != 0 || setresgid(a->gid, a->gid, a->gid) != 0 ||
	    setresuid(a->uid, a->uid, a->uid) != 0)
		return dw_fault_errno(f, errno, "the identity of user \"%s\" can not be taken on", a->name);
	if (drop_inheritable() != 0)
		return dw_fault_errno(f, errno, "inheritable capabilities can not be dropped");
	uid_t r, e, s;
	if (getresuid(&r, &e, &s) != 0 || r != a->uid || e != a->uid || s != a->uid || (a->uid != 0 && setuid(0) == 0))
		return dw_fault_set(f, EPERM, "the identity of user \"%s\" was not taken on", a->name);
	return 0;
}
