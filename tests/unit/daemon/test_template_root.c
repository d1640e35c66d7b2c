/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacked roots, good and hostile, and what the server makes of them. They are described by shell lines that run in the
 * root. No line names a file of the host that is written: as root, a broken server would write it.
 */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/netplan.h"
#include "daemon/template_root.h"

#define SHELL "mkdir bin; printf x > bin/sh; chmod 755 bin/sh; "

struct row {
	const char *name;
	const char *make;  /* in the root; ../outside is beside it */
	const char *says;  /* in the message; NULL: good */
	const char *holds; /* a shell line that must succeed afterwards */
};

#define ROOT_LINE  "root:*:0:0:root:/root:/bin/sh"
#define USER_LINE  "user:*:1000:1000:user:/home/user:/bin/sh"
#define PASSWD(of) SHELL "mkdir etc; printf '" of "' > etc/passwd"
#define IS(of)     "test \"$(cat etc/passwd)\" = \"$(printf '" of "')\""

static const struct row rows[] = {
	{ "nothing but a shell", SHELL, NULL,
	  IS(ROOT_LINE "\\n" USER_LINE) " && test \"$(cat etc/group)\" = \"$(printf 'root:*:0:\\nuser:*:1000:')\"" },
	{ "its directories", SHELL, NULL,
	  "test \"$(stat -c '%n %a %u' . dev proc sys tmp run etc home home/user root | tr '\\n' ' ')\" = '. 755 0 dev "
	  "755 0 "
	  "proc 555 0 sys 555 0 tmp 1777 0 run 755 0 etc 755 0 home 755 0 home/user 755 1000 root 700 0 '" },
	{ "directories that it has", SHELL "mkdir -p -m 711 home/user tmp; printf y > home/user/kept", NULL,
	  "test \"$(stat -c %a tmp)\" = 711 && test -e home/user/kept" },
	{ "a mode that keeps others out", SHELL "chmod 700 .", NULL, "test \"$(stat -c %a .)\" = 755" },
	{ "bash alone", "mkdir bin; printf x > bin/bash; chmod 755 bin/bash", NULL, "test -d dev" },
	{ "a shell behind links",
	  "mkdir -p usr/bin; ln -s usr/bin bin; printf x > usr/bin/dash; chmod 755 usr/bin/dash; ln -s /bin/dash "
	  "usr/bin/sh",
	  NULL, "test -d dev" },
	{ "accounts that it has", PASSWD("root:x:0:0::/:/bin/x\\nuser:x:5:5::/:/bin/y\\n"), NULL,
	  IS("root:x:0:0::/:/bin/x\\nuser:x:5:5::/:/bin/y") },
	{ "their numbers under other names", PASSWD("toor:x:0:0::/:/bin/x\\nnode:x:1000:5::/:/bin/y\\n"), NULL,
	  IS("toor:x:0:0::/:/bin/x\\nnode:x:1000:5::/:/bin/y") },
	{ "numbers that only begin like theirs", PASSWD("a:x:00:0::/:\\nb:x:10000:5::/:\\nusers:x:6:1000::/:\\n"), NULL,
	  IS("a:x:00:0::/:\\nb:x:10000:5::/:\\nusers:x:6:1000::/:\\n" ROOT_LINE "\\n" USER_LINE) },
	{ "a last line without its end", PASSWD("root:x:0:0::/:/x"), NULL, IS("root:x:0:0::/:/x\\n" USER_LINE) },
	{ "lines that are none", PASSWD("\\n:\\n::\\n:::\\nroot\\nuser\\nx:y:99999999999999999999\\n"), NULL,
	  IS("\\n:\\n::\\n:::\\nroot\\nuser\\nx:y:99999999999999999999\\n" ROOT_LINE "\\n" USER_LINE) },
	{ "an empty file", PASSWD(""), NULL, IS(ROOT_LINE "\\n" USER_LINE) },
	{ "a link to a file of its own",
	  SHELL "mkdir etc real; printf 'root:x:0:0::/:\\n' > real/passwd; ln -s /real/passwd etc/passwd", NULL,
	  "test -L etc/passwd && test \"$(wc -l < real/passwd)\" = 2" },
	{ "resolv.conf is replaced", SHELL "mkdir etc; printf y > etc/kept; ln -s kept etc/resolv.conf", NULL,
	  "test \"$(cat etc/kept)\" = y && ! test -L etc/resolv.conf && test \"$(stat -c %a etc/resolv.conf)\" = 644 "
	  "&& "
	  "grep -qx 'nameserver " DW_GATEWAY4_TEXT "' etc/resolv.conf" },
	{ "resolv.conf points outside", SHELL "mkdir etc; ln -s ../../outside/file etc/resolv.conf", NULL,
	  "! test -L etc/resolv.conf" },
	{ "home is a link inside", SHELL "mkdir -p of/users; ln -s /of/users home", NULL, "test -d of/users/user" },
	{ "home points outside", SHELL "ln -s ../outside home", "/home", NULL },
	{ "home points to nowhere", SHELL "ln -s nowhere home", "/home is a link to nowhere", NULL },
	{ "no shell", "true", "/bin/sh is missing", NULL },
	{ "a shell that does not run", "mkdir bin; printf x > bin/sh", "/bin/sh is missing", NULL },
	{ "a shell that is a directory", "mkdir -p bin/sh", "/bin/sh is missing", NULL },
	{ "the host's shell", "ln -s ../../../../../../../../bin bin", "/bin/sh is missing", NULL },
	{ "a shell outside", "mkdir bin; ln -s ../../outside/sh bin/sh", "/bin/sh is missing", NULL },
	{ "a shell in a loop", "mkdir bin; ln -s sh bin/sh", "/bin/sh is missing", NULL },
	{ "etc is the root", SHELL "ln -s / etc", "/etc is no directory", "! test -e passwd" },
	{ "etc is outside", SHELL "ln -s ../outside etc", "/etc is no directory", NULL },
	{ "etc is a file", SHELL "printf x > etc", "/etc is no directory", NULL },
	{ "dev is a link", SHELL "mkdir d; ln -s d dev", "/dev is no directory", "test -z \"$(ls d)\"" },
	{ "proc is a link", SHELL "ln -s /bin proc", "/proc is no directory", NULL },
	{ "sys is a file", SHELL "printf x > sys", "/sys is no directory", NULL },
	{ "tmp is a file", SHELL "printf x > tmp", "/tmp is no directory", NULL },
	{ "passwd outside", SHELL "mkdir etc; ln -s ../../outside/file etc/passwd", "etc/passwd", NULL },
	{ "passwd outside, by its whole path", SHELL "mkdir etc; ln -s \"$(cd ../outside && pwd)/file\" etc/passwd",
	  "etc/passwd", NULL },
	{ "group outside", SHELL "mkdir etc; ln -s ../../outside/file etc/group", "etc/group", NULL },
	{ "passwd is a directory", SHELL "mkdir -p etc/passwd", "etc/passwd", NULL },
	{ "passwd is a pipe", SHELL "mkdir etc; mkfifo etc/passwd", "etc/passwd", NULL },
	{ "passwd has two names", SHELL "mkdir etc; printf x > etc/passwd; ln etc/passwd other", "etc/passwd",
	  "test \"$(cat other)\" = x" },
	{ "passwd is large", SHELL "mkdir etc; truncate -s 1048577 etc/passwd", "etc/passwd", NULL },
	{ "resolv.conf is a directory", SHELL "mkdir -p etc/resolv.conf", "/etc holds a directory", NULL },
};

static bool shell_in(const char *dir, const char *sub, const char *line)
{
	char command[4096];
	assert_in_range(snprintf(command, sizeof(command), "cd '%s/%s' && { %s\n}", dir, sub, line), 1,
			sizeof(command) - 1);
	return system(command) == 0;
}

static void test_row(void **state)
{
	const struct row *r = *state;
	char dir[64], path[128];
	struct dw_err err = { 0 };
	if (geteuid() != 0)
		skip();
	make_dir(dir);
	assert_true(shell_in(dir, ".",
			     "mkdir root outside; printf 'as it was' > outside/file; printf x > outside/sh; "
			     "chmod 755 outside/sh"));
	assert_true(shell_in(dir, "root", r->make));
	snprintf(path, sizeof(path), "%s/root", dir);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	const int ret = template_root_finish(fd, &err);
	close(fd);
	assert_int_equal(ret, r->says ? -1 : 0);
	if (r->says) {
		assert_string_equal(err.code, "bad_template");
		assert_non_null(strstr(err.message, r->says));
	}
	assert_true(!r->holds || shell_in(dir, "root", r->holds));
	assert_true(shell_in(dir, "outside", "test \"$(cat file)\" = 'as it was' && test \"$(echo *)\" = 'file sh'"));
	remove_dir(dir);
}

static bool visited;

static void visit(void *arg, const char *id)
{
	assert_string_equal(id, arg);
	visited = true;
}

/* What has it open keeps it from being locked, and a lock keeps others from opening it. */
static void test_life(void **state)
{
	char dir[64], id[] = "tpl-abcd1234";
	int root = -1, one = -1, two = -1, lock = -1;
	struct dw_err err = { 0 };
	make_dir(dir);
	assert_int_equal(template_root_make(dir, id, &root, NULL), -1); /* the server makes `templates` */
	assert_true(shell_in(dir, ".", "mkdir -p templates/other && touch templates/file"));
	assert_int_equal(template_root_open(dir, id, &one, &err), -1);
	assert_int_equal(err.kind, DW_ERR_NOT_FOUND);
	assert_int_equal(template_root_make(dir, id, &root, &err), 0);
	assert_int_equal(template_root_make(dir, id, &root, NULL), -1);
	assert_int_equal(template_root_open(dir, id, &one, &err), 0);
	assert_int_equal(template_root_open(dir, id, &two, &err), 0);
	close(one);
	assert_int_equal(template_root_lock(dir, id, &lock, &err), -1);
	assert_string_equal(err.code, "template_in_use");
	close(two);
	assert_int_equal(template_root_lock(dir, id, &lock, &err), 0);
	assert_int_equal(template_root_open(dir, id, &one, &err), -1);
	assert_non_null(strstr(err.message, "being deleted"));
	close(lock);
	template_root_each(dir, visit, id);
	assert_true(visited);
	template_root_remove(dir, id);
	assert_true(shell_in(dir, "templates", "test \"$(echo *)\" = 'file other'"));
	remove_dir(dir);
}

int main(void)
{
	ROW_TESTS(rows, test_row);
	const struct CMUnitTest more[] = { cmocka_unit_test(test_life) };
	return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(more, NULL, NULL);
}
