/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch_internal.h"

#include <search.h>
#include <stdio.h>

static void *by_wd; /* of struct dw_watch_dir */
static struct dw_watch_dir *all[DW_WATCH_DIRS_MAX];
static size_t all_n;

struct told {
	int wd;
	char name[];
};

static void *told_names;
static size_t told_n;

static int compare_wd(const void *a, const void *b)
{
	const int x = ((const struct dw_watch_dir *)a)->wd, y = ((const struct dw_watch_dir *)b)->wd;
	return (x > y) - (x < y);
}

static int compare_told(const void *a, const void *b)
{
	const struct told *x = a, *y = b;
	return x->wd != y->wd ? (x->wd > y->wd) - (x->wd < y->wd) : strcmp(x->name, y->name);
}

struct dw_watch_dir *dw_watch_find(int wd)
{
	const struct dw_watch_dir key = { .wd = wd };
	struct dw_watch_dir *const *found = tfind(&key, &by_wd, compare_wd);
	return found ? *found : NULL;
}

void dw_watch_drop(struct dw_watch_dir *d)
{
	tdelete(d, &by_wd, compare_wd);
	all[d->at] = all[--all_n];
	all[d->at]->at = d->at;
	free(d);
}

struct dw_watch_dir *dw_watch_put(int wd, int parent, const char *name)
{
	struct dw_watch_dir *old = dw_watch_find(wd);
	if (old && old->parent == parent && strcmp(old->name, name) == 0)
		return old;
	if (old)
		dw_watch_drop(old);
	const size_t n = strlen(name) + 1;
	struct dw_watch_dir *d = all_n < DW_WATCH_DIRS_MAX ? malloc(sizeof(*d) + n) : NULL;
	if (!d)
		return NULL;
	*d = (struct dw_watch_dir){ .wd = wd, .parent = parent, .at = all_n };
	memcpy(d->name, name, n);
	if (!tsearch(d, &by_wd, compare_wd)) {
		free(d);
		return NULL;
	}
	all[all_n++] = d;
	return d;
}

struct dw_watch_dir *dw_watch_child(int parent, const char *name, int but)
{
	for (size_t i = 0; i < all_n; i++)
		if (all[i]->parent == parent && all[i]->wd != but && strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

bool dw_watch_below(const struct dw_watch_dir *d, const struct dw_watch_dir *top)
{
	/* Parents that were entered at different times could form a ring for a moment. */
	for (size_t steps = 0; d && steps <= DW_WATCH_DIRS_MAX; steps++, d = dw_watch_find(d->parent))
		if (d == top)
			return true;
	return false;
}

struct dw_watch_dir *dw_watch_nth(size_t i)
{
	return i < all_n ? all[i] : NULL;
}

/* Puts name in front of what begins at at; false when there is no room. */
static bool put_front(char *text, size_t *at, const char *name)
{
	const size_t n = strlen(name);
	const bool slash = text[*at] != '\0';
	if (*at < n + slash)
		return false;
	if (slash)
		text[--*at] = '/';
	*at -= n;
	memcpy(text + *at, name, n);
	return true;
}

const char *dw_watch_path(int wd, const char *name)
{
	static char texts[2][DW_AGENTP_ENTRY_PATH_MAX + 1];
	static unsigned turn;
	char *text = texts[turn++ % DW_COUNT(texts)];
	size_t at = DW_AGENTP_ENTRY_PATH_MAX;
	text[at] = '\0';
	if (*name && !put_front(text, &at, name))
		return NULL;
	for (;;) {
		const struct dw_watch_dir *d = dw_watch_find(wd);
		if (!d)
			return NULL;
		/* Only the watched directory itself has no name. */
		if (!*d->name)
			return text + at;
		if (!put_front(text, &at, d->name))
			return NULL;
		wd = d->parent;
	}
}

bool dw_watch_tell(int wd, const char *name)
{
	const size_t n = strlen(name) + 1;
	struct told *t = told_n < DW_WATCH_NAMES_MAX ? malloc(sizeof(*t) + n) : NULL;
	if (!t)
		return true;
	t->wd = wd;
	memcpy(t->name, name, n);
	struct told **at = tsearch(t, &told_names, compare_told);
	const bool is_new = at && *at == t;
	if (is_new)
		told_n++;
	else
		free(t);
	return is_new || !at;
}

bool dw_watch_untell(int wd, const char *name)
{
	union {
		struct told t;
		char bytes[sizeof(struct told) + 256];
	} key;
	if (!told_n || strlen(name) > 255)
		return false;
	key.t.wd = wd;
	snprintf(key.bytes + offsetof(struct told, name), 256, "%s", name);
	struct told **at = tfind(&key.t, &told_names, compare_told);
	if (!at)
		return false;
	struct told *t = *at;
	tdelete(t, &told_names, compare_told);
	told_n--;
	free(t);
	return true;
}

void dw_watch_untell_all(void)
{
	tdestroy(told_names, free);
	told_names = NULL;
	told_n = 0;
}
