/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side. It holds no state of sandboxes, so it needs no lock. */
#include "runtime/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/netplan.h"
#include "runtime/failpoint.h"
#include "runtime/keeper.h"
#include "runtime/msg.h"
#include "runtime/netlink.h"
#include "runtime/spec.h"

#define POOL_DEFAULT 4u
#define POOL_MAX     1024u
/* An agent is there after a millisecond. One that is not after this long is broken, or the host is hopelessly overloaded. */
#define READY_MS       10000
#define FILL_MS_PER_MB 60
/* A killed process goes at once, unless the kernel itself holds it (a dead network disk, say). */
#define DESTROY_MS 15000

struct dw_runtime {
	int req_fd, event_fd, gate_netns_fd;
	pid_t keeper;
	bool no_ipv6;
};

static int keeper_gone(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INTERNAL, "runtime_gone", "the server's keeper process has ended");
}

static void runtime_free(struct dw_runtime *rt)
{
	/* Says the end even if another process has inherited the socket. */
	if (rt->req_fd >= 0)
		shutdown(rt->req_fd, SHUT_RDWR);
	const int fds[] = { rt->req_fd, rt->event_fd, rt->gate_netns_fd };
	for (size_t i = 0; i < DW_COUNT(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	while (rt->keeper > 0 && waitpid(rt->keeper, NULL, 0) < 0 && errno == EINTR)
		;
	free(rt);
}

static int wait_hello(struct dw_runtime *rt, struct dw_err *err)
{
	struct dw_keeper_rep hello;
	int fds[DW_MSG_FDS_MAX];
	size_t fds_n = 0;
	ssize_t n = dw_msg_recv(rt->req_fd, &hello, sizeof(hello), fds, &fds_n, 0);
	if (n == sizeof(hello) && hello.status == 0 && fds_n == 1) {
		rt->gate_netns_fd = fds[0];
		return 0;
	}
	if (n > 0)
		dw_close_all(fds, fds_n);
	if (n != sizeof(hello) || hello.status == 0)
		return keeper_gone(err);
	if (err)
		*err = hello.err;
	return -1;
}

static int fork_keeper(struct dw_runtime *rt, const struct dw_runtime_config *config, struct dw_err *err)
{
	int req[2], event[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, req) < 0)
		return dw_err_errno(err, errno, "socketpair");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, event) < 0) {
		int e = errno;
		dw_close_all(req, 2);
		return dw_err_errno(err, e, "socketpair");
	}
	rt->req_fd = req[0];
	rt->event_fd = event[0];
	rt->keeper = fork();
	if (rt->keeper == 0) {
		const struct dw_keeper_config c = {
			.data_dir = config->data_dir,
			.agent_path = config->agent_path,
			.pool = DW_MIN(config->pool ? config->pool : POOL_DEFAULT, POOL_MAX),
			.max_sandboxes = DW_MIN(config->max_sandboxes, DW_SLOT_INDEX_MAX),
			.req_fd = req[1],
			.event_fd = event[1],
			.no_ipv6 = rt->no_ipv6,
		};
		_exit(dw_keeper_main(&c));
	}
	int e = errno;
	close(req[1]);
	close(event[1]);
	return rt->keeper < 0 ? dw_err_errno(err, e, "cannot start the keeper") : 0;
}

int dw_runtime_start(const struct dw_runtime_config *config, struct dw_runtime **ret, struct dw_err *err)
{
	struct dw_runtime *rt = calloc(1, sizeof(*rt));
	if (!rt)
		return dw_err_errno(err, ENOMEM, "runtime");
	*rt = (struct dw_runtime){ .req_fd = -1, .event_fd = -1, .gate_netns_fd = -1, .keeper = -1 };
	rt->no_ipv6 = config->no_ipv6 || !dw_net_have_ipv6();
	if (fork_keeper(rt, config, err) < 0 || wait_hello(rt, err) < 0) {
		runtime_free(rt);
		return -1;
	}
	*ret = rt;
	return 0;
}

void dw_runtime_stop(struct dw_runtime *rt)
{
	if (rt)
		runtime_free(rt);
}

int dw_runtime_gate_netns_fd(const struct dw_runtime *rt)
{
	return rt->gate_netns_fd;
}

int dw_runtime_event_fd(const struct dw_runtime *rt)
{
	return rt->event_fd;
}

int dw_runtime_next_exit(struct dw_runtime *rt, uint32_t *ret_slot)
{
	struct dw_keeper_event e;
	int fds[DW_MSG_FDS_MAX];
	size_t fds_n = 0;
	ssize_t n = dw_msg_recv(rt->event_fd, &e, sizeof(e), fds, &fds_n, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return 0;
	if (n > 0)
		dw_close_all(fds, fds_n);
	if (n != sizeof(e))
		return -1;
	*ret_slot = e.slot;
	return 1;
}

/* Whether the descriptor becomes readable within ms (negative: without limit). */
static bool wait_readable(int fd, int64_t ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t deadline = dw_keeper_now() + ms;
	int r;
	do {
		r = poll(&p, 1, ms < 0 ? -1 : (int)DW_MAX(deadline - dw_keeper_now(), (int64_t)0));
	} while (r < 0 && errno == EINTR);
	return r != 0;
}

/* Sends one request, with fds, and waits for its answer. 0 and *ret_rep (and *ret_fd when it brought a descriptor, else -1), or -1 with err. */
static int call_with(struct dw_runtime *rt, const struct dw_keeper_req *req, const int *with, size_t with_n,
		     struct dw_keeper_rep *ret_rep, int *ret_fd, struct dw_err *err)
{
	int pair[2], fds[DW_MSG_FDS_MAX];
	size_t fds_n = 0;
	dw_assert(with_n < DW_MSG_FDS_MAX);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return dw_err_errno(err, errno, "socketpair");
	dw_autoclose int mine = pair[0];
	fds[0] = pair[1];
	for (size_t i = 0; i < with_n; i++)
		fds[1 + i] = with[i];
	int r = dw_msg_send(rt->req_fd, req, sizeof(*req), fds, 1 + with_n, 0);
	close(pair[1]);
	if (r < 0)
		return keeper_gone(err);
	/* Otherwise no deadline: the keeper has its own, and its end is an end of file here. */
	if (req->op == DW_KEEPER_DESTROY && !wait_readable(mine, DESTROY_MS))
		return dw_err_set(err, DW_ERR_TIMEOUT, "destroy_pending",
				  "the sandbox was killed but has not ended yet");
	ssize_t n = dw_msg_recv(mine, ret_rep, sizeof(*ret_rep), fds, &fds_n, 0);
	if (n != sizeof(*ret_rep)) {
		if (n > 0)
			dw_close_all(fds, fds_n);
		return keeper_gone(err);
	}
	if (ret_rep->status != 0 || fds_n > 1) {
		dw_close_all(fds, fds_n);
		if (err)
			*err = ret_rep->err;
		return -1;
	}
	if (ret_fd)
		*ret_fd = fds_n ? fds[0] : -1;
	else
		dw_close_all(fds, fds_n);
	return 0;
}

static int call(struct dw_runtime *rt, const struct dw_keeper_req *req, struct dw_keeper_rep *ret_rep, int *ret_fd,
		struct dw_err *err)
{
	return call_with(rt, req, NULL, 0, ret_rep, ret_fd, err);
}

int dw_runtime_fill(struct dw_runtime *rt, struct dw_err *err)
{
	struct dw_keeper_rep rep;
	return call(rt, &(struct dw_keeper_req){ .op = DW_KEEPER_FILL }, &rep, NULL, err);
}

static int copy_text(char *to, size_t cap, const char *from, const char *what, struct dw_err *err)
{
	size_t n = from ? strlen(from) : 0;
	if (n >= cap)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_spec", "the %s is too long", what);
	if (n)
		memcpy(to, from, n);
	return 0;
}

/* What does not fit is the request's fault, not the server's. */
static int child_error(const struct dw_sandbox_spec *spec, const struct dw_child_msg *m, struct dw_err *err)
{
	struct stat st = { 0 };
	if (m->step == DW_STEP_LAYER && m->errnum == ENOSPC && spec->layer_fd >= 0) {
		DW_IGNORE(fstat(spec->layer_fd, &st));
		return dw_err_set(err, DW_ERR_TOO_LARGE, "disk_too_small",
				  "the snapshot needs about %llu MB of disk, and a sandbox has %u MB",
				  (unsigned long long)st.st_size / 1000000 + 1, spec->disk_mb);
	}
	if (m->step == DW_STEP_ATTACH && m->errnum == ENOSPC)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "disk_too_small",
				  "the volumes that are to be copied do not fit on the sandbox's disk of %u MB",
				  spec->disk_mb);
	if (m->step == DW_STEP_ATTACH &&
	    (m->errnum == ENOTDIR || m->errnum == EISDIR || m->errnum == EEXIST || m->errnum == ELOOP))
		return dw_err_set(
			err, DW_ERR_UNPROCESSABLE, "invalid_mount_path",
			"a volume can not be attached where the template has a file, or a link to nowhere or to /");
	return dw_err_errno(err, m->errnum, "cannot start the sandbox, step \"%s\"", dw_runtime_steps[m->step]);
}

/* A disk that is filled first takes its time. */
static int64_t ready_ms(const struct dw_sandbox_spec *spec)
{
	bool fills = spec->layer_fd >= 0;
	for (size_t i = 0; i < spec->attach_n; i++)
		fills = fills || spec->attach[i].mode == DW_ATTACH_COPY;
	return READY_MS + (fills ? (int64_t)spec->disk_mb * FILL_MS_PER_MB : 0);
}

/* Until the agent says that it is ready, or the process says why there is none. */
static int wait_ready(int agent_fd, const struct dw_sandbox_spec *spec, struct dw_err *err)
{
	struct dw_child_msg m = { 0 };
	int fds[DW_MSG_FDS_MAX];
	size_t fds_n = 0;
	if (!wait_readable(agent_fd, ready_ms(spec)))
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the sandbox did not become ready in time");
	ssize_t n = dw_msg_recv(agent_fd, &m, sizeof(m), fds, &fds_n, MSG_DONTWAIT);
	if (n > 0)
		dw_close_all(fds, fds_n);
	if (n == 1 && *(const char *)&m == DW_CHILD_READY)
		return dw_step_fails(DW_STEP_READY)
			       ? dw_err_errno(err, EIO, "step \"%s\"", dw_runtime_steps[DW_STEP_READY])
			       : 0;
	if (n == sizeof(m) && m.tag == DW_CHILD_FAILED && m.step < DW_STEP__COUNT)
		return child_error(spec, &m, err);
	return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the sandbox ended before it was ready");
}

struct extra_fds {
	int fds[DW_EXTRA_FDS_MAX];
	size_t n;
};

static void extra_fds_done(struct extra_fds *x)
{
	dw_close_all(x->fds, x->n);
}

/* Mounts are copied here: the keeper, in a mount namespace of its own, may not. */
static int add_mount(struct extra_fds *x, int dir_fd, struct dw_err *err)
{
	int fd = open_tree(dir_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return dw_err_errno(err, errno, "cannot attach a directory");
	x->fds[x->n++] = fd;
	return 0;
}

/* The extras and their descriptors. */
static int add_extras(const struct dw_sandbox_spec *spec, struct dw_extras *ret, struct extra_fds *ret_fds,
		      struct dw_err *err)
{
	if (spec->attach_n > DW_ATTACH_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_spec", "at most %d directories can be attached",
				  DW_ATTACH_MAX);
	if (spec->root_fd >= 0 && add_mount(ret_fds, spec->root_fd, err) < 0)
		return -1;
	if (spec->layer_fd >= 0) {
		int fd = fcntl(spec->layer_fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return dw_err_errno(err, errno, "cannot read the archive");
		ret_fds->fds[ret_fds->n++] = fd;
	}
	*ret = (struct dw_extras){
		.own_root = spec->root_fd >= 0,
		.layer = spec->layer_fd >= 0,
		.attach_n = (uint32_t)spec->attach_n,
	};
	for (size_t i = 0; i < spec->attach_n; i++) {
		ret->attach[i].mode = spec->attach[i].mode;
		memcpy(ret->attach[i].path, spec->attach[i].path, DW_ATTACH_PATH_MAX);
		if (add_mount(ret_fds, spec->attach[i].dir_fd, err) < 0)
			return -1;
	}
	return 0;
}

int dw_runtime_create(struct dw_runtime *rt, const struct dw_sandbox_spec *spec, struct dw_sandbox_handle *ret,
		      struct dw_err *err)
{
	struct dw_keeper_req req = {
		.op = DW_KEEPER_CREATE,
		.memory_mb = spec->memory_mb,
		.pids_max = spec->pids_max,
		.cpu_percent = spec->cpu_percent,
		.disk_mb = spec->disk_mb,
		.builder = spec->builder,
	};
	struct dw_keeper_rep rep;
	int agent_fd;
	__attribute__((cleanup(extra_fds_done))) struct extra_fds extra = { .n = 0 };
	if (copy_text(req.template_name, sizeof(req.template_name), spec->template_name, "template's name", err) < 0 ||
	    copy_text(req.hostname, sizeof(req.hostname), spec->hostname, "host name", err) < 0 ||
	    add_extras(spec, &req.extras, &extra, err) < 0 || dw_spec_check(&req, err) < 0 ||
	    call_with(rt, &req, extra.fds, extra.n, &rep, &agent_fd, err) < 0)
		return -1;
	if (agent_fd < 0 || wait_ready(agent_fd, spec, err) < 0) {
		if (agent_fd >= 0)
			close(agent_fd);
		dw_runtime_destroy(rt, rep.slot, NULL);
		return -1;
	}
	const struct dw_keeper_req confirm = { .op = DW_KEEPER_CONFIRM, .slot = rep.slot };
	DW_IGNORE(dw_msg_send(rt->req_fd, &confirm, sizeof(confirm), NULL, 0,
			      0)); /* a keeper that is gone tells the event socket */
	*ret = (struct dw_sandbox_handle){
		.slot = rep.slot,
		.init_pid = rep.init_pid,
		.agent_fd = agent_fd,
		.addr4 = dw_slot_addr4(rep.slot),
		.addr6 = rt->no_ipv6 ? (struct dw_addr){ 0 } : dw_slot_addr6(rep.slot),
		.uid_base = rep.uid_base,
	};
	return 0;
}

int dw_runtime_destroy(struct dw_runtime *rt, uint32_t slot, struct dw_err *err)
{
	struct dw_keeper_rep rep;
	return call(rt, &(struct dw_keeper_req){ .op = DW_KEEPER_DESTROY, .slot = slot }, &rep, NULL, err);
}

int dw_runtime_freeze(struct dw_runtime *rt, uint32_t slot, bool *ret_frozen, struct dw_err *err)
{
	struct dw_keeper_rep rep;
	if (call(rt, &(struct dw_keeper_req){ .op = DW_KEEPER_FREEZE, .slot = slot }, &rep, NULL, err) < 0)
		return -1;
	*ret_frozen = rep.frozen == 1;
	return 0;
}

int dw_runtime_thaw(struct dw_runtime *rt, uint32_t slot, struct dw_err *err)
{
	struct dw_keeper_rep rep;
	return call(rt, &(struct dw_keeper_req){ .op = DW_KEEPER_THAW, .slot = slot }, &rep, NULL, err);
}

int dw_runtime_usage(struct dw_runtime *rt, uint32_t slot, struct dw_usage *ret, struct dw_err *err)
{
	struct dw_keeper_rep rep;
	if (call(rt, &(struct dw_keeper_req){ .op = DW_KEEPER_USAGE, .slot = slot }, &rep, NULL, err) < 0)
		return -1;
	*ret = (struct dw_usage){ .cpu_us = rep.cpu_us,
				  .memory_bytes = rep.memory_bytes,
				  .disk_bytes = rep.disk_bytes };
	return 0;
}

int dw_runtime_pack(struct dw_runtime *rt, uint32_t slot, int out_fd, uint64_t max_bytes, uint64_t *ret_bytes,
		    struct dw_err *err)
{
	const struct dw_keeper_req req = { .op = DW_KEEPER_PACK, .slot = slot, .max_bytes = max_bytes };
	struct dw_keeper_rep rep;
	if (call_with(rt, &req, &out_fd, 1, &rep, NULL, err) < 0)
		return -1;
	*ret_bytes = rep.packed_bytes;
	return 0;
}

int dw_runtime_template_check(struct dw_runtime *rt, const char *name, struct dw_err *err)
{
	struct dw_keeper_req req = { .op = DW_KEEPER_CHECK };
	struct dw_keeper_rep rep;
	if (copy_text(req.template_name, sizeof(req.template_name), name, "template's name", err) < 0)
		return -1;
	return call(rt, &req, &rep, NULL, err);
}
