/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of an entry of a hostile archive: whatever is taken has a path that stays inside, and of a volume one owner and no power. */
#include <stdint.h>
#include <string.h>

#include "unpack/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *path)
{
	size_t depth = 0;
	dw_assert(*path != '/' && strlen(path) < UNPACK_PATH_MAX);
	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/");
		dw_assert(n > 0 && n <= UNPACK_NAME_MAX);
		dw_assert(!(n == 1 && s[0] == '.') && !(n == 2 && s[0] == '.' && s[1] == '.'));
		dw_assert(++depth <= UNPACK_DEPTH_MAX);
		s += n;
		dw_assert(*s == '\0' || s[1] != '\0');
		s += *s == '/';
	}
}

static void check_taken(enum unpack_mode mode, const struct unpack_claim *c, const struct unpack_entry *e)
{
	check_path(e->path);
	check_path(e->hard);
	dw_assert(e->kind == c->kind && e->kind != UNPACK_OTHER);
	dw_assert(e->path[0] || e->kind == UNPACK_DIR);
	dw_assert(e->uid <= UNPACK_ID_MAX && e->gid <= UNPACK_ID_MAX && e->mode <= 07777);
	dw_assert(e->kind != UNPACK_HARDLINK || e->hard[0]);
	if (mode == UNPACK_VOLUME) {
		dw_assert(e->uid == 1000 && e->gid == 1000 && e->mode <= 0777);
		dw_assert(e->kind == UNPACK_FILE || e->kind == UNPACK_DIR);
	}
	const char *name;
	size_t n = unpack_parent(e->path, &name);
	dw_assert(n + (n > 0) + strlen(name) == strlen(e->path) && !strchr(name, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct unpack_entry e;
	struct dw_err err = { 0 };
	int64_t ids[2];
	if (size < 20)
		return 0;
	memcpy(ids, data + 3, sizeof(ids));
	/* Two words of what is left: the path, and what a link points to. */
	char *word = strndup((const char *)data + 19, size - 19);
	dw_assert(word);
	size_t used = DW_MIN(strlen(word) + 1, size - 19);
	char *target = strndup((const char *)data + 19 + used, size - 19 - used);
	dw_assert(target);
	const enum unpack_mode mode = data[0] & 1 ? UNPACK_TEMPLATE : UNPACK_VOLUME;
	const struct unpack_claim c = {
		.kind = (enum unpack_kind)(data[1] % (UNPACK_FIFO + 1)),
		.path = data[0] & 2 ? NULL : word,
		.target = data[0] & 4 ? NULL : target,
		.uid = data[0] & 8 ? ids[0] : data[3],
		.gid = data[0] & 8 ? ids[1] : data[4],
		.mode = (uint32_t)data[2] * 4111u,
	};
	if (unpack_judge(mode, &c, &e, &err) == UNPACK_TAKE)
		check_taken(mode, &c, &e);
	if (unpack_keeps_xattr(mode, word, target, strlen(target)))
		dw_assert(mode == UNPACK_TEMPLATE);
	char shown[32];
	unpack_printable(word, shown, sizeof(shown));
	for (const char *s = shown; *s; s++)
		dw_assert(*s >= ' ' && *s <= '~' && *s != '"' && *s != '\\');
	free(target);
	free(word);
	return 0;
}
