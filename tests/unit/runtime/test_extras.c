/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox can start with beside the host's template: a root of its own, an archive of another's disk, attached directories. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/failpoint.h"

#define PACK_MAX (256ull << 20)

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("not found: %s\nin: %s", part, text);
}

static struct dw_sandbox_handle create(struct fixture *f, const struct dw_sandbox_spec *spec)
{
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h = { 0 };
	if (dw_runtime_create(f->rt, spec, &h, &err) < 0)
		fail_msg("create: %s", err.message);
	return h;
}

static void refused(struct fixture *f, const struct dw_sandbox_spec *spec, enum dw_err_kind kind, const char *code)
{
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h;
	assert_int_equal(dw_runtime_create(f->rt, spec, &h, &err), -1);
	if (strcmp(err.code, code) != 0)
		fail_msg("%s: %s", err.code, err.message);
	assert_int_equal(err.kind, kind);
}

/* The archive, open; the caller closes it. */
static int pack(struct fixture *f, const struct dw_sandbox_handle *h)
{
	struct dw_err err = { 0 };
	uint64_t bytes = 0;
	struct stat st;
	char path[128];
	snprintf(path, sizeof(path), "%s/pack.tar", f->dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	if (dw_runtime_pack(f->rt, h->slot, fd, PACK_MAX, &bytes, &err) < 0)
		fail_msg("pack: %s", err.message);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(bytes > 0 && (uint64_t)st.st_size == bytes);
	return fd;
}

static void run(const struct dw_sandbox_handle *h, const char *command)
{
	const char *got = fixture_ask(h, 'c', command);
	if (!strstr(got, "status 0"))
		fail_msg("%s\n%s", command, got);
}

/* Changes of all kinds, as a program inside makes them. */
static const char changes[] =
	"set -e; cd /home/user; umask 022\n"
	"echo one > plain; chown 1000:1000 plain; touch -d @1000000000.123456789 plain\n"
	"echo two > mode; chmod 6751 mode; chown 33:44 mode\n"
	"ln plain second; ln -s /nowhere/at/all link; chown -h 1000:1000 link; mkfifo -m 640 fifo\n"
	"truncate -s 3G hole; printf x | dd of=hole bs=1 seek=1G conv=notrunc status=none; truncate -s 5M allhole\n"
	"mkdir -p deep/er/est; echo three > deep/er/est/f; chmod 500 deep/er; touch -d @86400 deep/er deep\n"
	"touch \"$(printf 'n\\377\\n t')\" empty; mkdir tmpdir; chmod 1777 tmpdir\n"
	"dd if=/dev/urandom of=large bs=1M count=20 status=none; sha256sum large > large.sum\n"
	"rm /etc/shells /usr/bin/env; rm -r /usr/share/doc; mkdir /usr/share/doc; echo doc > /usr/share/doc/mine\n"
	"echo 10.0.0.1 more >> /etc/hosts; mv /etc/profile /etc/profile.old; chmod 700 /etc/profile.old; echo new > "
	"/usr/bin/fresh\n";

static const char look[] =
	"cd /home/user; stat -c '%n %a %u %g %F %s %h %Y' plain mode link fifo hole allhole deep deep/er deep/er/est/f "
	"empty "
	"tmpdir second /etc/profile.old /usr/bin/fresh; ls -b; stat -c '%y' plain; readlink link; ls /usr/share/doc; "
	"ls /etc/shells /etc/profile /usr/bin/env; "
	"sha256sum -c large.sum; dd if=hole bs=1 skip=1G count=1 status=none; test $(stat -c %b hole) -lt 64 && echo "
	"sparse; "
	"test $(stat -c %b allhole) = 0 && echo sparse2; test plain -ef second && echo same; tail -n +3 /etc/hosts; "
	"cat /etc/profile.old | cksum";

static void test_round(void **state)
{
	struct fixture *f = *state;
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_handle h = fixture_create(f);
	run(&h, changes);
	dw_autofree char *before = strdup(fixture_ask(&h, 'c', look));
	for (int i = 0; i < 2; i++) {
		dw_autoclose int fd = pack(f, &h);
		fixture_destroy(f, &h);
		struct dw_sandbox_spec spec = fixture_spec();
		spec.layer_fd = fd;
		spec.hostname = "other-name";
		h = create(f, &spec);
		const char *after = fixture_ask(&h, 'c', look);
		assert_string_equal(before, after);
		has(after, "sparse\n");
		has(after, "sparse2\nsame\n");
		has(after, "No such file");
		has(fixture_ask(&h, 'f', "/etc/hostname"), "other-name\n");
		has(fixture_ask(&h, 'f', "/etc/hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\tother-name\n::1\t");
	}
	fixture_destroy(f, &h);
	fixture_stop(f);
}

static void test_xattrs(void **state)
{
	struct fixture *f = *state;
	static const char set[] =
		"python3 -c 'import os; p=\"/home/user/x\"; open(p,\"w\").close(); "
		"os.setxattr(p,\"user.a\",bytes(range(256)));"
		"os.setxattr(p,\"user.=% \\u00e9\",b\"\"); os.setxattr(p,\"user.big\",b\"z\"*40000);"
		"os.setxattr(p,\"security.capability\",bytes.fromhex(\"0100000200040000000000000000000000000000\"));"
		"os.setxattr(\"/home/user\",\"user.overlay.mine\",b\"1\");"
		"os.setxattr(p,\"system.posix_acl_access\",bytes.fromhex("
		"\"0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff\"))'";
	static const char get[] = "python3 -c 'import os\nfor p in (\"/home/user/x\",\"/home/user\"): print(sorted((n, "
				  "os.getxattr(p,n)[:300]) for n in os.listxattr(p)))'";
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_handle h = fixture_create(f);
	run(&h, set);
	dw_autofree char *before = strdup(fixture_ask(&h, 'c', get));
	has(before, "security.capability");
	has(before, "user.overlay.mine");
	dw_autoclose int fd = pack(f, &h);
	fixture_destroy(f, &h);
	struct dw_sandbox_spec spec = fixture_spec();
	spec.layer_fd = fd;
	h = create(f, &spec);
	assert_string_equal(before, fixture_ask(&h, 'c', get));
	fixture_destroy(f, &h);
	fixture_stop(f);
}

/* A directory below the test's own, with a file; owned by uid. */
static int make_tree(const struct fixture *f, const char *name, uid_t uid)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(chown(path, uid, uid), 0);
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void make_file(int dir, const char *name, uid_t uid, mode_t mode, const char *text)
{
	dw_autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchown(fd, uid, uid), 0);
	assert_int_equal(fchmod(fd, mode), 0);
}

static void make_dir(int dir, const char *name, uid_t uid, mode_t mode)
{
	assert_int_equal(mkdirat(dir, name, 0700), 0);
	assert_int_equal(fchmodat(dir, name, mode, 0), 0);
	assert_int_equal(fchownat(dir, name, uid, uid, 0), 0);
}

/* A root without a single program; what the sandbox needs of it is in its way or missing. */
static void test_own_root(void **state)
{
	struct fixture *f = *state;
	dw_autoclose int root = make_tree(f, "tpl", 0);
	make_dir(root, "etc", 0, 0755);
	make_dir(root, "home", 0, 0755);
	make_dir(root, "home/user", 1000, 0750);
	make_file(root, "etc/motd", 33, 0600, "hello\n");
	assert_int_equal(symlinkat("/etc", root, "dev"), 0);
	assert_int_equal(symlinkat("../run/systemd/resolv", root, "etc/resolv.conf"), 0);
	make_file(root, "proc", 0, 0644, "not a directory");
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_spec spec = fixture_spec();
	spec.root_fd = root;
	spec.template_name = "tpl-0000";
	struct dw_sandbox_handle h = create(f, &spec);
	assert_string_equal(fixture_ask(&h, 'f', "/etc/motd"), "hello\n");
	assert_string_equal(fixture_ask(&h, 't', "/etc/motd"), "100600 33:33 6");
	assert_string_equal(fixture_ask(&h, 't', "/home/user"), "40750 1000:1000 4096");
	assert_string_equal(fixture_ask(&h, 'f', "/etc/hostname"), "test-box\n");
	has(fixture_ask(&h, 'f', "/etc/resolv.conf"), "nameserver 100.112.");
	has(fixture_ask(&h, 'd', "/dev"), "null\n");
	has(fixture_ask(&h, 'f', "/proc/self/status"), "\nNoNewPrivs:\t1\n");
	assert_string_equal(fixture_ask(&h, 't', "/usr"), "error 2");
	assert_null(strstr(fixture_ask(&h, 'f', "/proc/self/mountinfo"), " /usr "));
	/* Its disk, and the same on it again. */
	dw_autoclose int fd = pack(f, &h);
	fixture_destroy(f, &h);
	spec.layer_fd = fd;
	h = create(f, &spec);
	assert_string_equal(fixture_ask(&h, 't', "/etc/motd"), "100600 33:33 6");
	fixture_destroy(f, &h);
	fixture_stop(f);
	/* Nothing of a sandbox got into the template. */
	struct stat st;
	assert_int_equal(fstatat(root, "dev", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(fstatat(root, "etc/hostname", &st, 0), -1);
}

static void test_attach(void **state)
{
	struct fixture *f = *state;
	dw_autoclose int vol = make_tree(f, "vol", 1000);
	make_dir(vol, "sub", 1000, 0700);
	make_file(vol, "sub/secret", 1000, 0600, "mine\n");
	make_file(vol, "tool", 1000, 0755, "#!/bin/sh\necho ran\n");
	fixture_start(f);
	fixture_fill(f);
	struct dw_attach attach[] = {
		{ .dir_fd = vol, .mode = DW_ATTACH_READ_ONLY, .path = "/home/user/a/ro" },
		{ .dir_fd = vol, .mode = DW_ATTACH_COPY, .path = "/home/user/b/copy" },
		{ .dir_fd = vol, .mode = DW_ATTACH_COPY, .path = "/mnt" },
		{ .dir_fd = vol, .mode = DW_ATTACH_COPY, .path = "/etc" },
		{ .dir_fd = vol, .mode = DW_ATTACH_READ_ONLY, .path = "/var/run/vol" },
	};
	struct dw_sandbox_spec spec = fixture_spec();
	spec.attach = attach;
	spec.attach_n = DW_COUNT(attach);
	struct dw_sandbox_handle h = create(f, &spec);
	static const char *const places[] = { "/home/user/a/ro", "/home/user/b/copy", "/mnt", "/etc", "/run/vol" };
	for (size_t i = 0; i < DW_COUNT(places); i++) {
		char q[128];
		snprintf(q, sizeof(q), "cat %s/sub/secret; %s/tool; stat -c '%%a %%u' %s/sub %s/tool", places[i],
			 places[i], places[i], places[i]);
		assert_string_equal(fixture_ask(&h, 'c', q), "mine\nran\n700 1000\n755 1000\nstatus 0");
	}
	run(&h, "test $(stat -c %u /home/user/a) = 1000 -a $(stat -c %u /mnt) = 1000 -a $(stat -c %u /etc) = 0");
	run(&h, "echo more > /home/user/b/copy/sub/secret; echo more > /mnt/new");
	run(&h, "! touch /home/user/a/ro/new && ! chmod 777 /home/user/a/ro/tool && ! rm /home/user/a/ro/sub/secret");
	run(&h, "! umount /home/user/a/ro && ! mount -o remount,rw,bind /home/user/a/ro && ! mount --bind /tmp "
		"/home/user/a/ro");
	run(&h, "grep ' /home/user/a/ro ' /proc/self/mountinfo | grep -q ' ro,nosuid,nodev'");
	/* Live, and only the mounted one. */
	make_file(vol, "later", 1000, 0644, "x");
	run(&h, "test -e /home/user/a/ro/later -a ! -e /home/user/b/copy/later");
	/* The copy is of the disk, the mount is not. */
	dw_autoclose int fd = pack(f, &h);
	fixture_destroy(f, &h);
	spec.layer_fd = fd;
	spec.attach_n = 0;
	h = create(f, &spec);
	assert_string_equal(fixture_ask(&h, 'c', "cat /home/user/b/copy/sub/secret; ls /home/user/a/ro"),
			    "more\nstatus 0");
	fixture_destroy(f, &h);
	fixture_stop(f);
	dw_autoclose int secret = openat(vol, "sub/secret", O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	assert_int_equal(read(secret, text, sizeof(text) - 1), 5);
	assert_string_equal(text, "mine\n");
}

static void test_attach_refused(void **state)
{
	struct fixture *f = *state;
	dw_autoclose int vol = make_tree(f, "vol", 1000);
	static const char *const bad[] = { "",      "/",       "relative", "/a/../b", "/a/./b", "/a//b",    "/a/",
					   "/proc", "/proc/x", "/dev/x",   "/sys/x",  "/a/..",  "/dev/shm", "//a" };
	fixture_start(f);
	fixture_fill(f);
	struct dw_attach attach = { .dir_fd = vol };
	struct dw_sandbox_spec spec = fixture_spec();
	spec.attach = &attach;
	spec.attach_n = 1;
	for (size_t i = 0; i < DW_COUNT(bad); i++) {
		snprintf(attach.path, sizeof(attach.path), "%s", bad[i]);
		refused(f, &spec, DW_ERR_INVALID, "invalid_mount_path");
	}
	memset(attach.path, 'x', sizeof(attach.path));
	attach.path[0] = '/';
	refused(f, &spec, DW_ERR_INVALID, "invalid_mount_path");
	snprintf(attach.path, sizeof(attach.path), "/etc/passwd/below");
	refused(f, &spec, DW_ERR_UNPROCESSABLE, "invalid_mount_path");
	snprintf(attach.path, sizeof(attach.path), "/etc/passwd");
	refused(f, &spec, DW_ERR_UNPROCESSABLE, "invalid_mount_path");
	/* 40 MB on a disk of 32. */
	dw_autoclose int fd = openat(vol, "large", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 0), 0);
	static char block[1 << 20];
	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 40; i++)
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	attach.mode = DW_ATTACH_COPY;
	snprintf(attach.path, sizeof(attach.path), "/data");
	refused(f, &spec, DW_ERR_TOO_LARGE, "disk_too_small");
	WAIT_FOR(gate_links(f->gate_fd) == 2);
	fixture_stop(f);
}

static void pack_fails(struct fixture *f, uint32_t slot, uint64_t max, enum dw_err_kind kind, const char *code)
{
	struct dw_err err = { 0 };
	uint64_t bytes;
	dw_autoclose int fd = memfd_create("out", MFD_CLOEXEC);
	assert_int_equal(dw_runtime_pack(f->rt, slot, fd, max, &bytes, &err), -1);
	if (strcmp(err.code, code) != 0)
		fail_msg("%s: %s", err.code, err.message);
	assert_int_equal(err.kind, kind);
}

static void test_pack_refused(void **state)
{
	struct fixture *f = *state;
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_handle h = fixture_create(f);
	run(&h, "dd if=/dev/zero of=/tmp/x bs=1M count=8 status=none");
	pack_fails(f, h.slot, 4 << 20, DW_ERR_TOO_LARGE, "snapshot_too_large");
	pack_fails(f, 99999, PACK_MAX, DW_ERR_NOT_FOUND, "no_sandbox");
	run(&h, "truncate -s 17T /tmp/huge");
	pack_fails(f, h.slot, PACK_MAX, DW_ERR_UNPROCESSABLE, "file_too_large");
	run(&h, "rm /tmp/huge; python3 -c 'import os\nos.chdir(\"/tmp\")\nfor i in range(2500): os.mkdir(\"d\"); "
		"os.chdir(\"d\")'");
	pack_fails(f, h.slot, PACK_MAX, DW_ERR_UNPROCESSABLE, "path_too_long");
	run(&h, "rm -r /tmp/d; python3 -c 'import os\nopen(\"/tmp/f\",\"w\")\nfor i in range(6): "
		"os.setxattr(\"/tmp/f\",\"user.%d\"%i,b\"x\"*60000)'");
	pack_fails(f, h.slot, PACK_MAX, DW_ERR_UNPROCESSABLE, "attributes_too_large");
	run(&h, "rm /tmp/f");
	assert_true(pack(f, &h) >= 0);
	/* Larger than the next one's disk. */
	run(&h, "dd if=/dev/zero of=/tmp/y bs=1M count=22 status=none");
	dw_autoclose int fd = pack(f, &h);
	struct dw_sandbox_spec spec = fixture_spec();
	spec.layer_fd = fd;
	spec.disk_mb = 8;
	refused(f, &spec, DW_ERR_TOO_LARGE, "disk_too_small");
	fixture_destroy(f, &h);
	fixture_stop(f);
}

static void test_pack_steps(void **state)
{
	struct fixture *f = *state;
	static const char *const steps[] = { "pack_start", "pack" };
	for (size_t i = 0; i < DW_COUNT(steps); i++) {
		struct dw_err err = { 0 };
		uint64_t bytes;
		setenv("DECLAW_TEST_FAIL", steps[i], 1);
		fixture_start(f);
		fixture_fill(f);
		struct dw_sandbox_handle h = fixture_create(f);
		dw_autoclose int fd = memfd_create("out", MFD_CLOEXEC);
		for (int j = 0; j < 12; j++)
			assert_int_equal(dw_runtime_pack(f->rt, h.slot, fd, PACK_MAX, &bytes, &err), -1);
		assert_int_equal(err.kind, DW_ERR_INTERNAL);
		has(err.message, steps[i]);
		run(&h, "true");
		fixture_destroy(f, &h);
		fixture_stop(f);
		unsetenv("DECLAW_TEST_FAIL");
	}
}

/* What may mount inside must not reach what all sandboxes share, nor change what is only attached. */
static void test_builder_and_devices(void **state)
{
	struct fixture *f = *state;
	dw_autoclose int vol = make_tree(f, "vol", 1000);
	const struct dw_attach attach = { .dir_fd = vol, .mode = DW_ATTACH_READ_ONLY, .path = "/base/0" };
	make_file(vol, "there", 1000, 0644, "x");
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_spec spec = fixture_spec();
	spec.builder = true;
	struct dw_sandbox_handle h = create(f, &spec);
	run(&h, "mount -t tmpfs x /mnt"); /* it may */
	run(&h, "mount -o remount,bind,rw,dev /dev; ! touch /dev/mine && ! rm /dev/null && ! chmod 600 /dev/null");
	fixture_destroy(f, &h);
	spec.attach = &attach;
	spec.attach_n = 1;
	h = create(f, &spec);
	run(&h, "test -f /base/0/there");
	run(&h, "mount -o remount,bind,rw /base/0; ! touch /base/0/mine && ! chmod 700 /base/0");
	run(&h, "! mount -o remount,rw /base/0 && ! touch /base/0/mine");
	run(&h, "umount /base/0 && ! ls /l && ! grep -q ' /l' /proc/self/mountinfo");
	fixture_destroy(f, &h);
	fixture_stop(f);
}

/* Archives that nobody here wrote. */
static void test_hostile_layers(void **state)
{
	struct fixture *f = *state;
	fixture_start(f);
	fixture_fill(f);
	static const char make[] =
		"python3 - %s <<'E'\n"
		"import sys, tarfile, io\n"
		"def tar(n, *ms):\n"
		" t = tarfile.open(sys.argv[1] + '/' + n, 'w', format=tarfile.PAX_FORMAT)\n"
		" for m in ms:\n"
		"  i = tarfile.TarInfo(m[0]); i.type = m[1]; i.linkname = m[2] if len(m) > 2 else ''\n"
		"  if i.type == tarfile.CHRTYPE: i.devmajor, i.devminor = m[3]\n"
		"  b = b'x' if i.type == tarfile.REGTYPE else b''; i.size = len(b); t.addfile(i, io.BytesIO(b))\n"
		" t.close()\n"
		"T = tarfile\n"
		"E = (('usr', T.DIRTYPE), ('usr', T.DIRTYPE))\n"
		"tar('0', ('../x', T.REGTYPE), *E)\n"
		"tar('1', ('/root/x', T.REGTYPE), *E)\n"
		"tar('2', ('root/../../x', T.REGTYPE), *E)\n"
		"tar('3', ('other/x', T.REGTYPE), *E)\n"
		"tar('4', ('root/l', T.SYMTYPE, '/w'), ('root/l/x', T.REGTYPE), *E)\n"
		"tar('5', ('root/null', T.CHRTYPE, '', (1, 3)), *E)\n"
		"tar('6', ('root/h', T.LNKTYPE, '../proc/1/environ'), *E)\n"
		"tar('7', ('root/b', T.BLKTYPE), *E)\n"
		"tar('8', ('root', T.SYMTYPE, '/w'), *E)\n"
		"open(sys.argv[1] + '/9', 'wb').write(b'not an archive' * 1000)\n"
		"d = open(sys.argv[1] + '/1', 'rb').read(); open(sys.argv[1] + '/10', 'wb').write(d[:700])\n"
		"tar('11')\n"
		"tar('12', ('root/x', T.REGTYPE), ('usr', T.DIRTYPE))\n"
		"tar('13', ('root/x', T.REGTYPE), *E, ('usr/x', T.REGTYPE))\n"
		"tar('14', ('root/x', T.REGTYPE), *E)\n"
		"E\n";
	char command[4096];
	snprintf(command, sizeof(command), make, f->dir);
	assert_int_equal(system(command), 0);
	for (int i = 0; i <= 14; i++) {
		struct dw_err err = { 0 };
		struct dw_sandbox_handle h;
		struct dw_sandbox_spec spec = fixture_spec();
		char path[128];
		snprintf(path, sizeof(path), "%s/%d", f->dir, i);
		dw_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		spec.layer_fd = fd;
		const bool taken = dw_runtime_create(f->rt, &spec, &h, &err) == 0;
		if (taken != (i == 14)) /* nothing is wrong with that one */
			fail_msg("archive %d was %s: %s", i, taken ? "taken" : "refused", err.message);
		if (taken)
			fixture_destroy(f, &h);
		else
			has(err.message, "step \"layer\"");
	}
	fixture_stop(f);
}

int main(void)
{
	need_root();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_xattrs, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_own_root, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_attach, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_attach_refused, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_pack_refused, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_pack_steps, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_builder_and_devices, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_hostile_layers, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
