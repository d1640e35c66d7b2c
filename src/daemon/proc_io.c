/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that reads what all processes write, and sends what their queues hold. It alone ends an entry. */
#include "daemon/proc_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/log.h"

#define EVENTS_MAX 64
/* Between two looks at what is due. */
#define SWEEP_MS 1000
/* Of one process at a time, so that one flood does not keep the others waiting. */
#define READ_MAX (64u << 10)
/* Of one that may be held, looked at between two looks at its reader: in the worst case 7 KiB of memory. */
#define PIECE_MAX 1024u
/* Kept free in a queue for what is not input. */
#define QUEUE_SPARE 64u

void proc_tell_locked(struct proc *p)
{
	const uint64_t one = 1;
	for (struct proc_waiter *w = p->waiters; w; w = w->next) {
		if (w->told)
			continue;
		w->told = true;
		DW_IGNORE(write(w->fd, &one, sizeof(one))); /* a counter of one: it can not be full */
	}
}

static void watch_out(struct proc *p, bool on)
{
	struct epoll_event ev = { .events = EPOLLIN | (on ? EPOLLOUT : 0u), .data.ptr = p };
	if (p->out_watched != on && epoll_ctl(p->table->epoll_fd, EPOLL_CTL_MOD, p->fd, &ev) == 0)
		p->out_watched = on;
}

void proc_flush_locked(struct proc *p)
{
	const size_t before = p->out_at;
	bool no_memory = false;
	while (p->fd >= 0 && p->out_at < p->out_n) {
		ssize_t n = send(p->fd, p->out + p->out_at, p->out_n - p->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) {
			no_memory = errno != EAGAIN;
			break;
		}
		/* Shut: its end is on the way, and nobody takes this. Whatever else it is, input is lost, so it has to end. */
		if (n < 0 && errno != EPIPE && errno != ECONNRESET && errno != ENOTCONN)
			shutdown(p->fd, SHUT_RDWR);
		p->out_at = n < 0 ? p->out_n : p->out_at + (size_t)n;
	}
	const bool moved = p->out_at != before;
	if (p->out_at == p->out_n) {
		free(p->out);
		p->out = NULL;
		p->out_at = p->out_n = 0;
	}
	if (p->fd >= 0)
		watch_out(p, p->out && !no_memory); /* there may be room all the same: the sweep tries again */
	if (moved)
		proc_tell_locked(p);
}

size_t proc_room_locked(const struct proc *p)
{
	const size_t used = p->out_n - p->out_at + QUEUE_SPARE + DW_AGENTP_HEADER;
	return used < DAEMON_PROC_QUEUE ? DAEMON_PROC_QUEUE - used : 0;
}

bool proc_queue_locked(struct proc *p, enum dw_agentp_type type, const void *payload, size_t n)
{
	if (!p->out)
		p->out = malloc(DAEMON_PROC_QUEUE);
	if (!p->out)
		return false;
	if (p->out_at) {
		p->out_n -= p->out_at;
		memmove(p->out, p->out + p->out_at, p->out_n);
		p->out_at = 0;
	}
	if (p->out_n + DW_AGENTP_HEADER + n > DAEMON_PROC_QUEUE)
		return false;
	dw_agentp_header_build(p->out + p->out_n, (uint8_t)type, (uint32_t)n);
	if (n)
		memcpy(p->out + p->out_n + DW_AGENTP_HEADER, payload, n);
	p->out_n += DW_AGENTP_HEADER + n;
	return true;
}

/* Sets how it ended, when it did not say so itself. */
static void end_without_exit(struct proc *p)
{
	p->exit_code = p->timed_out ? 124 : 137;
	p->lost = !p->timed_out && !p->killed;
	if (p->lost)
		DW_IGNORE(sandbox_lost(p->box->sandbox, &p->why)); /* it fails by design: why is what counts */
}

/* The process's lock is held; false: it has ended. */
static bool take_piece_locked(struct proc *p, struct dw_span data)
{
	struct proc_event e;
	enum dw_parse res;
	const uint64_t before = p->log.end;
	while ((res = proc_feed_next(&p->feed, &data, &e)) == DW_PARSE_OK) {
		if (e.type == DW_AGENTP_STDOUT || e.type == DW_AGENTP_STDERR) {
			proc_log_add(&p->log, e.type == DW_AGENTP_STDOUT ? PROC_OUT : PROC_ERR, e.bytes.p, e.bytes.n);
			continue;
		}
		p->ended = true;
		/* An ERROR comes before STARTED or not at all. */
		if (e.type == DW_AGENTP_EXIT) {
			p->timed_out = e.exit.timed_out;
			p->exit_code = e.exit.timed_out ? 124 : e.exit.code;
			p->by_signal = e.exit.by_signal;
		} else {
			end_without_exit(p);
		}
	}
	if (res == DW_PARSE_BAD && !p->ended) {
		p->ended = true;
		end_without_exit(p);
	}
	if (p->log.end != before && !p->ended)
		proc_tell_locked(p);
	/* Output that nobody is there for. */
	if (p->paced && p->joined && !p->log.readers)
		proc_log_forget_read(&p->log);
	return !p->ended;
}

/* The same, but that the rest may have to wait for the reader. */
static bool take_locked(struct proc *p, struct dw_span data)
{
	while (data.n && !p->ended && !proc_hold_locked(p, data)) {
		const size_t n = p->paced ? DW_MIN(data.n, PIECE_MAX) : data.n;
		DW_IGNORE(take_piece_locked(p, (struct dw_span){ .p = data.p, .n = n })); /* p->ended tells */
		data.p += n;
		data.n -= n;
	}
	return !p->ended;
}

/* Nothing comes from it any more. The process's lock is held. */
static void close_locked(struct proc *p)
{
	if (!p->ended) {
		p->ended = true;
		end_without_exit(p);
	}
	/* Closing alone would leave the registration in place while a program that is being started has not closed its copy yet. */
	DW_IGNORE(epoll_ctl(p->table->epoll_fd, EPOLL_CTL_DEL, p->fd, NULL)); /* it may not be watched yet */
	close(p->fd);                                                         /* the agent kills what still runs */
	p->fd = -1;
	free(p->out);
	p->out = NULL;
	p->out_at = p->out_n = 0;
	free(p->stash);
	p->stash = NULL;
	proc_tell_locked(p);
}

/* What there is now; false: it has ended. */
static bool read_locked(struct proc *p)
{
	static uint8_t buf[READ_MAX]; /* of the one thread */
	const ssize_t n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	return n > 0 && take_locked(p, (struct dw_span){ .p = buf, .n = (size_t)n });
}

static void handle(struct proc *p, uint32_t events)
{
	bool alive = true;
	pthread_mutex_lock(&p->lock);
	if (p->fd < 0 || p->held) {
		pthread_mutex_unlock(&p->lock);
		return;
	}
	if (events & EPOLLOUT)
		proc_flush_locked(p);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		alive = read_locked(p);
	if (!alive)
		close_locked(p);
	pthread_mutex_unlock(&p->lock);
	if (!alive)
		proc_finished(p);
}

void procs_wake(struct procs *t)
{
	const uint64_t one = 1;
	DW_IGNORE(write(t->wake_fd, &one, sizeof(one))); /* far from full */
}

void proc_watch(struct proc *p, struct dw_span data)
{
	struct procs *t = p->table; /* p may be gone once it is watched */
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };
	pthread_mutex_lock(&p->lock);
	bool alive = take_locked(p, data);
	alive = alive && (p->held || epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, p->fd, &ev) == 0);
	if (!alive)
		close_locked(p);
	else
		proc_flush_locked(p); /* what somebody sent before it was watched */
	pthread_mutex_unlock(&p->lock);
	if (!alive)
		proc_finished(p);
	procs_wake(t); /* also for one that is over: the thread forgets it when that is due */
}

/* One that was held is read again. */
static void resume(struct proc *p)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };
	pthread_mutex_lock(&p->lock);
	dw_autofree uint8_t *stash = DW_TAKE(p->stash);
	/* Both at once: nobody may put it into the list again before, as it may be freed below. */
	p->held = p->resuming = false;
	bool alive = take_locked(p, (struct dw_span){ .p = stash, .n = p->stash_n });
	if (alive && !p->held) {
		p->out_watched = false;
		alive = epoll_ctl(p->table->epoll_fd, EPOLL_CTL_ADD, p->fd, &ev) == 0;
		proc_flush_locked(p);
	}
	if (!alive)
		close_locked(p);
	pthread_mutex_unlock(&p->lock);
	if (!alive)
		proc_finished(p);
}

/* Those in the list are held, so nothing else has ended them. */
static void resume_all(struct procs *t)
{
	pthread_mutex_lock(&t->resume_lock);
	while (t->resume) {
		struct proc *p = t->resume;
		t->resume = p->resume_next;
		pthread_mutex_unlock(&t->resume_lock);
		resume(p);
		pthread_mutex_lock(&t->resume_lock);
	}
	pthread_mutex_unlock(&t->resume_lock);
}

static bool has_entries(struct procs *t)
{
	pthread_mutex_lock(&t->lock);
	const bool some = t->entries > 0;
	pthread_mutex_unlock(&t->lock);
	return some;
}

static void *thread_main(void *arg)
{
	struct procs *t = arg;
	int64_t swept = 0;
	while (!atomic_load(&t->stop)) {
		struct epoll_event events[EVENTS_MAX];
		/* An idle daemon does not wake up; the first process wakes it. */
		const int n = epoll_wait(t->epoll_fd, events, EVENTS_MAX, has_entries(t) ? SWEEP_MS : -1);
		if (n < 0 && errno != EINTR)
			log_event(LOG_LEVEL_ERROR, "epoll failed", "errno", LOG_NUM(errno), NULL);
		for (int i = 0; i < n; i++) {
			uint64_t count;
			if (events[i].data.ptr)
				handle(events[i].data.ptr, events[i].events);
			else
				DW_IGNORE(read(t->wake_fd, &count, sizeof(count))); /* only woken */
		}
		resume_all(t);
		if (clock_mono_ms() - swept >= SWEEP_MS) {
			procs_sweep(t);
			swept = clock_mono_ms();
		}
	}
	return NULL;
}

int procs_thread_start(struct procs *t, struct dw_err *err)
{
	struct epoll_event ev = { .events = EPOLLIN };
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->epoll_fd < 0 || t->wake_fd < 0 || epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->wake_fd, &ev) < 0)
		return dw_err_errno(err, errno, "starting");
	const int e = pthread_create(&t->thread, NULL, thread_main, t);
	if (e)
		return dw_err_errno(err, e, "starting a thread");
	t->has_thread = true;
	return 0;
}

void procs_thread_stop(struct procs *t)
{
	atomic_store(&t->stop, true);
	if (t->has_thread) {
		procs_wake(t);
		pthread_join(t->thread, NULL);
	}
	if (t->epoll_fd >= 0)
		close(t->epoll_fd);
	if (t->wake_fd >= 0)
		close(t->wake_fd);
}
