/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "runtime/enter.h"
#include "runtime/failpoint.h"
#include "runtime/idmap.h"
#include "runtime/keeper_proto.h"
#include "runtime/msg.h"
#include "runtime/netlink.h"

/* One slot in the making. */
struct build {
	uint32_t slot, uid_base;
	int control_fd; /* the child's end; the builder only passes it on */
	int sync_fd;    /* ours */
	int pidfd, userns_fd;
	pid_t pid;
};

static int open_ns(pid_t pid, const char *ns)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, ns);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The effective user alone: root stays as real and saved user, and with it all capabilities can be had again. */
static int act_as(uid_t uid)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	if (setresuid((uid_t)-1, uid, (uid_t)-1) < 0 || syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (size_t i = 0; i < DW_COUNT(data); i++)
		data[i].effective = data[i].permitted;
	/* A change of users takes the wish to end with the keeper away. */
	return syscall(SYS_capset, &head, data) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
}

/*
 * A user namespace belongs to the effective user who makes it, and what the kernel counts for each user (inotify instances, message
 * queues, queued signals) it also adds up for the owner. Were that root, one sandbox could use up what all others and the
 * host's own root have. So each is owned by its own root: an id that nobody else has.
 */
static pid_t clone_owned(struct clone_args *args, uid_t owner)
{
	int r = act_as(owner);
	pid_t pid = r < 0 ? r : (pid_t)syscall(SYS_clone3, args, sizeof(*args));
	if (pid < 0 && r == 0)
		pid = -errno;
	if (pid != 0 && act_as(0) < 0)
		_exit(1); /* half of root is no builder; the keeper ends everything */
	return pid;
}

/* A child of the keeper (CLONE_PARENT), so that it outlives the builder and the keeper can reap it. */
static int clone_child(const struct dw_builder_config *c, struct build *b)
{
	struct dw_parked p = {
		.slot = b->slot,
		.control_fd = b->control_fd,
		.agent_fd = c->agent_fd,
		.filter = c->filter,
		.builder_filter = c->builder_filter,
		.no_ipv6 = c->no_ipv6,
	};
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	dw_autoclose int child_sync = pair[1];
	b->sync_fd = pair[0];
	p.sync_fd = child_sync;
	p.procs_n = dw_cgroups_v1_procs(c->cgroups, b->slot, p.procs_fds);
	if (p.procs_n < 0)
		return p.procs_n;
	dw_autoclose int v2 = dw_cgroups_v2_fd(c->cgroups, b->slot);
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_PIDFD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
			 CLONE_NEWUTS | CLONE_NEWNET,
		.pidfd = (uint64_t)(uintptr_t)&b->pidfd,
	};
	if (v2 >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)v2;
	}
	pid_t pid = clone_owned(&args, b->uid_base);
	if (pid == 0)
		dw_parked_main(&p);
	dw_close_all(p.procs_fds, (size_t)p.procs_n);
	b->pid = pid;
	return DW_MIN(pid, 0);
}

/* The child owns nothing on the host before this, so it waits for it. */
static int map_child(const struct dw_builder_config *c, struct build *b)
{
	int r = dw_userns_map(b->pid, b->uid_base);
	if (r < 0)
		return r;
	b->userns_fd = open_ns(b->pid, "user");
	if (b->userns_fd < 0)
		return b->userns_fd;
	dw_autoclose int dev = dw_mount_clone(c->templates->dev_fd, c->templates->idmap_dev ? b->userns_fd : -1, true);
	if (dev < 0)
		return dev;
	return dw_msg_send(b->sync_fd, &(char){ DW_SYNC_MAPPED }, 1, &dev, 1, 0);
}

static int link_child(struct dw_nl *nl, const struct build *b, enum dw_step *step)
{
	dw_autoclose int netns = open_ns(b->pid, "net");
	if (netns < 0)
		return netns;
	int r = dw_step_fails(DW_STEP_LINK) ? -EIO : dw_net_link_make(nl, b->slot, netns);
	if (r < 0)
		return r;
	*step = DW_STEP_GATE_ROUTE;
	r = dw_step_fails(DW_STEP_GATE_ROUTE) ? -EIO : dw_net_link_gate(nl, b->slot);
	return r < 0 ? r : dw_msg_send(b->sync_fd, &(char){ DW_SYNC_LINKED }, 1, NULL, 0, 0);
}

static int build(const struct dw_builder_config *c, struct dw_nl *nl, struct build *b, enum dw_step *step)
{
	*step = DW_STEP_CGROUP_MAKE;
	int r = dw_step_fails(*step) ? -EIO : dw_cgroups_make(c->cgroups, b->slot);
	if (r < 0)
		return r;
	*step = DW_STEP_CLONE;
	r = dw_step_fails(*step) ? -EIO : clone_child(c, b);
	if (r < 0)
		return r;
	*step = DW_STEP_USERNS_MAP;
	r = dw_step_fails(*step) ? -EIO : map_child(c, b);
	if (r < 0)
		return r;
	*step = DW_STEP_LINK;
	return link_child(nl, b, step);
}

static void serve_build(const struct dw_builder_config *c, struct dw_nl *nl, const struct dw_builder_req *req,
			int control_fd)
{
	struct build b = {
		.slot = req->slot,
		.uid_base = dw_uid_base(req->index),
		.control_fd = control_fd,
		.sync_fd = -1,
		.pidfd = -1,
		.userns_fd = -1,
		.pid = -1,
	};
	enum dw_step step = DW_STEP_NONE;
	int r = build(c, nl, &b, &step);
	if (r < 0 && b.pid > 0)
		syscall(SYS_pidfd_send_signal, b.pidfd, SIGKILL, NULL, 0);
	/* The keeper is the child's parent: it gets the pidfd in any case, to reap. */
	const struct dw_builder_rep rep = {
		.op = DW_BUILDER_BUILD,
		.slot = b.slot,
		.errnum = -r,
		.step = r < 0 ? step : DW_STEP_NONE,
		.pid = b.pid,
	};
	int fds[2] = { b.pidfd, b.userns_fd };
	size_t n = b.pid <= 0 ? 0 : b.userns_fd >= 0 ? 2 : 1;
	DW_IGNORE(dw_msg_send(c->sock, &rep, sizeof(rep), fds, n,
			      0)); /* the next receive tells that the keeper is gone */
	const int mine[] = { b.pidfd, b.userns_fd, b.sync_fd };
	for (size_t i = 0; i < DW_COUNT(mine); i++) {
		if (mine[i] >= 0)
			close(mine[i]);
	}
}

static void serve_clean(const struct dw_builder_config *c, const struct dw_nl *nl, const struct dw_builder_req *req)
{
	int r = dw_cgroups_remove(c->cgroups, req->slot);
	/* The link goes with the sandbox's namespace, in the kernel's time; until then the slot counts as dying. */
	if (r == 0 && dw_net_link_exists(nl, req->slot))
		r = -EBUSY;
	const struct dw_builder_rep rep = { .op = DW_BUILDER_CLEAN, .slot = req->slot, .errnum = -r, .pid = -1 };
	DW_IGNORE(dw_msg_send(c->sock, &rep, sizeof(rep), NULL, 0, 0)); /* as above */
}

static int enter_gate(bool no_ipv6, struct dw_nl *nl, int *ret_netns_fd)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	int r = dw_nl_open(no_ipv6, nl);
	if (r == 0)
		r = dw_net_gate_init(nl);
	if (r < 0)
		return r;
	*ret_netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return *ret_netns_fd < 0 ? -errno : 0;
}

void dw_builder_main(const struct dw_builder_config *c)
{
	struct dw_nl nl = { .ioctl_fd = -1 };
	int netns = -1;
	int r = enter_gate(c->no_ipv6, &nl, &netns);
	const struct dw_builder_rep hello = { .errnum = -r };
	if (dw_msg_send(c->sock, &hello, sizeof(hello), &netns, netns >= 0, 0) < 0 || r < 0)
		return;
	close(netns);
	for (;;) {
		struct dw_builder_req req;
		int fds[DW_MSG_FDS_MAX];
		size_t fds_n;
		ssize_t n = dw_msg_recv(c->sock, &req, sizeof(req), fds, &fds_n, 0);
		if (n <= 0)
			break;
		if (n == sizeof(req) && req.op == DW_BUILDER_BUILD && fds_n == 1 && req.index < DW_SLOT_INDEX_MAX)
			serve_build(c, &nl, &req, fds[0]);
		else if (n == sizeof(req) && req.op == DW_BUILDER_CLEAN)
			serve_clean(c, &nl, &req);
		dw_close_all(fds, fds_n);
	}
	dw_nl_close(&nl);
}
