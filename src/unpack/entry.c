/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/entry.h"

#include <stdio.h>
#include <string.h>

/* The one owner of everything in a volume: the account `user` of the sandboxes. */
#define VOLUME_ID 1000

/* struct vfs_ns_cap_data of linux/capability.h: revision 2 has no root id, which would be one of this host's. */
#define CAP_REVISION_2 0x02000000u
#define CAP_V2_SIZE    20
#define XATTR_NAME_MAX 255
#define XATTR_SIZE_MAX 65536

/* Copies the components of s; false when one of them is not to be had. */
static bool canonical(const char *s, char out[static UNPACK_PATH_MAX])
{
	size_t at = 0, depth = 0;
	if (!s || *s == '/')
		return false;
	while (*s) {
		size_t n = strcspn(s, "/");
		bool dot = n == 1 && *s == '.';
		if (n == 2 && s[0] == '.' && s[1] == '.')
			return false;
		if (n && !dot) {
			if (n > UNPACK_NAME_MAX || ++depth > UNPACK_DEPTH_MAX || at + n + 2 > UNPACK_PATH_MAX)
				return false;
			if (at)
				out[at++] = '/';
			memcpy(out + at, s, n);
			at += n;
		}
		s += n + (s[n] == '/');
	}
	out[at] = '\0';
	return true;
}

static enum unpack_verdict judge_kind(enum unpack_mode mode, enum unpack_kind kind)
{
	switch (kind) {
	case UNPACK_FILE:
	case UNPACK_DIR:
		return UNPACK_TAKE;
	case UNPACK_SYMLINK:
	case UNPACK_HARDLINK:
		return mode == UNPACK_TEMPLATE ? UNPACK_TAKE : UNPACK_DROP_LINK;
	case UNPACK_FIFO:
		return mode == UNPACK_TEMPLATE ? UNPACK_TAKE : UNPACK_DROP_KIND;
	case UNPACK_OTHER:
		break;
	}
	return UNPACK_DROP_KIND;
}

static bool good_id(int64_t id)
{
	return id >= 0 && id <= UNPACK_ID_MAX;
}

enum unpack_verdict unpack_judge(enum unpack_mode mode, const struct unpack_claim *c, struct unpack_entry *ret,
				 struct dw_err *err)
{
	char name[96];
	enum unpack_verdict v = judge_kind(mode, c->kind);
	if (v != UNPACK_TAKE)
		return v;
	if (!canonical(c->path, ret->path) || (!ret->path[0] && c->kind != UNPACK_DIR))
		return UNPACK_DROP_PATH;
	ret->hard[0] = '\0';
	if (c->kind == UNPACK_HARDLINK && (!canonical(c->target, ret->hard) || !ret->hard[0]))
		return UNPACK_DROP_PATH;
	if (c->kind == UNPACK_SYMLINK && (!c->target || !*c->target || strlen(c->target) >= UNPACK_PATH_MAX))
		return UNPACK_DROP_PATH;
	ret->kind = c->kind;
	ret->mtime = c->mtime;
	if (mode == UNPACK_VOLUME) {
		ret->uid = ret->gid = VOLUME_ID;
		/* A directory that its owner can not enter could not be filled, and nobody could use it. */
		ret->mode = (c->mode & 0777) | (c->kind == UNPACK_DIR ? 0700 : 0);
		return UNPACK_TAKE;
	}
	if (!good_id(c->uid) || !good_id(c->gid)) {
		unpack_printable(ret->path, name, sizeof(name));
		dw_err_set(err, DW_ERR_INVALID, "bad_owner",
			   "\"%s\" belongs to %lld:%lld, and a sandbox has no ids above %d: give its files owners "
			   "within that",
			   name, (long long)c->uid, (long long)c->gid, UNPACK_ID_MAX);
		return UNPACK_REFUSE;
	}
	ret->uid = (uint32_t)c->uid;
	ret->gid = (uint32_t)c->gid;
	ret->mode = c->mode & 07777;
	return UNPACK_TAKE;
}

size_t unpack_parent(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	return slash ? (size_t)(slash - path) : 0;
}

bool unpack_keeps_xattr(enum unpack_mode mode, const char *name, const void *value, size_t n)
{
	if (mode != UNPACK_TEMPLATE || !name || n > XATTR_SIZE_MAX ||
	    strnlen(name, XATTR_NAME_MAX + 1) > XATTR_NAME_MAX)
		return false;
	if (strcmp(name, "security.capability") != 0 || n != CAP_V2_SIZE)
		return false;
	const uint8_t *v = value;
	uint32_t magic = (uint32_t)v[0] | (uint32_t)v[1] << 8 | (uint32_t)v[2] << 16 | (uint32_t)v[3] << 24;
	return (magic & 0xff000000u) == CAP_REVISION_2;
}

void unpack_printable(const char *s, char *buf, size_t size)
{
	size_t n = 0;
	for (; s && *s && n + 1 < size; s++)
		buf[n++] = *s >= ' ' && *s < 0x7f && *s != '"' && *s != '\\' ? *s : '?';
	buf[n] = '\0';
}
