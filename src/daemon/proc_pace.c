/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that waits for its reader (struct proc_spec's paced). The thread does not read its socket while too much waits for the one reader:
 * then the agent can not write, and then the program can not. What was received by then is put aside. A request that changes
 * something puts the process into the list of those to be read again, and wakes the thread.
 */
#include "daemon/proc_internal.h"

#include <string.h>
#include <sys/epoll.h>

#include "daemon/clock.h"

/* Waits in memory, with what one more piece may add, within DAEMON_PROC_PACED. */
#define HOLD_ABOVE (DAEMON_PROC_PACED / 2)

/* Who is waited for: 0, 1, more. Before the first reader has come it is that one. */
static unsigned readers(const struct proc *p)
{
	unsigned n = 0;
	for (const struct proc_reader *r = p->log.readers; r; r = r->next)
		n += !r->cut;
	return p->joined ? n : 1;
}

static bool is_full(const struct proc *p, size_t above)
{
	return p->paced && p->log.tail_cost > above && readers(p);
}

bool proc_hold_locked(struct proc *p, struct dw_span data)
{
	if (!is_full(p, HOLD_ABOVE))
		return false;
	uint8_t *stash = malloc(data.n);
	/* Better the reader is told of a gap than that nobody reads. */
	if (!stash)
		return false;
	memcpy(stash, data.p, data.n);
	p->stash = stash;
	p->stash_n = data.n;
	p->held = true;
	p->held_ms = p->read_ms = clock_mono_ms();
	DW_IGNORE(epoll_ctl(p->table->epoll_fd, EPOLL_CTL_DEL, p->fd, NULL)); /* it may not be watched yet */
	return true;
}

void proc_pace_locked(struct proc *p)
{
	struct procs *t = p->table;
	if (p->paced && p->joined)
		proc_log_forget_read(&p->log);
	if (!p->held)
		return;
	p->read_ms = clock_mono_ms();
	/* Not for each byte. */
	if (is_full(p, HOLD_ABOVE / 2))
		return;
	if (p->resuming)
		return;
	p->resuming = true;
	pthread_mutex_lock(&t->resume_lock);
	p->resume_next = t->resume;
	t->resume = p;
	pthread_mutex_unlock(&t->resume_lock);
	procs_wake(t);
}

void proc_pace_sweep_locked(struct proc *p, int64_t now_ms)
{
	if (!p->held)
		return;
	/* One that takes a little now and then may do so alone, but not keep others waiting. */
	if (readers(p) > 1 ? now_ms - p->held_ms < DAEMON_PROC_LAG_MS
			   : now_ms - p->read_ms < clock_bound_ms("DECLAW_TEST_STALL_MS", DAEMON_PROC_STALL_MS))
		return;
	p->joined = true;
	proc_log_cut(&p->log);
	proc_pace_locked(p);
}

void proc_unpace_locked(struct proc *p)
{
	p->paced = false;
	proc_pace_locked(p);
}
