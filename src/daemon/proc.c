/* SPDX-License-Identifier: Apache-2.0 */
/* The table: who is in it, for how long, and how an entry begins. */
#include "daemon/proc_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/output_share.h"
#include "daemon/proc_text.h"

/* A reference to the box of a sandbox that the caller has entered; made when there is none. NULL: no memory. */
static struct proc_box *box_get(struct procs *t, struct sandbox *s, const char *id)
{
	struct proc_box **at = proc_slot_locked(t, id), *box = *at;
	if (!box) {
		box = calloc(1, sizeof(*box));
		if (!box)
			return NULL;
		snprintf(box->id, sizeof(box->id), "%s", id);
		box->bucket = proc_bucket_locked(t, id);
		box->last = &box->first;
		box->sandbox = s;
		sandbox_hold(s);
		*at = box;
	}
	box->refs++;
	return box;
}

void procs_forget(struct procs *t, const char *sandbox)
{
	pthread_mutex_lock(&t->lock);
	struct proc_box *box = *proc_slot_locked(t, sandbox);
	/* A name that nothing has: what is in it goes its way, and nobody finds it any more. */
	if (box)
		snprintf(box->id, sizeof(box->id), "%s", PROC_BOX_FORGOTTEN);
	pthread_mutex_unlock(&t->lock);
}

/* Drops it. *ret: to be released, without the lock, when not NULL. */
static void box_unref(struct procs *t, struct proc_box *box, struct sandbox **ret)
{
	*ret = NULL;
	if (--box->refs)
		return;
	struct proc_box **at = box->bucket;
	while (*at != box)
		at = &(*at)->chain;
	*at = box->chain;
	*ret = box->sandbox;
	free(box);
}

static void proc_free(struct proc *p)
{
	struct procs *t = p->table;
	struct sandbox *s = NULL;
	proc_log_done(&p->log);
	if (p->text_cost)
		output_share_give(sandbox_output_share(p->box->sandbox), p->text_cost);
	pthread_mutex_lock(&t->lock);
	box_unref(t, p->box, &s);
	pthread_mutex_unlock(&t->lock);
	if (s)
		sandbox_release(s);
	if (p->fd >= 0)
		close(p->fd);
	free(p->out);
	free(p->stash);
	free(p->cmd);
	free(p->envs);
	free(p->program);
	free(p->tag);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void proc_unref(struct proc *p)
{
	pthread_mutex_lock(&p->table->lock);
	const bool last = --p->refs == 0;
	pthread_mutex_unlock(&p->table->lock);
	if (last)
		proc_free(p);
}

/* Out of its box. Its reference is the caller's now. */
static void unlist(struct proc *p)
{
	struct proc_box *box = p->box;
	struct proc **at = &box->first;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (box->last == &p->next)
		box->last = at;
	p->next = NULL;
	p->listed = false;
	box->entries--;
	p->table->entries--;
	if (p->finished)
		p->table->kept -= p->kept;
}

/* Frees behind the lock's back; what is found here is put there. */
static void forget(struct proc *p, struct proc **gone)
{
	unlist(p);
	p->next = *gone;
	*gone = p;
}

static void unref_all(struct proc *gone)
{
	for (struct proc *next; gone; gone = next) {
		next = gone->next;
		gone->next = NULL;
		proc_unref(gone);
	}
}

/* The finished entry of a box that goes first: one whose end was told, else the oldest. NULL: none. */
static struct proc *first_to_go(const struct proc_box *box)
{
	struct proc *oldest = NULL;
	for (struct proc *p = box->first; p; p = p->next) {
		if (p->finished && p->told)
			return p;
		if (p->finished && !oldest)
			oldest = p;
	}
	return oldest;
}

/* The same of the whole table. */
static struct proc *first_of_all(const struct procs *t)
{
	struct proc *first = NULL;
	for (size_t b = 0; b < PROC_BUCKETS; b++) {
		for (const struct proc_box *box = t->bucket[b]; box; box = box->chain) {
			struct proc *p = first_to_go(box);
			if (p && (!first || p->forget_ms < first->forget_ms))
				first = p;
		}
	}
	return first;
}

static size_t kept_of(const struct proc_box *box)
{
	size_t n = 0;
	for (const struct proc *p = box->first; p; p = p->next)
		n += p->finished ? p->kept : 0;
	return n;
}

/* Room for one more of box: what has finished gives way, what runs does not. */
static int make_room(struct procs *t, struct proc_box *box, struct proc **gone, struct dw_err *err)
{
	struct proc *p;
	while (box->entries >= DAEMON_PROCS_SANDBOX && (p = first_to_go(box)))
		forget(p, gone);
	while (t->entries >= DAEMON_PROCS && (p = first_of_all(t)))
		forget(p, gone);
	if (box->running >= DAEMON_PROCS_RUNNING || t->entries >= DAEMON_PROCS)
		return dw_err_set(err, DW_ERR_LIMIT, "too_many_processes",
				  "more than %u background processes in this sandbox, or more than %u in all",
				  DAEMON_PROCS_RUNNING, DAEMON_PROCS);
	return 0;
}

/* A place for one that is being started. */
static struct proc_box *reserve(struct procs *t, struct agent_op *op, const char *id, struct dw_err *err)
{
	struct proc *gone = NULL;
	struct sandbox *s = NULL;
	pthread_mutex_lock(&t->lock);
	struct proc_box *box = box_get(t, op->sandbox, id);
	if (!box)
		dw_err_errno(err, ENOMEM, "starting the process");
	if (box && make_room(t, box, &gone, err) < 0) {
		box_unref(t, box, &s);
		box = NULL;
	}
	if (box) {
		box->running++;
		box->entries++;
		t->entries++;
	}
	pthread_mutex_unlock(&t->lock);
	unref_all(gone);
	if (s)
		sandbox_release(s);
	return box;
}

/* It did not start. */
static void cancel(struct proc *p)
{
	pthread_mutex_lock(&p->table->lock);
	p->box->running--;
	p->box->entries--;
	p->table->entries--;
	pthread_mutex_unlock(&p->table->lock);
	proc_unref(p);
}
DW_DEFINE_CLEANUP(struct proc *, cancel)

static const struct kept {
	size_t head, tail;
} kept[] = {
	[PROC_COMMAND] = { DAEMON_OUTPUT_MAX, DAEMON_PROC_TAIL },
	[PROC_PTY] = { 0, DAEMON_PROC_TAIL },
	[PROC_STDIO] = { 0, DAEMON_PROC_STDIO },
};

/* Takes the place in box. */
static struct proc *proc_new(struct procs *t, struct proc_box *box, const struct proc_spec *spec, struct dw_err *err)
{
	struct proc *p = calloc(1, sizeof(*p));
	if (!p) {
		struct sandbox *s;
		pthread_mutex_lock(&t->lock);
		box->running--;
		box->entries--;
		t->entries--;
		box_unref(t, box, &s);
		pthread_mutex_unlock(&t->lock);
		if (s)
			sandbox_release(s);
		dw_err_errno(err, ENOMEM, "starting the process");
		return NULL;
	}
	*p = (struct proc){ .table = t,
			    .box = box,
			    .kind = spec->kind,
			    .refs = 1,
			    .fd = -1,
			    .paced = spec->paced,
			    .stdin_closed = !spec->command->with_stdin && !spec->command->cols };
	p->timeout_s = spec->timeout_s;
	p->feed.started = true; /* its STARTED is waited for here */
	pthread_mutex_init(&p->lock, NULL);
	if (spec->paced)
		proc_log_init(&p->log, 0, DAEMON_PROC_PACED, NULL);
	else
		proc_log_init(&p->log, kept[spec->kind].head, kept[spec->kind].tail,
			      sandbox_output_share(box->sandbox));
	return p;
}

/* What a list shows of it. Long ones are counted, like output. */
static int keep_text(struct proc *p, const struct proc_spec *spec, struct dw_err *err)
{
	const struct agent_command *c = spec->command;
	p->cmd = c->program ? proc_text_quote(c) : strdup(c->cmd);
	p->program = c->program ? proc_text_program(c) : NULL;
	p->tag = spec->tag ? strdup(spec->tag) : NULL;
	p->envs = c->envs ? json_dumps(c->envs, JSON_COMPACT) : strdup("{}");
	if (!p->cmd || !p->envs || (c->program && !p->program) || (spec->tag && !p->tag))
		return dw_err_errno(err, ENOMEM, "starting the process");
	const size_t n = strlen(p->cmd) + strlen(p->envs) + (p->program ? strlen(p->program) : 0) +
			 (p->tag ? strlen(p->tag) : 0);
	const size_t cost = n > DAEMON_PROC_OWN ? n - DAEMON_PROC_OWN : 0;
	if (cost && !output_share_take(sandbox_output_share(p->box->sandbox), cost))
		return dw_err_set(err, DW_ERR_LIMIT, "sandbox_limit",
				  "the sandbox's results take all the memory that is for them: fetch some with wait");
	p->text_cost = cost;
	return 0;
}

/* Waits until the program runs. */
static int wait_started(struct proc *p, struct agent_op *op, struct dw_err *err)
{
	struct dw_agentp_frame f;
	op->deadline_ms = clock_mono_ms() + DAEMON_COMMAND_GRACE_MS;
	const enum agent_status st = agent_op_next(op, &f);
	/* One that is busy may run it all the same, a moment later. */
	if (st == AGENT_TIMEOUT && sandbox_state(op->sandbox) == RECORD_RUNNING)
		return dw_err_set(err, DW_ERR_TIMEOUT, "start_timeout",
				  "the sandbox did not say in %u s that the program runs: it may run, so look before "
				  "starting it again",
				  DAEMON_COMMAND_GRACE_MS / 1000);
	if (st != AGENT_OK)
		return agent_op_lost(op, st, err);
	if (f.type == DW_AGENTP_ERROR)
		return agent_op_error(op, f.payload, AGENT_COMMAND, err);
	struct dw_rd rd = dw_rd_init(f.payload.p, f.payload.n, false);
	p->pid = dw_rd_u32(&rd);
	if (f.type != DW_AGENTP_STARTED || !dw_rd_done(&rd) || !p->pid || p->pid > INT32_MAX)
		return agent_op_lost(op, AGENT_LOST, err);
	return 0;
}

/* Into the table. False: another that runs has this pid, which no honest agent says. */
static bool enter(struct proc *p)
{
	struct proc *gone = NULL;
	if (p->kind == PROC_STDIO) {
		snprintf(p->id, sizeof(p->id), "cmd-");
		random_token(p->id + 4, 12);
	} else {
		snprintf(p->id, sizeof(p->id), "%u", (unsigned)p->pid);
	}
	pthread_mutex_lock(&p->table->lock);
	struct proc *same = proc_find_locked(p->box, p->kind, p->id);
	const bool ok = !same || same->finished;
	/* Numbers come round: the older one's result is nobody's any more. */
	if (same && ok)
		forget(same, &gone);
	if (ok) {
		p->refs += 2; /* the table's, and the thread's until it has ended */
		p->listed = true;
		*p->box->last = p;
		p->box->last = &p->next;
	}
	pthread_mutex_unlock(&p->table->lock);
	unref_all(gone);
	return ok;
}

int procs_start(struct procs *t, struct manager *m, const char *sandbox, int client_fd, int stop_fd,
		const struct proc_spec *spec, struct proc **ret, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	DW_AUTO(cancel) struct proc *p = NULL;
	if (agent_op_open(&op, m, sandbox, stop_fd, err) < 0)
		return -1;
	op.client_fd = client_fd;
	struct proc_box *box = reserve(t, &op, sandbox, err);
	if (!box)
		return -1;
	p = proc_new(t, box, spec, err);
	if (!p || keep_text(p, spec, err) < 0 || agent_command_start(&op, spec->command, err) < 0 ||
	    wait_started(p, &op, err) < 0)
		return -1;
	if (spec->command->timeout_ms)
		p->deadline_ms = clock_mono_ms() + spec->command->timeout_ms + DAEMON_COMMAND_GRACE_MS;
	p->fd = DW_TAKE_FD(op.fd);
	if (!enter(p))
		return agent_op_lost(&op, AGENT_LOST, err);
	/* From here on it is like any that runs: if it can not be read, it ends. */
	proc_watch(p, (struct dw_span){ .p = op.buf + op.at, .n = op.n - op.at });
	*ret = DW_TAKE(p);
	return 0;
}

const char *proc_id(const struct proc *p)
{
	return p->id;
}

uint32_t proc_pid(const struct proc *p)
{
	return p->pid;
}

enum proc_kind proc_kind(const struct proc *p)
{
	return p->kind;
}

/* How long a result stays after somebody was told it, for clients that try again. Test builds can shorten it. */
static int64_t keep_ms(void)
{
	return clock_bound_ms("DECLAW_TEST_KEEP_MS", DAEMON_PROC_KEEP_MS);
}

void proc_told(struct proc *p)
{
	pthread_mutex_lock(&p->table->lock);
	if (!p->told)
		p->forget_ms = clock_mono_ms() + keep_ms();
	p->told = true;
	pthread_mutex_unlock(&p->table->lock);
}

void proc_finished(struct proc *p)
{
	struct procs *t = p->table;
	struct proc_box *box = p->box;
	struct proc *gone = NULL, *old;
	pthread_mutex_lock(&t->lock);
	p->finished = true;
	p->kept = proc_log_cost(&p->log) + p->text_cost;
	box->running--;
	if (p->listed)
		t->kept += p->kept;
	if (!p->told)
		p->forget_ms = clock_mono_ms() + DAEMON_PROC_UNASKED_MS;
	/* Results may have half of what there is, so that what runs has the other half. The newest stays. */
	while (kept_of(box) > DAEMON_OUTPUT_SANDBOX_MAX / 2 && (old = first_to_go(box)) && old != p)
		forget(old, &gone);
	while (t->kept > DAEMON_OUTPUT_TOTAL_MAX / 2 && (old = first_of_all(t)) && old != p)
		forget(old, &gone);
	pthread_mutex_unlock(&t->lock);
	unref_all(gone);
	proc_unref(p); /* the thread's */
}

/* One that runs: it may have to end, or to try again. */
static void hurry(struct proc *p, enum record_state state, int64_t now)
{
	pthread_mutex_lock(&p->lock);
	/* No time passes for a paused sandbox. */
	const bool late = p->deadline_ms && now >= p->deadline_ms && state == RECORD_RUNNING;
	if (!p->ended && (late || state == RECORD_KILLED || (p->kill_ms && now >= p->kill_ms))) {
		p->timed_out |= late && !p->killed;
		shutdown(p->fd, SHUT_RDWR);
		proc_unpace_locked(p);
	} else if (!p->ended && p->out) {
		proc_flush_locked(p); /* memory may have been short */
	}
	proc_pace_sweep_locked(p, now);
	pthread_mutex_unlock(&p->lock);
}

void procs_sweep(struct procs *t)
{
	const int64_t now = clock_mono_ms();
	struct proc *gone = NULL;
	pthread_mutex_lock(&t->lock);
	for (size_t b = 0; b < PROC_BUCKETS; b++) {
		for (const struct proc_box *box = t->bucket[b]; box; box = box->chain) {
			const enum record_state state = sandbox_state(box->sandbox);
			for (struct proc *p = box->first, *next; p; p = next) {
				next = p->next;
				if (!p->finished)
					hurry(p, state, now);
				else if (state == RECORD_KILLED || now >= p->forget_ms)
					forget(p, &gone);
			}
		}
	}
	pthread_mutex_unlock(&t->lock);
	unref_all(gone);
}

int procs_new(struct procs **ret, struct dw_err *err)
{
	struct procs *t = calloc(1, sizeof(*t));
	if (!t)
		return dw_err_errno(err, ENOMEM, "starting");
	t->epoll_fd = t->wake_fd = -1;
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->resume_lock, NULL);
	if (procs_thread_start(t, err) < 0) {
		procs_free(t);
		return -1;
	}
	*ret = t;
	return 0;
}

void procs_free(struct procs *t)
{
	struct proc *gone = NULL;
	if (!t)
		return;
	procs_thread_stop(t);
	for (size_t b = 0; b < PROC_BUCKETS; b++)
		for (struct proc_box *box = t->bucket[b]; box; box = box->chain)
			while (box->first) {
				struct proc *p = box->first;
				if (!p->finished)
					p->refs--; /* the thread's */
				forget(p, &gone);
			}
	unref_all(gone);
	pthread_mutex_destroy(&t->lock);
	pthread_mutex_destroy(&t->resume_lock);
	free(t);
}
