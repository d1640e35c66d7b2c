/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "runtime/attach.h"
#include "runtime/layer.h"
#include "runtime/names.h"

/* Until the request says how much: room for the directories made ahead. */
#define STAGE_SIZE_AHEAD   "1m"
#define STAGE_INODES_AHEAD "1k"
/* One inode per 16 KiB of the writable layer, and enough for a small one: bounds what file names cost the kernel. */
#define INODES_PER_MB 64u
#define INODES_MIN    4096u
/* /dev/shm is memory of the sandbox, so its memory limit bounds it as well. */
#define SHM_OPTIONS "size=1g,nr_inodes=16k,mode=1777"
/* Terminals come out of one number for the whole machine (kernel.pty.max, 4096), so one sandbox gets a few of them. */
#define PTS_OPTIONS "newinstance,ptmxmode=0666,mode=0620,gid=5,max=64"

static const char *const stage_dirs[] = {
	"l",      "l/root", "l/usr", "u",   "u/root", "u/root/etc", "u/usr",   "w",
	"w/root", "w/usr",  "r",     "dev", "proc",   "m",          "m/empty",
};

/* Files of /proc that speak of the host or that nobody inside needs: empty. */
static const char *const masked_files[] = {
	"buddyinfo",
	"cmdline",
	"config.gz",
	"consoles",
	"crypto",
	"devices",
	"diskstats",
	"dma",
	"dynamic_debug",
	"execdomains",
	"fb",
	"interrupts",
	"iomem",
	"ioports",
	"kallsyms",
	"kcore",
	"key-users",
	"keys",
	"kmsg",
	"kpagecgroup",
	"kpagecount",
	"kpageflags",
	"latency_stats",
	"locks",
	"mdstat",
	"misc",
	"modules",
	"mtrr",
	"pagetypeinfo",
	"partitions",
	"sched_debug",
	"schedstat",
	"slabinfo",
	"softirqs",
	"swaps",
	"sysrq-trigger",
	"timer_list",
	"timer_stats",
	"vmallocinfo",
	"zoneinfo",
	"sys/kernel/core_pattern",
};
static const char *const masked_dirs[] = {
	"acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "pressure", "scsi", "sysvipc", "tty",
};

static int bind_read_only(const char *from, const char *to)
{
	dw_autoclose int fd = open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (fd < 0)
		return -errno;
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
	};
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	return move_mount(fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int write_new(const char *path, const char *text)
{
	dw_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	size_t n = strlen(text);
	if (fd < 0)
		return -errno;
	ssize_t w = write(fd, text, n);
	return w == (ssize_t)n ? 0 : (w < 0 ? -errno : -EIO);
}

/* A boot identifier of the sandbox's own instead of the host's. */
static int mask_boot_id(void)
{
	uint8_t b[16];
	char text[40];
	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return -EIO;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0],
		 b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	int r = write_new("m/boot_id", text);
	return r < 0 ? r : bind_read_only("m/boot_id", "proc/sys/kernel/random/boot_id");
}

static int mask_one(const char *name, const char *cover)
{
	char path[64];
	snprintf(path, sizeof(path), "proc/%s", name);
	int r = bind_read_only(cover, path);
	return r == -ENOENT ? 0 : r; /* this kernel has no such file */
}

static int prepare_proc(void)
{
	if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	int r = write_new("m/file", "");
	if (r == 0)
		r = bind_read_only("proc/sys", "proc/sys");
	for (size_t i = 0; r == 0 && i < DW_COUNT(masked_files); i++) {
		struct stat st;
		char path[64];
		snprintf(path, sizeof(path), "proc/%s", masked_files[i]);
		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			r = mask_one(masked_files[i], "m/file");
	}
	for (size_t i = 0; r == 0 && i < DW_COUNT(masked_dirs); i++) {
		struct stat st;
		char path[64];
		snprintf(path, sizeof(path), "proc/%s", masked_dirs[i]);
		if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			r = mask_one(masked_dirs[i], "m/empty");
	}
	return r == 0 ? mask_boot_id() : r;
}

static int prepare_dev(int dev_fd)
{
	if (move_mount(dev_fd, "", AT_FDCWD, "dev", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	close(dev_fd);
	if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, PTS_OPTIONS) < 0)
		return -errno;
	if (mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, SHM_OPTIONS) < 0)
		return -errno;
	return 0;
}

/* The working directory becomes the root; the old root and all below it leave the mount table. */
static int pivot_here(void)
{
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* Attached by descriptors: the server's data directory is closed to the sandbox's users. */
static int mount_stage(int stage_fd)
{
	dw_autoclose int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", "sandbox", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "size", STAGE_SIZE_AHEAD, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", STAGE_INODES_AHEAD, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", "755", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	dw_autoclose int mnt = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (mnt < 0 || move_mount(mnt, "", stage_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return fchdir(mnt) < 0 ? -errno : 0;
}

static int prepare_stage(int stage_fd)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	int r = mount_stage(stage_fd);
	for (size_t i = 0; r == 0 && i < DW_COUNT(stage_dirs); i++) {
		if (mkdir(stage_dirs[i], 0755) < 0)
			r = -errno;
	}
	return r;
}

int dw_rootfs_prepare(int stage_fd, int dev_fd, enum dw_step *ret_step)
{
	umask(0022);
	*ret_step = DW_STEP_TMPFS;
	int r = dw_step_fails(DW_STEP_TMPFS) ? -EIO : prepare_stage(stage_fd);
	if (r < 0)
		return r;
	*ret_step = DW_STEP_DEV;
	r = dw_step_fails(DW_STEP_DEV) ? -EIO : prepare_dev(dev_fd);
	if (r < 0)
		return r;
	*ret_step = DW_STEP_PROC;
	r = dw_step_fails(DW_STEP_PROC) ? -EIO : prepare_proc();
	if (r < 0)
		return r;
	*ret_step = DW_STEP_PIVOT;
	return pivot_here();
}

/*
 * Layers that are not idmapped belong to nobody inside. The directories that must be the sandbox's own are then made in the
 * upper layer, where a directory's owner and mode hide those of the layer below.
 */
static int own_directories(void)
{
	static const struct {
		const char *path;
		mode_t mode;
		uid_t owner;
	} own[] = {
		{ "home", 0755, 0 },    { "home/user", 0755, 1000 }, { "root", 0700, 0 },      { "tmp", 01777, 0 },
		{ "run", 0755, 0 },     { "opt", 0755, 0 },          { "srv", 0755, 0 },       { "mnt", 0755, 0 },
		{ "var", 0755, 0 },     { "var/tmp", 01777, 0 },     { "var/cache", 0755, 0 }, { "var/lib", 0755, 0 },
		{ "var/log", 0755, 0 },
	};
	for (size_t i = 0; i < DW_COUNT(own); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/u/root/%s", own[i].path);
		if (mkdir(path, 0700) < 0) {
			if (errno == EEXIST)
				continue; /* the archive brought it, or that it is gone */
			return -errno;
		}
		if (chmod(path, own[i].mode) < 0 || chown(path, own[i].owner, own[i].owner) < 0)
			return -errno;
	}
	return 0;
}

/* A disk that was full takes a page or two more when it is filled again, in another order. */
#define FILL_SLACK_MB 16u

static int size_stage(uint32_t disk_mb)
{
	char options[64];
	uint64_t inodes = DW_MAX((uint64_t)disk_mb * INODES_PER_MB, (uint64_t)INODES_MIN);
	snprintf(options, sizeof(options), "size=%" PRIu32 "m,nr_inodes=%" PRIu64, disk_mb, inodes);
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, options) < 0 ? -errno : 0;
}

/* After the filling: what is used, and at least what it should be. */
static int fit_stage(uint32_t disk_mb)
{
	struct statfs fs;
	if (statfs("/u", &fs) < 0)
		return -errno;
	const uint64_t used = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	const uint64_t mb = (used + (1u << 20) - 1) >> 20;
	return size_stage((uint32_t)DW_MAX(mb, (uint64_t)disk_mb));
}

static int mount_overlay(const char *name, const char *target)
{
	char options[128];
	snprintf(options, sizeof(options), "lowerdir=/l/%s,upperdir=/u/%s,workdir=/w/%s,userxattr", name, name, name);
	return mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options) < 0 ? -errno : 0;
}

/* The writable layer, before it is one: what the archive has, and this sandbox's names. */
static int fill_upper(const struct dw_child_go *go, int layer_fd)
{
	int r = 0;
	if (layer_fd >= 0) {
		dw_autoclose int upper = open("/u", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (upper < 0)
			return -errno;
		DW_IGNORE(unlinkat(upper, "root/etc", AT_REMOVEDIR)); /* an archive that has none removed it */
		r = dw_layer_fill(layer_fd, upper);
	}
	if (r == 0)
		r = dw_names_write(go->hostname, go->extras.own_root);
	return r == 0 && go->foreign_lower ? own_directories() : r;
}

static int enter_overlays(const struct dw_child_go *go, const int *lower_fds)
{
	static const char *const lowers[] = { "/l/root", "/l/usr" };
	const size_t n = go->extras.own_root ? 1 : DW_COUNT(lowers);
	for (size_t i = 0; i < n; i++) {
		if (move_mount(lower_fds[i], "", AT_FDCWD, lowers[i], MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return -errno;
	}
	int r = mount_overlay("root", "/r");
	return r == 0 && n > 1 ? mount_overlay("usr", "/r/usr") : r;
}

/* A directory to mount on, whatever a template has there. */
static int make_point(const char *path)
{
	struct stat st;
	if (lstat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		if (unlink(path) < 0)
			return -errno;
	}
	return mkdir(path, 0755) < 0 ? -errno : 0;
}

static int enter_root(void)
{
	int r = make_point("/r/dev");
	if (r == 0)
		r = make_point("/r/proc");
	if (r < 0)
		return r;
	if (move_mount(AT_FDCWD, "/dev", AT_FDCWD, "/r/dev", 0) < 0 ||
	    move_mount(AT_FDCWD, "/proc", AT_FDCWD, "/r/proc", 0) < 0 || chdir("/r") < 0)
		return -errno;
	return pivot_here();
}

static int attach_one(const struct dw_child_go *go, uint32_t i, int mount_fd)
{
	char layer[16];
	if (!go->builder)
		return dw_attach_enter("/r", &go->extras.attach[i], mount_fd);
	snprintf(layer, sizeof(layer), "/l/%u", i);
	dw_autoclose int sealed = dw_attach_seal(mount_fd, layer);
	return sealed < 0 ? sealed : dw_attach_enter("/r", &go->extras.attach[i], sealed);
}

int dw_rootfs_enter(const struct dw_child_go *go, const int *fds, enum dw_step *ret_step)
{
	const int *layer = fds + (go->extras.own_root ? 1 : 2), *attach = layer + go->extras.layer;
	*ret_step = DW_STEP_LAYER;
	int r = size_stage(go->disk_mb + (go->extras.layer ? FILL_SLACK_MB : 0));
	if (r == 0)
		r = dw_step_fails(DW_STEP_LAYER) ? -EIO : fill_upper(go, go->extras.layer ? *layer : -1);
	if (r == 0 && go->extras.layer)
		r = fit_stage(go->disk_mb);
	if (r < 0)
		return r;
	*ret_step = DW_STEP_OVERLAY;
	r = dw_step_fails(DW_STEP_OVERLAY) ? -EIO : enter_overlays(go, fds);
	if (r < 0)
		return r;
	*ret_step = DW_STEP_ATTACH;
	if (dw_step_fails(DW_STEP_ATTACH))
		return -EIO;
	for (uint32_t i = 0; r == 0 && i < go->extras.attach_n; i++)
		r = attach_one(go, i, attach[i]);
	if (r < 0)
		return r;
	*ret_step = DW_STEP_PIVOT;
	return dw_step_fails(DW_STEP_PIVOT) ? -EIO : enter_root();
}
