/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in the table: one of them, and lists. */
#include "daemon/proc_internal.h"

#include <string.h>

#include "daemon/utf8.h"

struct proc_box **proc_bucket_locked(struct procs *t, const char *id)
{
	uint32_t h = 2166136261u;
	for (const char *p = id; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	return &t->bucket[h % PROC_BUCKETS];
}

struct proc_box **proc_slot_locked(struct procs *t, const char *id)
{
	struct proc_box **at = proc_bucket_locked(t, id);
	while (*at && strcmp((*at)->id, id) != 0)
		at = &(*at)->chain;
	return at;
}

struct proc *proc_find_locked(const struct proc_box *box, enum proc_kind kind, const char *id)
{
	for (struct proc *p = box->first; p; p = p->next)
		if (p->kind == kind && strcmp(p->id, id) == 0)
			return p;
	return NULL;
}

struct proc *procs_find(struct procs *t, const char *sandbox, enum proc_kind kind, const char *id)
{
	pthread_mutex_lock(&t->lock);
	const struct proc_box *box = *proc_slot_locked(t, sandbox);
	struct proc *p = box ? proc_find_locked(box, kind, id) : NULL;
	if (p)
		p->refs++;
	pthread_mutex_unlock(&t->lock);
	return p;
}

static bool has_pid(const struct proc *p, const char *pid)
{
	return strcmp(p->id, pid) == 0;
}

static bool has_tag(const struct proc *p, const char *tag)
{
	return p->tag && strcmp(p->tag, tag) == 0;
}

static struct proc *find_like(struct procs *t, const char *sandbox,
			      bool (*like)(const struct proc *p, const char *text), const char *text)
{
	struct proc *found = NULL;
	pthread_mutex_lock(&t->lock);
	const struct proc_box *box = *proc_slot_locked(t, sandbox);
	for (struct proc *p = box ? box->first : NULL; p; p = p->next)
		if (p->kind != PROC_STDIO && like(p, text) && (!found || found->finished || !p->finished))
			found = p;
	if (found)
		found->refs++;
	pthread_mutex_unlock(&t->lock);
	return found;
}

struct proc *procs_find_pid(struct procs *t, const char *sandbox, const char *pid)
{
	return find_like(t, sandbox, has_pid, pid);
}

struct proc *procs_find_tag(struct procs *t, const char *sandbox, const char *tag)
{
	return find_like(t, sandbox, has_tag, tag);
}

/* At most max bytes of its command, and its environment if that has no more. */
static json_t *list_item(const struct proc *p, size_t max)
{
	const size_t n = strlen(p->cmd), shown = utf8_valid_prefix(p->cmd, DW_MIN(n, max));
	const bool has_envs = strlen(p->envs) <= max;
	json_t *item = json_pack("{sI ss% sb so}", "pid", (json_int_t)p->pid, "cmd", p->cmd, shown, "is_pty", 0, "envs",
				 has_envs ? json_loads(p->envs, 0, NULL) : json_object());
	if (item && (shown < n || !has_envs) && json_object_set_new(item, "truncated", json_true()) < 0) {
		json_decref(item);
		return NULL;
	}
	return item;
}

/* References to what a list shows: commands whose end nobody was told, or those and terminals that run. Returns how many. */
static size_t hold_listed(struct procs *t, const char *sandbox, bool running,
			  struct proc *held[static DAEMON_PROCS_SANDBOX])
{
	size_t n = 0;
	pthread_mutex_lock(&t->lock);
	const struct proc_box *box = *proc_slot_locked(t, sandbox);
	for (struct proc *p = box ? box->first : NULL; p && n < DAEMON_PROCS_SANDBOX; p = p->next) {
		if (running ? p->kind == PROC_STDIO || p->finished : p->kind != PROC_COMMAND || p->told)
			continue;
		p->refs++;
		held[n++] = p;
	}
	pthread_mutex_unlock(&t->lock);
	return n;
}

json_t *procs_list(struct procs *t, const char *sandbox)
{
	struct proc *held[DAEMON_PROCS_SANDBOX];
	/* Without the table's lock, which everybody needs: what is shown of an entry never changes. */
	const size_t n = hold_listed(t, sandbox, false, held),
		     max = DW_MIN(DAEMON_PROC_OWN, DAEMON_PROC_LIST / DW_MAX(n, 1));
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		if (list && json_array_append_new(list, list_item(held[i], max)) < 0) {
			json_decref(list);
			list = NULL;
		}
		proc_unref(held[i]);
	}
	return list;
}

int procs_each(struct procs *t, const char *sandbox, int (*visit)(void *arg, const struct proc_view *v), void *arg)
{
	struct proc *held[DAEMON_PROCS_SANDBOX];
	const size_t n = hold_listed(t, sandbox, true, held);
	int r = 0;
	for (size_t i = 0; i < n; i++) {
		const struct proc *p = held[i];
		const struct proc_view v = {
			.pid = p->pid, .cmd = p->cmd, .program = p->program, .envs = p->envs, .tag = p->tag
		};
		if (r >= 0 && proc_runs(held[i]))
			r = visit(arg, &v);
		proc_unref(held[i]);
	}
	return r;
}
