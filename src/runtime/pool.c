/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/netplan.h"
#include "runtime/msg.h"

/* Builds under way at one time: they overlap their waits, and the builder takes them one after the other. */
#define BUILDING_MAX 8u
/*
 * Slots whose network namespace the kernel has not taken apart yet. Namespaces can be made faster than the kernel destroys them;
 * beyond this many no new slot is made until some are gone.
 */
#define DYING_MAX    256u
#define CLEANING_MAX 32u
#define CLEAN_MS     10
/* After failed builds, twice as long each time; a create that waits is tried at once all the same. */
#define BACKOFF_MIN_MS 1000u
#define BACKOFF_MAX_MS 32000u

static uint32_t index_of(const struct dw_keeper *k, const struct dw_slot *s)
{
	return (uint32_t)(s - k->slots);
}

uint32_t dw_pool_uid_index(const struct dw_keeper *k, const struct dw_slot *s)
{
	return (k->uid_offset + index_of(k, s)) % DW_SLOT_INDEX_MAX;
}

int dw_pool_init(struct dw_keeper *k)
{
	DW_IGNORE(getrandom(&k->uid_offset, sizeof(k->uid_offset), GRND_NONBLOCK)); /* zero is as good for one server */
	k->uid_offset %= DW_SLOT_INDEX_MAX;
	uint64_t n = (uint64_t)k->max_sandboxes + k->pool + BUILDING_MAX + DYING_MAX + 64;
	k->slots_n = (uint32_t)DW_MIN(n, (uint64_t)DW_SLOT_INDEX_MAX);
	k->slots = calloc(k->slots_n, sizeof(*k->slots));
	k->by_number = calloc(DW_SLOT_MAX + 1, sizeof(*k->by_number));
	k->parked = calloc(k->slots_n, sizeof(*k->parked));
	k->dead = calloc(k->slots_n, sizeof(*k->dead));
	return k->slots && k->by_number && k->parked && k->dead ? 0 : -ENOMEM;
}

struct dw_slot *dw_pool_find(struct dw_keeper *k, uint32_t number)
{
	if (number == 0 || number > DW_SLOT_MAX || k->by_number[number] == 0)
		return NULL;
	return &k->slots[k->by_number[number] - 1];
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void dw_pool_forget_control(struct dw_keeper *k, struct dw_slot *s)
{
	if (s->control_fd < 0)
		return;
	/* Explicitly: another holder of the socket would keep it in the epoll set. Absent already is fine. */
	epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, s->control_fd, NULL);
	drop_fd(&s->control_fd);
}

static void become_dead(struct dw_keeper *k, struct dw_slot *s)
{
	if (s->pidfd >= 0)
		epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, s->pidfd, NULL);
	drop_fd(&s->pidfd);
	drop_fd(&s->userns_fd);
	drop_fd(&s->upper_fd);
	dw_pack_end(k, s->number);
	dw_pool_forget_control(k, s);
	s->state = DW_SLOT_DEAD;
	s->cleaning = false;
	k->dead[k->dead_n++] = index_of(k, s);
	if (k->clean_at == 0)
		k->clean_at = dw_keeper_now() + CLEAN_MS;
	for (unsigned i = 0; i < s->waiters_n; i++)
		dw_keeper_reply(s->waiters[i], &(struct dw_keeper_rep){ .slot = s->number }, -1);
	s->waiters_n = 0;
}

static void become_free(struct dw_keeper *k, struct dw_slot *s)
{
	for (uint32_t i = 0; i < k->dead_n; i++) {
		if (k->dead[i] == index_of(k, s)) {
			k->dead[i] = k->dead[--k->dead_n];
			break;
		}
	}
	k->by_number[s->number] = 0;
	k->used_n--;
	*s = (struct dw_slot){ 0 };
}

static void remove_parked(struct dw_keeper *k, const struct dw_slot *s)
{
	for (uint32_t i = 0; i < k->parked_n; i++) {
		if (k->parked[i] == index_of(k, s)) {
			k->parked[i] = k->parked[--k->parked_n];
			return;
		}
	}
}

/* Takes the slot out of the count of its state. */
static void leave_state(struct dw_keeper *k, const struct dw_slot *s)
{
	if (s->state == DW_SLOT_BUILDING)
		k->building_n--;
	else if (s->state == DW_SLOT_PARKED)
		remove_parked(k, s);
	else if (s->state == DW_SLOT_LIVE || s->state == DW_SLOT_ENDED)
		k->live_n--;
}

void dw_pool_kill(struct dw_keeper *k, struct dw_slot *s)
{
	leave_state(k, s);
	s->state = DW_SLOT_DYING;
	dw_pack_end(k, s->number);
	dw_pool_forget_control(k, s);
	/* PID 1 of the namespace: the kernel kills the rest, and PID 1 is not reaped before all of them are. */
	syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	/* The signal first: what is thawed must not come to run. */
	if (s->frozen && dw_cgroups_frozen_survives(&k->cgroups))
		DW_IGNORE(
			dw_cgroups_freeze(&k->cgroups, s->number, false)); /* the cgroup is there as long as the slot */
}

void dw_pool_bury(struct dw_keeper *k, struct dw_slot *s)
{
	leave_state(k, s);
	become_dead(k, s);
}

static struct dw_slot *take_free(struct dw_keeper *k)
{
	for (uint32_t i = 0; i < k->slots_n; i++) {
		struct dw_slot *s = &k->slots[(k->next_index + i) % k->slots_n];
		if (s->state != DW_SLOT_FREE)
			continue;
		k->next_index = (index_of(k, s) + 1) % k->slots_n;
		do {
			k->last_number = k->last_number % DW_SLOT_MAX + 1;
		} while (k->by_number[k->last_number]);
		*s = (struct dw_slot){
			.number = k->last_number, .pidfd = -1, .control_fd = -1, .userns_fd = -1, .upper_fd = -1
		};
		return s;
	}
	return NULL;
}

static int start_build(struct dw_keeper *k)
{
	int pair[2];
	struct dw_slot *s = take_free(k);
	if (!s)
		return -EAGAIN;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	dw_autoclose int child_end = pair[1];
	const struct dw_builder_req req = { .op = DW_BUILDER_BUILD,
					    .slot = s->number,
					    .index = dw_pool_uid_index(k, s) };
	int r = dw_keeper_watch(k, DW_SOURCE_CONTROL, index_of(k, s), pair[0]);
	if (r == 0)
		r = dw_msg_send(k->builder_fd, &req, sizeof(req), &child_end, 1, MSG_DONTWAIT);
	if (r < 0) {
		close(pair[0]);
		*s = (struct dw_slot){ 0 };
		return r;
	}
	s->control_fd = pair[0];
	s->state = DW_SLOT_BUILDING;
	k->by_number[s->number] = (uint16_t)(index_of(k, s) + 1);
	k->building_n++;
	k->used_n++;
	return 0;
}

static void back_off(struct dw_keeper *k)
{
	int64_t now = dw_keeper_now();
	if (now < k->backoff_until)
		return; /* one of several that failed together */
	k->backoff_ms = DW_MIN(DW_MAX(2 * k->backoff_ms, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	k->backoff_until = now + k->backoff_ms;
}

void dw_pool_schedule(struct dw_keeper *k, int64_t now)
{
	if (!k->filled || k->stopping)
		return;
	uint32_t want = k->pool + k->pending_n;
	uint32_t have = k->parked_n + k->building_n;
	if (have >= want)
		return;
	/* Somebody waits, or a burst drains the pool: at once. Otherwise when the last create is over. */
	bool waited_for = have < k->pending_n;
	if (!waited_for && now < k->backoff_until)
		return;
	if (!waited_for && have > k->pool / 2 && now < k->refill_at)
		return;
	while (have < want && k->building_n < BUILDING_MAX && k->dead_n < DYING_MAX) {
		int r = start_build(k);
		if (r < 0) {
			back_off(k);
			return;
		}
		have++;
	}
}

void dw_pool_clean(struct dw_keeper *k, int64_t now)
{
	k->clean_at = k->dead_n ? now + CLEAN_MS : 0;
	for (uint32_t i = 0; i < k->dead_n && k->cleaning_n < CLEANING_MAX; i++) {
		struct dw_slot *s = &k->slots[k->dead[i]];
		const struct dw_builder_req req = { .op = DW_BUILDER_CLEAN, .slot = s->number };
		if (s->cleaning)
			continue;
		if (dw_msg_send(k->builder_fd, &req, sizeof(req), NULL, 0, MSG_DONTWAIT) < 0)
			return; /* its queue is full: next time */
		s->cleaning = true;
		k->cleaning_n++;
	}
	for (uint32_t i = 0; k->unsent_n && i < k->slots_n; i++) {
		if (k->slots[i].state == DW_SLOT_ENDED && k->slots[i].confirmed && !k->slots[i].event_sent)
			dw_pool_tell_exit(k, &k->slots[i]);
	}
	if (k->unsent_n && k->clean_at == 0)
		k->clean_at = now + CLEAN_MS;
}

static void build_failed(struct dw_keeper *k, struct dw_slot *s, uint32_t step, int errnum)
{
	struct dw_err err;
	if (step >= DW_STEP__COUNT)
		step = DW_STEP_NONE;
	dw_err_errno(&err, errnum, "cannot make a sandbox, step \"%s\"", dw_runtime_steps[step]);
	if (!dw_keeper_fail_pending(k, &err) && !k->stopping && dw_keeper_now() >= k->backoff_until)
		fprintf(stderr, "declaw: %s\n", err.message);
	back_off(k);
	if (s->pidfd >= 0)
		dw_pool_kill(k, s);
	else
		dw_pool_bury(k, s);
}

/* Both the builder and the process have reported: the slot is ready, or not. */
static void build_settle(struct dw_keeper *k, struct dw_slot *s)
{
	bool failed = s->failed_errnum || s->hung_up;
	if (!s->built || (!s->parked && !failed))
		return;
	if (failed) {
		build_failed(k, s, s->failed_step, s->failed_errnum ? s->failed_errnum : ECHILD);
		return;
	}
	if (k->stopping) {
		dw_pool_kill(k, s);
		return;
	}
	epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, s->control_fd, NULL);
	leave_state(k, s);
	s->state = DW_SLOT_PARKED;
	k->parked[k->parked_n++] = index_of(k, s);
	k->backoff_ms = 0;
	k->backoff_until = 0;
}

static void on_built(struct dw_keeper *k, struct dw_slot *s, const struct dw_builder_rep *rep, int *fds, size_t fds_n)
{
	if (rep->pid > 0 && fds_n > 0) {
		s->pid = rep->pid;
		s->pidfd = DW_TAKE_FD(fds[0]);
		if (fds_n > 1)
			s->userns_fd = DW_TAKE_FD(fds[1]);
		if (dw_keeper_watch(k, DW_SOURCE_PIDFD, index_of(k, s), s->pidfd) < 0)
			s->failed_errnum = ENOMEM;
	}
	s->built = true;
	/* What the process itself said is nearer to the cause. */
	if (rep->errnum && !s->failed_errnum) {
		s->failed_errnum = rep->errnum;
		s->failed_step = rep->step;
	}
	build_settle(k, s);
}

void dw_pool_on_builder(struct dw_keeper *k, const struct dw_builder_rep *rep, int *fds, size_t fds_n)
{
	struct dw_slot *s = dw_pool_find(k, rep->slot);
	if (s && rep->op == DW_BUILDER_BUILD && s->state == DW_SLOT_BUILDING && !s->built) {
		on_built(k, s, rep, fds, fds_n);
	} else if (s && rep->op == DW_BUILDER_CLEAN && s->state == DW_SLOT_DEAD && s->cleaning) {
		s->cleaning = false;
		k->cleaning_n--;
		if (rep->errnum == 0)
			become_free(k, s);
	}
}

void dw_pool_on_control(struct dw_keeper *k, struct dw_slot *s)
{
	struct dw_child_msg m;
	int fds[DW_MSG_FDS_MAX];
	size_t fds_n;
	if (s->state != DW_SLOT_BUILDING || s->control_fd < 0)
		return;
	ssize_t n = dw_msg_recv(s->control_fd, &m, sizeof(m), fds, &fds_n, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return;
	if (n == sizeof(m) && m.tag == DW_CHILD_PARKED && fds_n == 1)
		s->upper_fd = DW_TAKE_FD(fds[0]);
	if (n > 0)
		dw_close_all(fds, fds_n);
	if (n == sizeof(m) && m.tag == DW_CHILD_PARKED && s->upper_fd >= 0) {
		s->parked = true;
	} else if (n == sizeof(m) && m.tag == DW_CHILD_FAILED) {
		s->failed_errnum = m.errnum > 0 ? m.errnum : EIO;
		s->failed_step = m.step;
		dw_pool_forget_control(k, s);
	} else {
		s->hung_up = true; /* the builder's answer says why, when it was the builder */
		dw_pool_forget_control(k, s);
	}
	build_settle(k, s);
}

void dw_pool_tell_exit(struct dw_keeper *k, struct dw_slot *s)
{
	const struct dw_keeper_event e = { .slot = s->number };
	bool was_unsent = s->confirmed && !s->event_sent && k->unsent_n > 0;
	if (dw_msg_send(k->event_fd, &e, sizeof(e), NULL, 0, MSG_DONTWAIT) == -EAGAIN) {
		k->unsent_n += !was_unsent;
		if (k->clean_at == 0)
			k->clean_at = dw_keeper_now() + CLEAN_MS;
		return;
	}
	k->unsent_n -= was_unsent;
	s->event_sent = true;
}

void dw_pool_on_exit(struct dw_keeper *k, struct dw_slot *s)
{
	siginfo_t info = { 0 };
	if (s->pidfd < 0 || waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, s->pidfd, NULL);
	drop_fd(&s->pidfd);
	if (s->state == DW_SLOT_LIVE) {
		s->state = DW_SLOT_ENDED;
		if (s->confirmed)
			dw_pool_tell_exit(k, s);
		return;
	}
	if (s->state == DW_SLOT_BUILDING) {
		/* Its last words may still be in the socket. */
		dw_pool_on_control(k, s);
		if (s->state == DW_SLOT_BUILDING)
			build_failed(k, s, DW_STEP_NONE, ECHILD);
		return;
	}
	dw_pool_bury(k, s);
}
