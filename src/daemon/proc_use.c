/* SPDX-License-Identifier: Apache-2.0 */
/* What requests do with one process, each in its own thread: wait, read, write, kill. */
#include "daemon/proc_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "daemon/clock.h"

static int count_waiter(struct proc *p, struct dw_err *err)
{
	struct procs *t = p->table;
	pthread_mutex_lock(&t->lock);
	const bool room = t->waiters < DAEMON_PROC_WAITERS && p->box->waiters < DAEMON_PROC_WAITERS_SANDBOX;
	if (room) {
		t->waiters++;
		p->box->waiters++;
		p->refs++;
	}
	pthread_mutex_unlock(&t->lock);
	if (room)
		return 0;
	return dw_err_set(err, DW_ERR_LIMIT, "too_many_readers",
			  "more than %u requests wait for processes of this sandbox, or more than %u in all",
			  DAEMON_PROC_WAITERS_SANDBOX, DAEMON_PROC_WAITERS);
}

static void uncount_waiter(struct proc *p)
{
	pthread_mutex_lock(&p->table->lock);
	p->table->waiters--;
	p->box->waiters--;
	pthread_mutex_unlock(&p->table->lock);
	proc_unref(p);
}

int proc_waiter_open(struct proc_waiter *w, struct proc *p, struct dw_err *err)
{
	*w = (struct proc_waiter){ .fd = -1 };
	if (count_waiter(p, err) < 0)
		return -1;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0) {
		uncount_waiter(p);
		return dw_err_errno(err, errno, "waiting for the process");
	}
	w->p = p;
	pthread_mutex_lock(&p->lock);
	w->next = p->waiters;
	p->waiters = w;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void proc_waiter_close(struct proc_waiter *w)
{
	struct proc *p = w->p;
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	struct proc_waiter **at = &p->waiters;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	pthread_mutex_unlock(&p->lock);
	close(w->fd);
	uncount_waiter(p);
	*w = (struct proc_waiter){ .fd = -1 };
}
#define auto_waiter __attribute__((cleanup(proc_waiter_close)))

enum proc_wait proc_wait(struct proc_waiter *w, int client_fd, int stop_fd, int64_t until_ms)
{
	struct pollfd f[] = {
		{ .fd = w->fd, .events = POLLIN },
		{ .fd = stop_fd, .events = POLLIN },
		{ .fd = client_fd, .events = POLLRDHUP },
	};
	uint64_t count;
	int n;
	do {
		const int64_t left = until_ms - clock_mono_ms();
		n = poll(f, DW_COUNT(f), (int)DW_MIN(DW_MAX(left, 0), INT32_MAX));
	} while (n < 0 && errno == EINTR);
	if (n < 0 || f[2].revents)
		return PROC_WAIT_CANCELLED;
	if (f[1].revents)
		return PROC_WAIT_STOPPING;
	if (!f[0].revents)
		return PROC_WAIT_LATE;
	DW_IGNORE(read(w->fd, &count, sizeof(count))); /* it was readable, and nobody else reads it */
	pthread_mutex_lock(&w->p->lock);
	w->told = false;
	pthread_mutex_unlock(&w->p->lock);
	return PROC_WAIT_NEWS;
}

static void describe_end(const struct proc *p, struct proc_end *e)
{
	if (p->timed_out)
		snprintf(e->error, sizeof(e->error), "command timed out after %gs", p->timeout_s);
	else if (p->lost)
		snprintf(e->error, sizeof(e->error), "%s", p->why.message);
	/* One that is paced: who asks for a result is too late for it. */
	if (p->kind == PROC_COMMAND && !p->log.head_max && p->log.end)
		snprintf(e->note, sizeof(e->note), "\n[declaw: the output went to those who followed the command]\n");
	if (e->error[0])
		snprintf(e->note, sizeof(e->note), "\n[declaw: %s]\n", e->error);
}

bool proc_runs(struct proc *p)
{
	pthread_mutex_lock(&p->lock);
	const bool runs = !p->ended && !p->killed;
	pthread_mutex_unlock(&p->lock);
	return runs;
}

bool proc_end(struct proc_waiter *w, struct proc_end *ret)
{
	struct proc *p = w->p;
	struct proc_end e = { 0 };
	pthread_mutex_lock(&p->lock);
	const bool ended = p->ended && p->fd < 0;
	if (ended) {
		e.exit_code = p->exit_code;
		e.timed_out = p->timed_out;
		e.lost = p->lost;
		e.signal = p->timed_out || p->killed ? SIGKILL : p->by_signal ? p->exit_code - 128 : 0;
		e.killed = p->killed;
		e.truncated = p->log.head_max && (p->log.truncated[PROC_OUT] || p->log.truncated[PROC_ERR]);
		describe_end(p, &e);
		*ret = e;
	}
	pthread_mutex_unlock(&p->lock);
	return ended;
}

void proc_reader_begin(struct proc_waiter *w, struct proc_reader *r, uint64_t at)
{
	pthread_mutex_lock(&w->p->lock);
	proc_reader_open(&w->p->log, r, at);
	proc_pace_locked(w->p);
	pthread_mutex_unlock(&w->p->lock);
}

void proc_reader_begin_live(struct proc_waiter *w, struct proc_reader *r)
{
	struct proc *p = w->p;
	pthread_mutex_lock(&p->lock);
	proc_reader_open(&p->log, r, p->joined ? UINT64_MAX : 0);
	p->joined = true;
	proc_pace_locked(p);
	pthread_mutex_unlock(&p->lock);
}

void proc_reader_finish(struct proc_waiter *w, struct proc_reader *r)
{
	pthread_mutex_lock(&w->p->lock);
	proc_reader_close(&w->p->log, r);
	proc_pace_locked(w->p);
	pthread_mutex_unlock(&w->p->lock);
}

size_t proc_read(struct proc_waiter *w, struct proc_reader *r, void *buf, size_t max, enum proc_stream *ret_stream,
		 uint64_t *ret_lost)
{
	pthread_mutex_lock(&w->p->lock);
	const size_t n = proc_reader_next(&w->p->log, r, buf, max, ret_stream, ret_lost);
	if (n)
		proc_pace_locked(w->p);
	pthread_mutex_unlock(&w->p->lock);
	return n;
}

size_t proc_head(const struct proc *p, struct proc_head_at *at, enum proc_stream stream, char *buf, size_t max)
{
	return proc_log_head_next(&p->log, at, stream, buf, max);
}

static int has_ended(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_CONFLICT, "process_ended", "the process has ended");
}

/* Whether input can go in at all. The process's lock is held. */
static int check_open(const struct proc *p, struct dw_err *err)
{
	if (p->ended || p->killed)
		return has_ended(err);
	if (p->stdin_closed)
		return dw_err_set(err, DW_ERR_CONFLICT, "stdin_closed", "the process's standard input was closed");
	return 0;
}

/* One request's input. */
struct input {
	struct proc_waiter waiter;
	const uint8_t *data;
	size_t n, taken;
	int client_fd, stop_fd;
	int64_t until_ms;
	bool mine; /* nobody else's bytes come between */
};

static void input_done(struct input *in)
{
	struct proc *p = in->waiter.p;
	if (p && in->mine) {
		pthread_mutex_lock(&p->lock);
		p->stdin_taken = false;
		proc_tell_locked(p);
		pthread_mutex_unlock(&p->lock);
	}
	proc_waiter_close(&in->waiter);
}
#define auto_input __attribute__((cleanup(input_done)))

static int not_all(const struct input *in, const char *why, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_CONFLICT, "stdin_full", "%s: %zu of %zu bytes were taken", why, in->taken, in->n);
}

static int no_memory(const struct input *in, struct dw_err *err)
{
	/* Only when nothing was taken may clients send the same again. */
	if (in->taken)
		return not_all(in, "no memory for the process's input", err);
	return dw_err_errno(err, ENOMEM, "writing to the process");
}

/* Queues what has room. 1 = that was all, 0 = wait, -1 with err. The process's lock is held. */
static int put_some(struct proc *p, struct input *in, struct dw_err *err)
{
	if (check_open(p, err) < 0)
		return -1;
	if (!in->mine && p->stdin_taken)
		return 0;
	in->mine = p->stdin_taken = true;
	while (in->taken < in->n) {
		const size_t some = DW_MIN(in->n - in->taken, proc_room_locked(p));
		if (!some)
			return 0;
		if (!proc_queue_locked(p, DW_AGENTP_STDIN, in->data + in->taken, some))
			return no_memory(in, err);
		in->taken += some;
		in->until_ms = clock_mono_ms() + DAEMON_PROC_STDIN_MS;
		proc_flush_locked(p);
	}
	return 1;
}

static int wait_room(struct input *in, struct dw_err *err)
{
	switch (proc_wait(&in->waiter, in->client_fd, in->stop_fd, in->until_ms)) {
	case PROC_WAIT_NEWS:
		return 0;
	case PROC_WAIT_LATE:
		return not_all(in, "the process does not read its input", err);
	case PROC_WAIT_CANCELLED:
	case PROC_WAIT_STOPPING:
		break;
	}
	return dw_err_set(err, DW_ERR_CONFLICT, "cancelled", "the operation was cancelled");
}

/* Until all was taken. */
static int put_all(struct proc *p, struct input *in, struct dw_err *err)
{
	int r;
	do {
		pthread_mutex_lock(&p->lock);
		r = put_some(p, in, err);
		pthread_mutex_unlock(&p->lock);
		if (r == 0 && wait_room(in, err) < 0)
			return -1;
	} while (r == 0);
	return r < 0 ? -1 : 0;
}

int proc_stdin(struct proc *p, const void *data, size_t n, int client_fd, int stop_fd, struct dw_err *err)
{
	auto_input struct input in = { .data = data, .n = n, .client_fd = client_fd, .stop_fd = stop_fd };
	in.until_ms = clock_mono_ms() + DAEMON_PROC_STDIN_MS;
	if (proc_waiter_open(&in.waiter, p, err) < 0)
		return -1;
	return put_all(p, &in, err);
}

int proc_stdin_close(struct proc *p, int client_fd, int stop_fd, struct dw_err *err)
{
	/* Nothing to send, but behind what others send. */
	auto_input struct input in = { .client_fd = client_fd, .stop_fd = stop_fd };
	struct dw_err why = { 0 };
	in.until_ms = clock_mono_ms() + DAEMON_PROC_STDIN_MS;
	if (proc_waiter_open(&in.waiter, p, err) < 0)
		return -1;
	if (put_all(p, &in, &why) < 0) {
		/* Its input is at an end either way. */
		if (strcmp(why.code, "process_ended") == 0 || strcmp(why.code, "stdin_closed") == 0)
			return 0;
		*err = why;
		return -1;
	}
	if (proc_control(p, DW_AGENTP_STDIN_CLOSE, NULL, 0, err) < 0)
		return strcmp(err->code, "process_ended") == 0 ? 0 : -1;
	pthread_mutex_lock(&p->lock);
	p->stdin_closed = true;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

int proc_control(struct proc *p, enum dw_agentp_type type, const void *payload, size_t n, struct dw_err *err)
{
	int r = 0;
	pthread_mutex_lock(&p->lock);
	if (p->ended || p->killed)
		r = has_ended(err);
	else if (!proc_queue_locked(p, type, payload, n))
		r = dw_err_set(err, DW_ERR_CONFLICT, "stdin_full",
			       "the process does not read its input, and this would come behind it");
	else
		proc_flush_locked(p);
	pthread_mutex_unlock(&p->lock);
	return r;
}

/* The agent hangs up when the processes are killed. */
static void wait_ended(struct proc *p)
{
	auto_waiter struct proc_waiter w = { .fd = -1 };
	struct dw_err ignored = { 0 };
	struct proc_end end;
	const int64_t until = clock_mono_ms() + DAEMON_PROC_KILL_MS;
	if (proc_waiter_open(&w, p, &ignored) < 0)
		return;
	while (!proc_end(&w, &end) && proc_wait(&w, -1, -1, until) == PROC_WAIT_NEWS)
		;
}

bool proc_kill(struct proc *p)
{
	pthread_mutex_lock(&p->lock);
	const bool runs = !p->ended && !p->killed;
	if (runs) {
		p->killed = true;
		/* For one whose input is full: the agent does not read its socket, and sees only that it is shut for good. */
		p->kill_ms = clock_mono_ms() + DAEMON_PROC_KILL_MS / 4;
		shutdown(p->fd, SHUT_WR);
		proc_unpace_locked(p);
		proc_tell_locked(p);
	}
	pthread_mutex_unlock(&p->lock);
	proc_told(p);
	if (runs)
		wait_ended(p);
	return runs;
}
