/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch: the events of inotify(7) as frames, until the agent ends this process because the daemon hung up. Nothing is kept for a slow
 * reader: sending waits, then the kernel's queue fills, and what it drops is told of as an overflow.
 *
 * A recursive watch watches every directory below. What happens in a new one before it is watched would be missed: so it is watched first,
 * then looked into, and what is found there told of as created. What was created between the two is both found and in the
 * queue; those names are noted and told of once.
 *
 * The two halves of a renaming are two events that mostly stand side by side in the queue, but need not. A first half waits
 * a moment for its second; without one the name has left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/file_internal.h"
#include "agent/watch_internal.h"

#define MASK                                                                                                           \
	(IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | \
	 IN_ONLYDIR | IN_EXCL_UNLINK)
#define PAIR_MS 20 /* for the second half of a renaming */
/* Nothing tells when a directory above is renamed, or when one that was removed is still somebody's working directory. */
#define LOOK_MS 1000

static struct {
	int fd;
	bool recursive, begun, crowded;
	const char *path; /* absolute */
	struct stat st;   /* of the directory */
	int wd;
	size_t out_n; /* frames in dw_file_chunk */
	/* The event before, in the frames that wait: a second one just like it says nothing. */
	enum dw_agentp_happening last;
	int last_wd;
	char last_name[NAME_MAX + 1];

	size_t at, n; /* events in buf */
	char buf[64 << 10] __attribute__((aligned(__alignof__(struct inotify_event))));
} w;

static void flush(void)
{
	dw_file_send_all(dw_file_chunk, w.out_n);
	w.out_n = 0;
	w.last = DW_AGENTP_HAPPENED_NOTHING;
}

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ .p = (const uint8_t *)s, .n = strlen(s) };
}

static void tell(enum dw_agentp_happening what, bool dir, const char *path, const char *to)
{
	const struct dw_agentp_event e = { .what = what, .dir = dir, .path = span_of(path), .to = span_of(to) };
	const size_t most = DW_AGENTP_HEADER + 2 * DW_AGENTP_ENTRY_PATH_MAX + 16;
	if (w.out_n + most > sizeof(dw_file_chunk))
		flush();
	uint8_t *head = dw_file_chunk + w.out_n;
	const size_t n = dw_agentp_event_build(&e, head + DW_AGENTP_HEADER, most - DW_AGENTP_HEADER);
	dw_assert(n > 0);
	dw_agentp_header_build(head, DW_AGENTP_EVENT, (uint32_t)n);
	w.out_n += DW_AGENTP_HEADER + n;
}

static void tell_name(enum dw_agentp_happening what, bool dir, int wd, const char *name)
{
	const char *path = dw_watch_path(wd, name);
	if (!path || (w.last == what && w.last_wd == wd && strcmp(w.last_name, name) == 0))
		return;
	tell(what, dir, path, "");
	w.last = what;
	w.last_wd = wd;
	snprintf(w.last_name, sizeof(w.last_name), "%s", name);
}

static _Noreturn void end(enum dw_agentp_happening what)
{
	tell(what, true, "", "");
	flush();
	_exit(0);
}

static void crowded(void)
{
	if (w.begun && !w.crowded)
		tell(DW_AGENTP_CROWDED, false, "", "");
	w.crowded = true;
}

/*
 * A directory below the watched one; -1 with errno. What is told of is what has been: by now the path may lead elsewhere, so neither
 * links nor anything outside is followed. The watched one is looked up again each time, as an open directory would keep its file
 * system from being unmounted.
 */
static int open_below(const char *rel)
{
	const struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	struct stat st;
	dw_autoclose int top = open(w.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || fstat(top, &st) != 0)
		return -1;
	if (st.st_dev != w.st.st_dev || st.st_ino != w.st.st_ino) {
		errno = ENOENT;
		return -1;
	}
	return (int)syscall(SYS_openat2, top, rel, &how, sizeof(how));
}

/* Watches an open directory, and not what its path leads to by now. */
static int watch_open(int fd)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return inotify_add_watch(w.fd, path, MASK);
}

static void enter(int parent, const char *name, bool found);

/* Looks into the directory wd; found: what is there is news. */
static void look_into(int wd, int fd_take, bool found)
{
	DIR *dir = fdopendir(fd_take);
	if (!dir) {
		close(fd_take);
		crowded();
		return;
	}
	for (const struct dirent *d; (d = readdir(dir));) {
		struct stat st;
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		const bool is_dir =
			d->d_type == DT_UNKNOWN
				? fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)
				: d->d_type == DT_DIR;
		const bool news = found && dw_watch_tell(wd, d->d_name);
		if (news)
			tell_name(DW_AGENTP_CREATED, is_dir, wd, d->d_name);
		if (is_dir)
			enter(wd, d->d_name, found);
	}
	closedir(dir);
}

/* What has left is not watched any more. What the queue still says of it finds no directory then. */
static void forget(const struct dw_watch_dir *top)
{
	static int leaving[DW_WATCH_DIRS_MAX];
	size_t n = 0;
	const struct dw_watch_dir *d;
	for (size_t i = 0; top && (d = dw_watch_nth(i)); i++)
		if (dw_watch_below(d, top))
			leaving[n++] = d->wd;
	for (size_t i = 0; i < n; i++) {
		inotify_rm_watch(w.fd, leaving[i]);
		dw_watch_drop(dw_watch_find(leaving[i]));
	}
}

/* One that is gone again, or that nobody may read, is not watched; what there is too much of is told. */
static void not_entered(int number)
{
	if (number == EMFILE || number == ENFILE || number == ENOMEM || number == ENOSPC || number == ENAMETOOLONG)
		crowded();
}

/* Watches the open directory name in parent; 0 when it is not watched there. */
static int enter_open(int fd, int parent, const char *name)
{
	const int wd = watch_open(fd);
	if (wd < 0) {
		not_entered(errno);
		return 0;
	}
	/* A directory can be in itself only by a mount, or when renamings are still in the queue: those will tell. */
	const struct dw_watch_dir *old = dw_watch_find(wd);
	if (wd == w.wd || (old && dw_watch_below(dw_watch_find(parent), old)))
		return 0;
	if (!dw_watch_put(wd, parent, name)) {
		inotify_rm_watch(w.fd, wd);
		crowded();
		return 0;
	}
	/* Another one that had this name is not here now. Before the beginning there is none. */
	if (w.begun)
		forget(dw_watch_child(parent, name, wd));
	return wd;
}

/* Watches the directory name in parent, and those below it. */
static void enter(int parent, const char *name, bool found)
{
	const char *rel = dw_watch_path(parent, name);
	if (!rel) {
		/* Too long, or in one that is not known any more and concerns nobody. */
		if (dw_watch_below(dw_watch_find(parent), dw_watch_find(w.wd)))
			crowded();
		return;
	}
	const int fd = open_below(rel);
	if (fd < 0) {
		not_entered(errno);
		return;
	}
	const int wd = enter_open(fd, parent, name);
	if (wd)
		look_into(wd, fd, found);
	else
		close(fd);
}

/* More events behind what is left; false when none came in time. */
static bool more(int wait_ms)
{
	struct pollfd p = { .fd = w.fd, .events = POLLIN };
	if (w.at) {
		memmove(w.buf, w.buf + w.at, w.n - w.at);
		w.n -= w.at;
		w.at = 0;
	}
	if (sizeof(w.buf) - w.n < sizeof(struct inotify_event) + NAME_MAX + 1 || poll(&p, 1, wait_ms) <= 0)
		return false;
	const ssize_t n = read(w.fd, w.buf + w.n, sizeof(w.buf) - w.n);
	if (n > 0)
		w.n += (size_t)n;
	return n > 0;
}

static struct inotify_event *event_at(size_t at)
{
	return (struct inotify_event *)(void *)(w.buf + at);
}

/* The second half of a renaming; NULL when it is not here. */
static struct inotify_event *second_half(uint32_t cookie)
{
	for (size_t at = w.at; at < w.n; at += sizeof(struct inotify_event) + event_at(at)->len)
		if (event_at(at)->mask & IN_MOVED_TO && event_at(at)->cookie == cookie)
			return event_at(at);
	return NULL;
}

/*
 * A directory that was renamed goes on under its new name, whatever is there by now: what else happened to it is still in the queue.
 * At both names something else may be already (they may have been exchanged), which is found by looking.
 */
static void move_dir(int wd, const char *name, int to_wd, const char *to_name)
{
	const struct dw_watch_dir *d = dw_watch_child(wd, name, 0), *to = dw_watch_find(to_wd);
	if (d && (!to || dw_watch_below(to, d))) {
		forget(d);
	} else if (d) {
		const int moved = d->wd;
		if (dw_watch_put(moved, to_wd, to_name)) {
			forget(dw_watch_child(to_wd, to_name, moved));
		} else {
			inotify_rm_watch(w.fd, moved);
			crowded();
		}
	}
	enter(to_wd, to_name, false);
	enter(wd, name, false);
}

static void moved_from(int wd, const char *event_name, bool dir, uint32_t cookie)
{
	char name[NAME_MAX + 1]; /* the event moves when more come */
	snprintf(name, sizeof(name), "%s", event_name);
	dw_watch_untell(wd, name);
	struct inotify_event *to = second_half(cookie);
	if (!to && more(PAIR_MS))
		to = second_half(cookie);
	if (!to) {
		tell_name(DW_AGENTP_REMOVED, dir, wd, name);
		if (dir)
			forget(dw_watch_child(wd, name, 0));
		return;
	}
	const char *path = dw_watch_path(wd, name), *to_path = dw_watch_path(to->wd, to->name);
	if (path && to_path)
		tell(DW_AGENTP_RENAMED, dir, path, to_path);
	w.last = DW_AGENTP_HAPPENED_NOTHING;
	to->mask = 0;
	if (dir && w.recursive)
		move_dir(wd, name, to->wd, to->name);
}

static void came(int wd, const char *name, bool dir, bool made)
{
	/* Only making it can have been told of: what is renamed to this name is another thing. */
	if (!made || !dw_watch_untell(wd, name))
		tell_name(DW_AGENTP_CREATED, dir, wd, name);
	if (dir && w.recursive)
		enter(wd, name, true);
}

static void overflow(void)
{
	tell(DW_AGENTP_OVERFLOW, false, "", "");
	if (!w.recursive)
		return;
	/* What was made meanwhile has to be watched, and what left meanwhile is not to be: so all of it anew. */
	const struct dw_watch_dir *d;
	for (size_t i = 0; (d = dw_watch_nth(i));) {
		if (d->wd == w.wd) {
			i++;
			continue;
		}
		inotify_rm_watch(w.fd, d->wd);
		dw_watch_drop(dw_watch_find(d->wd));
	}
	const int fd = open_below(".");
	if (fd >= 0)
		look_into(w.wd, fd, false);
	else
		not_entered(errno);
}

/* What concerns a watched directory itself. */
static void handle_self(int wd, uint32_t mask)
{
	struct dw_watch_dir *d = dw_watch_find(wd);
	if (wd == w.wd && mask & (IN_DELETE_SELF | IN_UNMOUNT | IN_IGNORED))
		end(DW_AGENTP_GONE);
	if (wd == w.wd && mask & IN_MOVE_SELF)
		end(DW_AGENTP_MOVED);
	if (mask & IN_IGNORED && d)
		dw_watch_drop(d);
}

static void handle(const struct inotify_event *e)
{
	const bool dir = e->mask & IN_ISDIR;
	if (e->mask & IN_Q_OVERFLOW)
		overflow();
	else if (!e->len)
		handle_self(e->wd, e->mask);
	else if (e->mask & IN_MOVED_FROM)
		moved_from(e->wd, e->name, dir, e->cookie);
	else if (e->mask & (IN_CREATE | IN_MOVED_TO))
		came(e->wd, e->name, dir, e->mask & IN_CREATE);
	else if (e->mask & IN_DELETE) {
		dw_watch_untell(e->wd, e->name);
		tell_name(DW_AGENTP_REMOVED, dir, e->wd, e->name);
	} else if (e->mask & IN_MODIFY)
		tell_name(DW_AGENTP_MODIFIED, dir, e->wd, e->name);
	else if (e->mask & IN_ATTRIB)
		tell_name(DW_AGENTP_CHANGED, dir, e->wd, e->name);
}

/* Ends the watch when its path leads elsewhere now. */
static void look_at_path(void)
{
	struct stat st;
	if (stat(w.path, &st) == 0) {
		if (st.st_dev != w.st.st_dev || st.st_ino != w.st.st_ino)
			end(DW_AGENTP_MOVED);
	} else if (errno == ENOENT || errno == ENOTDIR) {
		end(DW_AGENTP_GONE);
	}
}

static _Noreturn void run(void)
{
	for (;;) {
		if (!more(0)) {
			/* What was found by looking and was in the queue as well has been seen twice now. */
			dw_watch_untell_all();
			look_at_path();
			DW_IGNORE(more(LOOK_MS)); /* or it is time to look again */
		}
		while (w.at < w.n) {
			const struct inotify_event *e = event_at(w.at);
			w.at += sizeof(*e) + e->len;
			handle(e);
		}
		flush();
	}
}

static int can_not(const char *path, int number, struct dw_fault *f)
{
	if (number == EMFILE || number == ENOSPC)
		return dw_fault_set(f, EMFILE, "\"%s\" can not be watched: too much is watched at this time", path);
	return dw_fault_errno(f, number, "\"%s\" can not be watched", path);
}

int dw_file_watch(const char *path, bool recursive, struct dw_fault *f)
{
	w.path = path;
	w.recursive = recursive;
	w.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	dw_autoclose int dir = w.fd < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &w.st) != 0)
		return can_not(path, errno, f);
	w.wd = recursive ? watch_open(dir) : inotify_add_watch(w.fd, path, MASK);
	if (w.wd < 0)
		return can_not(path, errno, f);
	if (!dw_watch_put(w.wd, 0, ""))
		return can_not(path, ENOMEM, f);
	const int fd = recursive ? open_below(".") : -1;
	if (recursive && fd < 0)
		return can_not(path, errno, f);
	if (recursive)
		look_into(w.wd, fd, false);
	close(DW_TAKE_FD(dir)); /* it would keep the file system from being unmounted */
	if (w.crowded)
		return dw_fault_set(
			f, E2BIG,
			"\"%s\" has more than %u directories, or more than this sandbox may watch: watch a part "
			"of it, or not recursively",
			path, DW_WATCH_DIRS_MAX - 1);
	w.begun = true;
	tell(DW_AGENTP_WATCHING, true, path, "");
	flush();
	run();
}
