/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "runtime/msg.h"
#include "runtime/spec.h"

/* The pool is refilled this long after the last create, so that building does not compete with it. */
#define REFILL_MS         4
#define REQUESTS_PER_TURN 64

/* The descriptors of a create, in the order of struct dw_child_go; the host's layers are *ret_made first ones. How many, or -errno and *step. */
static int gather(const struct dw_keeper *k, const struct dw_slot *s, const struct dw_pending *p,
		  int ret_fds[static DW_MSG_FDS_MAX], int *ret_made, bool *ret_foreign, enum dw_step *step)
{
	const struct dw_extras *x = &p->req.extras;
	bool foreign = false;
	int n = 0;
	*ret_foreign = !k->templates.idmap_root;
	*step = DW_STEP_IDMAP;
	if (!x->own_root)
		n = dw_template_lowers(&k->templates, s->userns_fd, ret_fds, step);
	else if (dw_step_fails(*step))
		return -EIO;
	else
		n = dw_template_dress(&k->templates, p->fds[0], s->userns_fd, ret_foreign);
	if (n < 0)
		return n;
	*ret_made = n;
	for (unsigned i = 0; i < p->fds_n; i++)
		ret_fds[n++] = p->fds[i];
	*step = DW_STEP_ATTACH_CLONE;
	int r = dw_step_fails(*step) ? -EIO : 0;
	for (uint32_t i = 0; r == 0 && i < x->attach_n; i++)
		r = dw_template_dress(&k->templates, p->fds[x->own_root + x->layer + i], s->userns_fd, &foreign);
	if (r < 0) {
		dw_close_all(ret_fds, (size_t)*ret_made);
		return r;
	}
	return n;
}

/* Limits, layers, go. 0, or -errno and *step. */
static int start(const struct dw_keeper *k, const struct dw_slot *s, const struct dw_pending *p, enum dw_step *step)
{
	const struct dw_keeper_req *req = &p->req;
	const struct dw_limits limits = {
		.memory_mb = req->memory_mb,
		.pids_max = req->pids_max,
		.cpu_percent = req->cpu_percent,
	};
	*step = DW_STEP_CGROUP_LIMIT;
	int r = dw_step_fails(*step) ? -EIO : dw_cgroups_limit(&k->cgroups, s->number, &limits);
	if (r < 0)
		return r;
	int fds[DW_MSG_FDS_MAX];
	bool foreign;
	int made = 0, n = gather(k, s, p, fds, &made, &foreign, step);
	if (n < 0)
		return n;
	struct dw_child_go go = {
		.disk_mb = req->disk_mb,
		.builder = req->builder,
		.foreign_lower = foreign,
		.extras = req->extras,
	};
	memcpy(go.hostname, req->hostname, sizeof(go.hostname));
	*step = DW_STEP_GO;
	r = dw_step_fails(*step) ? -EIO : dw_msg_send(s->control_fd, &go, sizeof(go), fds, (size_t)n, MSG_DONTWAIT);
	dw_close_all(fds, (size_t)made);
	return r;
}

static void create_in(struct dw_keeper *k, struct dw_slot *s, struct dw_pending *p)
{
	enum dw_step step = DW_STEP_NONE;
	int r = start(k, s, p, &step);
	dw_close_all(p->fds, p->fds_n);
	if (r < 0) {
		struct dw_err err;
		dw_err_errno(&err, -r, "cannot start the sandbox, step \"%s\"", dw_runtime_steps[step]);
		dw_pool_kill(k, s);
		dw_keeper_reply_err(p->reply_fd, &err);
		return;
	}
	k->parked_n--; /* it is the top of the stack */
	k->live_n++;
	s->state = DW_SLOT_LIVE;
	const struct dw_keeper_rep rep = {
		.slot = s->number,
		.init_pid = s->pid,
		.uid_base = dw_uid_base(dw_pool_uid_index(k, s)),
	};
	r = dw_keeper_reply(p->reply_fd, &rep, s->control_fd);
	if (r < 0)
		dw_pool_kill(k, s); /* the caller is gone: nobody would ever destroy it */
	else
		dw_pool_forget_control(k, s);
}

void dw_keeper_serve_pending(struct dw_keeper *k)
{
	while (k->pending_n && k->parked_n) {
		struct dw_pending p = k->pending[k->pending_first];
		k->pending_first = (k->pending_first + 1) % DW_PENDING_MAX;
		k->pending_n--;
		create_in(k, &k->slots[k->parked[k->parked_n - 1]], &p);
		k->refill_at = dw_keeper_now() + REFILL_MS;
	}
}

bool dw_keeper_fail_pending(struct dw_keeper *k, const struct dw_err *err)
{
	if (!k->pending_n)
		return false;
	struct dw_pending *p = &k->pending[k->pending_first];
	int reply_fd = p->reply_fd;
	dw_close_all(p->fds, p->fds_n);
	k->pending_first = (k->pending_first + 1) % DW_PENDING_MAX;
	k->pending_n--;
	dw_keeper_reply_err(reply_fd, err);
	return true;
}

void dw_keeper_expire_pending(struct dw_keeper *k, int64_t now)
{
	struct dw_err err;
	dw_err_set(&err, DW_ERR_UNAVAILABLE, "busy", "no sandbox could be made ready in time; try again");
	while (k->pending_n && (k->stopping || k->pending[k->pending_first].deadline <= now))
		dw_keeper_fail_pending(k, &err);
}

/* The same checks as the client's, because this side has the privileges. Takes the descriptors. */
static void on_create(struct dw_keeper *k, const struct dw_keeper_req *req, int reply_fd, int *fds, size_t fds_n)
{
	struct dw_err err;
	const struct dw_extras *x = &req->extras;
	int r = dw_spec_check(req, &err);
	if (r == 0 && fds_n != x->own_root + x->layer + x->attach_n)
		r = dw_err_set(&err, DW_ERR_INVALID, "invalid_spec", "descriptors are missing");
	if (r == 0 && !x->own_root)
		r = dw_template_check(req->template_name, &err);
	if (r == 0 && !k->filled)
		r = dw_err_set(&err, DW_ERR_UNAVAILABLE, "starting", "the server is still starting");
	if (r == 0 && k->live_n + k->pending_n >= k->max_sandboxes)
		r = dw_err_set(&err, DW_ERR_LIMIT, "too_many_sandboxes",
			       "this server runs at most %u sandboxes at a time", k->max_sandboxes);
	if (r == 0 && k->pending_n >= DW_PENDING_MAX)
		r = dw_err_set(&err, DW_ERR_UNAVAILABLE, "busy", "too many sandboxes are being started; try again");
	if (r < 0) {
		dw_close_all(fds, fds_n);
		dw_keeper_reply_err(reply_fd, &err);
		return;
	}
	unsigned at = (k->pending_first + k->pending_n++) % DW_PENDING_MAX;
	struct dw_pending *p = &k->pending[at];
	*p = (struct dw_pending){ .req = *req, .reply_fd = reply_fd, .deadline = dw_keeper_now() + DW_PENDING_MS };
	for (; p->fds_n < fds_n; p->fds_n++)
		p->fds[p->fds_n] = fds[p->fds_n];
	dw_keeper_serve_pending(k);
}

static void on_confirm(struct dw_keeper *k, uint32_t number)
{
	struct dw_slot *s = dw_pool_find(k, number);
	if (!s || (s->state != DW_SLOT_LIVE && s->state != DW_SLOT_ENDED) || s->confirmed)
		return;
	s->confirmed = true;
	if (s->state == DW_SLOT_ENDED)
		dw_pool_tell_exit(k, s);
}

static void on_destroy(struct dw_keeper *k, uint32_t number, int reply_fd)
{
	struct dw_slot *s = dw_pool_find(k, number);
	if (s && s->state == DW_SLOT_ENDED) {
		dw_pool_bury(k, s);
		s = NULL;
	} else if (s && s->state == DW_SLOT_LIVE) {
		dw_pool_kill(k, s);
	}
	if (!s || s->state != DW_SLOT_DYING) {
		/* Unknown, already dead, or never given to anybody. */
		dw_keeper_reply(reply_fd, &(struct dw_keeper_rep){ .slot = number }, -1);
		return;
	}
	if (s->waiters_n == DW_SLOT_WAITERS) {
		struct dw_err err;
		dw_err_set(&err, DW_ERR_UNAVAILABLE, "busy", "the sandbox is being destroyed");
		dw_keeper_reply_err(reply_fd, &err);
		return;
	}
	s->waiters[s->waiters_n++] = reply_fd;
}

/* The slot, when a sandbox lives in it; else NULL, and reply_fd has its answer. */
static struct dw_slot *find_live(struct dw_keeper *k, uint32_t number, int reply_fd)
{
	struct dw_err err;
	struct dw_slot *s = dw_pool_find(k, number);
	if (s && s->state == DW_SLOT_LIVE)
		return s;
	dw_err_set(&err, DW_ERR_NOT_FOUND, "no_sandbox", "the sandbox has ended");
	dw_keeper_reply_err(reply_fd, &err);
	return NULL;
}

static void on_freeze(struct dw_keeper *k, uint32_t number, bool freeze, int reply_fd)
{
	struct dw_slot *s = find_live(k, number, reply_fd);
	if (!s)
		return;
	/* Again each time it is asked for: v1 may have met a process that could not be frozen then. */
	int r = dw_cgroups_freeze(&k->cgroups, number, freeze);
	if (r == 0) {
		s->frozen = freeze;
		r = freeze ? dw_cgroups_frozen(&k->cgroups, number) : 0;
	}
	if (r < 0) {
		struct dw_err err;
		dw_err_errno(&err, -r, freeze ? "cannot halt the sandbox" : "cannot let the sandbox go on");
		if (r == -EOPNOTSUPP)
			dw_err_set(&err, DW_ERR_UNPROCESSABLE, "no_freezer", "this host can not halt processes");
		dw_keeper_reply_err(reply_fd, &err);
		return;
	}
	dw_keeper_reply(reply_fd, &(struct dw_keeper_rep){ .slot = number, .frozen = (uint32_t)r }, -1);
}

static void on_usage(struct dw_keeper *k, uint32_t number, int reply_fd)
{
	const struct dw_slot *s = find_live(k, number, reply_fd);
	if (!s)
		return;
	struct dw_keeper_rep rep = {
		.slot = number,
		.cpu_us = dw_cgroups_cpu_us(&k->cgroups, number),
		.memory_bytes = dw_cgroups_memory_bytes(&k->cgroups, number),
	};
	struct statfs fs;
	if (fstatfs(s->upper_fd, &fs) == 0 && fs.f_blocks >= fs.f_bfree)
		rep.disk_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	dw_keeper_reply(reply_fd, &rep, -1);
}

/* Takes the descriptors. */
static void on_pack(struct dw_keeper *k, const struct dw_keeper_req *req, int reply_fd, int out_fd)
{
	const struct dw_slot *s = find_live(k, req->slot, reply_fd);
	if (s)
		dw_pack_start(k, s, req->max_bytes, out_fd, reply_fd);
	else
		close(out_fd);
}

static void on_check(const struct dw_keeper_req *req, int reply_fd)
{
	struct dw_err err;
	if (!memchr(req->template_name, 0, sizeof(req->template_name)))
		dw_err_set(&err, DW_ERR_INVALID, "unknown_template", "the template's name is too long");
	else if (dw_template_check(req->template_name, &err) == 0) {
		dw_keeper_reply(reply_fd, &(struct dw_keeper_rep){ 0 }, -1);
		return;
	}
	dw_keeper_reply_err(reply_fd, &err);
}

/* Takes the descriptors: the one for the reply, if any, and then what the request needs. */
static void dispatch(struct dw_keeper *k, const struct dw_keeper_req *req, int *fds, size_t fds_n)
{
	const size_t want = req->op == DW_KEEPER_PACK ? 2 : 1;
	if (fds_n == 0) {
		if (req->op == DW_KEEPER_CONFIRM)
			on_confirm(k, req->slot);
		return;
	}
	if (req->op != DW_KEEPER_CREATE && fds_n != want) {
		dw_close_all(fds, fds_n);
		return;
	}
	const int reply_fd = fds[0];
	switch ((enum dw_keeper_op)req->op) {
	case DW_KEEPER_FILL:
		k->filled = true;
		dw_keeper_reply(reply_fd, &(struct dw_keeper_rep){ 0 }, -1);
		return;
	case DW_KEEPER_CREATE:
		on_create(k, req, reply_fd, fds + 1, fds_n - 1);
		return;
	case DW_KEEPER_DESTROY:
		on_destroy(k, req->slot, reply_fd);
		return;
	case DW_KEEPER_CHECK:
		on_check(req, reply_fd);
		return;
	case DW_KEEPER_FREEZE:
	case DW_KEEPER_THAW:
		on_freeze(k, req->slot, req->op == DW_KEEPER_FREEZE, reply_fd);
		return;
	case DW_KEEPER_USAGE:
		on_usage(k, req->slot, reply_fd);
		return;
	case DW_KEEPER_PACK:
		on_pack(k, req, reply_fd, fds[1]);
		return;
	case DW_KEEPER_CONFIRM:
	case DW_KEEPER_NONE:
		break;
	}
	close(reply_fd);
}

void dw_keeper_on_request(struct dw_keeper *k)
{
	for (unsigned i = 0; i < REQUESTS_PER_TURN && !k->stopping; i++) {
		struct dw_keeper_req req;
		int fds[DW_MSG_FDS_MAX];
		size_t fds_n;
		ssize_t n = dw_msg_recv(k->req_fd, &req, sizeof(req), fds, &fds_n, MSG_DONTWAIT);
		if (n == -EAGAIN || n == -EBADMSG)
			return;
		if (n <= 0) {
			k->stopping = true; /* the daemon is gone, or wants us to go */
			return;
		}
		if (n == sizeof(req) && fds_n <= 1 + DW_EXTRA_FDS_MAX)
			dispatch(k, &req, fds, fds_n);
		else
			dw_close_all(fds, fds_n);
	}
}
