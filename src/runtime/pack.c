/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a sandbox's files, the keeper's side: a child for each, whose end is an event like others. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime/keeper.h"
#include "runtime/layer.h"
#include "runtime/msg.h"
#include "runtime/pack_child.h"

/* Beside its own limit of CPU time: for a disk that takes nothing. */
#define PACK_MS 600000

unsigned dw_pack_count(const struct dw_keeper *k)
{
	unsigned n = 0;
	for (unsigned i = 0; i < DW_PACKS_MAX; i++)
		n += k->packs[i].pidfd > 0;
	return n;
}

static void end_one(const struct dw_pack *p)
{
	syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
}

void dw_pack_end(struct dw_keeper *k, uint32_t number)
{
	for (unsigned i = 0; i < DW_PACKS_MAX; i++) {
		if (k->packs[i].pidfd > 0 && (!number || k->packs[i].slot == number))
			end_one(&k->packs[i]);
	}
}

int64_t dw_pack_expire(struct dw_keeper *k, int64_t now)
{
	int64_t at = INT64_MAX;
	for (unsigned i = 0; i < DW_PACKS_MAX; i++) {
		struct dw_pack *p = &k->packs[i];
		if (p->pidfd <= 0 || p->late)
			continue;
		if (p->deadline <= now) {
			p->late = true;
			end_one(p);
		} else {
			at = DW_MIN(at, p->deadline);
		}
	}
	return at;
}

static int too_slow(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_UNPROCESSABLE, "snapshot_too_slow",
			  "reading the sandbox's files took too long; remove what has very many names or pieces");
}

/* -1 with err unless it is done. */
static int judge(const struct dw_pack *p, const struct dw_pack_report *r, struct dw_err *err)
{
	switch ((enum dw_pack_end)r->end) {
	case DW_PACK_DONE:
		return 0;
	case DW_PACK_TOO_LARGE:
		break;
	case DW_PACK_LONG_PATH:
		return dw_err_set(err, DW_ERR_UNPROCESSABLE, "path_too_long",
				  "the sandbox has a path of more than %d bytes, which a snapshot can not hold",
				  DW_LAYER_PATH_MAX);
	case DW_PACK_MANY_LINKS:
		return dw_err_set(err, DW_ERR_UNPROCESSABLE, "too_many_links",
				  "the sandbox has more files with several names than a snapshot can hold");
	case DW_PACK_HUGE_FILE:
		return dw_err_set(err, DW_ERR_UNPROCESSABLE, "file_too_large",
				  "a file in the sandbox says that it is larger than 16 TiB");
	case DW_PACK_XATTRS:
		return dw_err_set(err, DW_ERR_UNPROCESSABLE, "attributes_too_large",
				  "a file in the sandbox has more than %u KiB of extended attributes",
				  DW_LAYER_XATTR_MAX >> 10);
	case DW_PACK_FAILED:
		if (r->errnum == ENOSPC || r->errnum == EDQUOT)
			return dw_err_set(err, DW_ERR_TOO_LARGE, "server_disk_full",
					  "the server's disk has no room for this snapshot");
		if (r->errnum != EFBIG)
			return dw_err_errno(err, r->errnum ? r->errnum : EIO,
					    "cannot read the sandbox's files, step \"%s\"",
					    dw_runtime_steps[DW_STEP_PACK]);
		break;
	}
	return dw_err_set(err, DW_ERR_TOO_LARGE, "snapshot_too_large",
			  "the snapshot would be larger than %llu MB, which is what there is room for",
			  (unsigned long long)p->max_bytes >> 20);
}

static void answer(const struct dw_pack *p, const siginfo_t *info)
{
	struct dw_pack_report report;
	struct dw_err err;
	int fds[DW_MSG_FDS_MAX], r;
	size_t fds_n = 0;
	ssize_t n = dw_msg_recv(p->report_fd, &report, sizeof(report), fds, &fds_n, MSG_DONTWAIT);
	if (n > 0)
		dw_close_all(fds, fds_n);
	if (n == sizeof(report))
		r = judge(p, &report, &err);
	else if (p->late || (info->si_code != CLD_EXITED && info->si_status == SIGXCPU))
		r = too_slow(&err);
	else if (info->si_code != CLD_EXITED && info->si_status == SIGKILL)
		r = dw_err_set(&err, DW_ERR_NOT_FOUND, "no_sandbox", "the sandbox has ended");
	else
		r = dw_err_set(&err, DW_ERR_INTERNAL, "internal", "what reads the sandbox's files has ended (%s %d)",
			       info->si_code == CLD_EXITED ? "status" : "signal", info->si_status);
	if (r < 0)
		dw_keeper_reply_err(p->reply_fd, &err);
	else
		dw_keeper_reply(p->reply_fd, &(struct dw_keeper_rep){ .slot = p->slot, .packed_bytes = report.bytes },
				-1);
}

void dw_pack_on_exit(struct dw_keeper *k, struct dw_pack *p)
{
	siginfo_t info = { 0 };
	if (p->pidfd <= 0 || waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	answer(p, &info);
	epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, p->pidfd, NULL);
	close(p->pidfd);
	close(p->report_fd);
	*p = (struct dw_pack){ 0 };
}

/* The child's pidfd, or -errno. */
static int start_child(const struct dw_slot *s, struct dw_pack *p, int out_fd)
{
	int pair[2];
	if (dw_step_fails(DW_STEP_PACK_START))
		return -EIO;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	const struct dw_pack_job job = {
		.userns_fd = s->userns_fd,
		.upper_fd = s->upper_fd,
		.out_fd = out_fd,
		.report_fd = pair[1],
		.max_bytes = p->max_bytes,
	};
	p->report_fd = pair[0];
	pid_t pid = fork();
	if (pid == 0)
		dw_pack_child(&job);
	int r = pid < 0 ? -errno : (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid > 0 && r < 0) {
		r = -errno;
		kill(pid, SIGKILL); /* ours, and not reaped yet */
		waitpid(pid, NULL, 0);
	}
	close(pair[1]);
	if (r < 0)
		close(pair[0]);
	return r;
}

/* A free entry, or NULL with err. */
static struct dw_pack *find_free(struct dw_keeper *k, const struct dw_slot *s, struct dw_err *err)
{
	struct dw_pack *p = NULL;
	for (unsigned i = 0; i < DW_PACKS_MAX; i++) {
		if (k->packs[i].pidfd <= 0) {
			p = &k->packs[i];
		} else if (k->packs[i].slot == s->number) {
			dw_err_set(err, DW_ERR_CONFLICT, "snapshot_in_progress",
				   "another snapshot of this sandbox is being made");
			return NULL;
		}
	}
	if (!p)
		dw_err_set(err, DW_ERR_UNAVAILABLE, "busy", "%u snapshots are being made; try again", DW_PACKS_MAX);
	return p;
}

void dw_pack_start(struct dw_keeper *k, const struct dw_slot *s, uint64_t max_bytes, int out_fd, int reply_fd)
{
	struct dw_err err;
	dw_autoclose int out = out_fd;
	struct dw_pack *p = find_free(k, s, &err);
	if (!p) {
		dw_keeper_reply_err(reply_fd, &err);
		return;
	}
	*p = (struct dw_pack){
		.slot = s->number, .max_bytes = max_bytes, .reply_fd = reply_fd, .deadline = dw_keeper_now() + PACK_MS
	};
	int r = start_child(s, p, out);
	if (r >= 0) {
		p->pidfd = r;
		r = dw_keeper_watch(k, DW_SOURCE_PACK, (uint32_t)(p - k->packs), p->pidfd);
		if (r == 0)
			return;
		end_one(p);
		DW_IGNORE(waitid(P_PIDFD, (id_t)p->pidfd, &(siginfo_t){ 0 }, WEXITED)); /* killed: at once */
		close(p->pidfd);
		close(p->report_fd);
	}
	dw_err_errno(&err, -r, "cannot read the sandbox's files, step \"%s\"", dw_runtime_steps[DW_STEP_PACK_START]);
	dw_keeper_reply_err(reply_fd, &err);
	*p = (struct dw_pack){ 0 };
}
