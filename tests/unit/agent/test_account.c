/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/account.h"

/* A regular file with a path and without a name. */
static void memory_file(const char *text, size_t n, int *ret_fd, char path[static 32])
{
	*ret_fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(*ret_fd >= 0);
	assert_int_equal(write(*ret_fd, text, n), n);
	snprintf(path, 32, "/proc/self/fd/%d", *ret_fd);
}

static int find(const char *passwd, size_t passwd_n, const char *group, const char *name, struct dw_account *a)
{
	int pfd, gfd;
	char ppath[32], gpath[32];
	struct dw_fault f = { 0 };
	memory_file(passwd, passwd_n, &pfd, ppath);
	memory_file(group, strlen(group), &gfd, gpath);
	int res = dw_account_find_in(ppath, gpath, (struct dw_span){ (const uint8_t *)name, strlen(name) }, a, &f);
	close(pfd);
	close(gfd);
	if (res != 0)
		assert_int_equal(f.number, EINVAL);
	return res;
}

static void lines_that_are_accounts(void **state)
{
	static const struct {
		const char *passwd, *name;
		uid_t uid;
		gid_t gid;
		const char *home, *shell;
	} rows[] = {
		{ "u:x:5:6:G:/h:/bin/zsh\n", "u", 5, 6, "/h", "/bin/zsh" },
		{ "u:x:5:6:G:/h:/bin/zsh", "u", 5, 6, "/h", "/bin/zsh" }, /* no newline at the end */
		{ "user:x:5:6:::\n", "", 5, 6, "/", "/bin/sh" },
		{ "u:x:5:6::relative:sh\n", "u", 5, 6, "/", "/bin/sh" },
		{ "\n\n#c\nv:x:1:1::/:/s\nu:x:4294967294:0::/:/s\n", "u", 4294967294u, 0, "/", "/s" },
		{ "u:x:5:6::/:/s\nu:x:0:0::/:/s\n", "u", 5, 6, "/", "/s" }, /* the first counts */
		{ "u\nu:x:7:7::/:/s\n", "u", 7, 7, "/", "/s" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dw_account a;
		assert_int_equal(find(rows[i].passwd, strlen(rows[i].passwd), "", rows[i].name, &a), 0);
		assert_int_equal(a.uid, rows[i].uid);
		assert_int_equal(a.gid, rows[i].gid);
		assert_string_equal(a.home, rows[i].home);
		assert_string_equal(a.shell, rows[i].shell);
		assert_int_equal(a.groups_n, 1);
	}
}

static void lines_that_are_not(void **state)
{
#define ROW(text)                      \
	{                              \
		text, sizeof(text) - 1 \
	}
	static const struct {
		const char *p;
		size_t n;
	} rows[] = {
		ROW(""),
		ROW("\n\n\n"),
		ROW("uu:x:0:0::/:/s\n"),
		ROW("u :x:0:0::/:/s\n"),
		ROW("u:x:0:0::/\n"),
		ROW("u:x:0:0::/:/s:more\n"),
		ROW("u:x::0::/:/s\n"),
		ROW("u:x: 0:0::/:/s\n"),
		ROW("u:x:+0:0::/:/s\n"),
		ROW("u:x:-1:0::/:/s\n"),
		ROW("u:x:0x0:0::/:/s\n"),
		ROW("u:x:4294967295:0::/:/s\n"),
		ROW("u:x:4294967296:0::/:/s\n"),
		ROW("u:x:00000000000:0::/:/s\n"),
		ROW("u:x:0:4294967295::/:/s\n"),
		ROW("u:x:0:0::/h\0ome:/s\n"),
		ROW("u:x:-1:0::/:/s\nu:x:0:0::/:/s\n"), /* a malformed first line is not skipped for a later one */
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dw_account a;
		assert_int_equal(find(rows[i].p, rows[i].n, "", "u", &a), -1);
	}
}

static void overlong_lines_are_skipped_whole(void **state)
{
	for (size_t n = 8180; n < 8200; n++) {
		char *text = malloc(n + 64);
		assert_non_null(text);
		/* What stands at any buffer border of a long line must not be taken for a line. */
		memset(text, 'a', n);
		memcpy(text + n - 14, "u:x:0:0::/:/s", 13);
		int more = snprintf(text + n, 64, "\nu:x:9:9::/:/s\n");
		struct dw_account a;
		assert_int_equal(find(text, n + (size_t)more, "", "u", &a), 0);
		assert_int_equal(a.uid, 9);
		/* The same as the last line, without an end. */
		assert_int_equal(find(text, n, "", "u", &a), -1);
		free(text);
	}
	char big[20000];
	memset(big, 'x', sizeof(big));
	memcpy(big + 8192, "u:x:0:0::/:/s", 13);
	memcpy(big + sizeof(big) - 15, "\nu:x:9:9::/:/s", 14);
	struct dw_account a;
	assert_int_equal(find(big, sizeof(big) - 1, "", "u", &a), 0);
	assert_int_equal(a.uid, 9);
}

static void groups_of_a_member(void **state)
{
	static const struct {
		const char *group;
		size_t n;
		gid_t last;
	} rows[] = {
		{ "", 1, 6 },
		{ "g:x:10:u\n", 2, 10 },
		{ "g:x:10:a,u,b\n", 2, 10 },
		{ "g:x:10:a,u", 2, 10 },
		{ "g:x:10:uu,a,uu,\n", 1, 6 },
		{ "g:x:10:\nh:x:11:,u,\n", 2, 11 },
		{ "g:x:10:u\ng2:x:10:u\n", 2, 10 },
		{ "mine:x:6:u\n", 1, 6 },
		{ "g:x:-1:u\nh:x:4294967295:u\ni:x::u\nj:x:7\nk:x:8:u:u\n", 1, 6 },
	};
	static const char passwd[] = "u:x:5:6::/:/s\n";
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dw_account a;
		assert_int_equal(find(passwd, sizeof(passwd) - 1, rows[i].group, "u", &a), 0);
		assert_int_equal(a.groups_n, rows[i].n);
		assert_int_equal(a.groups[0], 6);
		assert_int_equal(a.groups[a.groups_n - 1], rows[i].last);
	}
}

static void more_groups_than_there_is_room_for(void **state)
{
	static const char passwd[] = "u:x:5:6::/:/s\n";
	char text[8192];
	size_t n = 0;
	for (unsigned i = 0; i < 400; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "g%u:x:%u:u\n", i, 100 + i);
	struct dw_account a;
	assert_int_equal(find(passwd, sizeof(passwd) - 1, text, "u", &a), 0);
	assert_int_equal(a.groups_n, DW_ACCOUNT_GROUPS_MAX);
}

static void a_fifo_is_not_waited_for(void **state)
{
	char dir[] = "/tmp/declaw-account-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/passwd", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	struct dw_account a;
	struct dw_fault f = { 0 };
	assert_int_equal(dw_account_find_in(path, path, (struct dw_span){ (const uint8_t *)"u", 1 }, &a, &f), -1);
	assert_int_equal(f.number, EINVAL);
	unlink(path);
	assert_int_equal(dw_account_find_in(path, path, (struct dw_span){ (const uint8_t *)"u", 1 }, &a, &f), -1);
	assert_int_equal(f.number, EINVAL);
	assert_non_null(strstr(f.message, "No such file"));
	rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_that_are_accounts),
		cmocka_unit_test(lines_that_are_not),
		cmocka_unit_test(overlong_lines_are_skipped_whole),
		cmocka_unit_test(groups_of_a_member),
		cmocka_unit_test(more_groups_than_there_is_room_for),
		cmocka_unit_test(a_fifo_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
