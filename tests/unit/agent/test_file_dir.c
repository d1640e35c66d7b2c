/* SPDX-License-Identifier: Apache-2.0 */
#include "dir_drive.h"

#include <errno.h>
#include <stdio.h>

/* What an operation answered: its entries as lines, and how it ended. */
struct dir_answer {
	char *text;
	size_t text_n, entries;
	bool ended, made, made_any;
	uint16_t number;
	char message[512];
};

static void take_entry(FILE *out, struct dw_span payload)
{
	struct dw_agentp_entry e;
	assert_int_equal(dw_agentp_entry_parse(payload, &e), DW_PARSE_OK);
	fprintf(out, "%.*s", (int)e.path.n, (const char *)e.path.p);
	if (e.known)
		fprintf(out, " %s %04o %llu %.*s %.*s", e.dir ? "dir" : "file", e.mode, (unsigned long long)e.size,
			(int)e.owner.n, (const char *)e.owner.p, (int)e.group.n, (const char *)e.group.p);
	else
		fprintf(out, " %s ?", e.dir ? "dir" : "file");
	if (e.link)
		fprintf(out, " -> %.*s", (int)e.target.n, (const char *)e.target.p);
	fputc('\n', out);
}

static struct dir_answer answer_of(int sock)
{
	struct dir_answer a = { 0 };
	struct dir_frame f;
	struct dw_span message;
	FILE *out = open_memstream(&a.text, &a.text_n);
	assert_non_null(out);
	while (dir_next(sock, &f)) {
		/* Nothing comes after the last frame. */
		assert_true(!a.ended && !a.number && !a.made_any);
		if (f.type == DW_AGENTP_ENTRY) {
			take_entry(out, f.payload);
			a.entries++;
		} else if (f.type == DW_AGENTP_END) {
			a.ended = true;
		} else if (f.type == DW_AGENTP_MADE) {
			a.made_any = true;
			assert_int_equal(dw_agentp_made_parse(f.payload, &a.made), DW_PARSE_OK);
		} else {
			assert_int_equal(f.type, DW_AGENTP_ERROR);
			assert_int_equal(dw_agentp_error_parse(f.payload, &a.number, &message), DW_PARSE_OK);
			assert_int_equal(a.entries, 0);
			snprintf(a.message, sizeof(a.message), "%.*s", (int)message.n, (const char *)message.p);
		}
	}
	close(sock);
	fclose(out);
	return a;
}

static struct dir_answer ask(enum dw_agentp_type type, const char *user, const char *path, const char *to,
			     uint32_t depth)
{
	return answer_of(dir_ask(type, user, path, to, depth, false));
}

static void check_list(const char *user, const char *path, uint32_t depth, const char *want)
{
	struct dir_answer a = ask(DW_AGENTP_FILE_LIST, user, path, "", depth);
	assert_true(a.ended);
	assert_string_equal(a.text, want);
	free(a.text);
}

static void check_number(enum dw_agentp_type type, const char *user, const char *path, const char *to, int number)
{
	struct dir_answer a = ask(type, user, path, to, 1);
	if (a.number != number)
		fail_msg("%d %s: %d (%s), not %d", type, path, a.number, a.message, number);
	free(a.text);
}

static void listings(void **state)
{
	free(root_text(
		"rm -rf /home/user/l; mkdir -p /home/user/l/b/c/d /home/user/l/a; cd /home/user/l; printf 123 > 'a b'\n"
		"chmod 640 'a b'; ln -s 'a b' link; ln -s b dirlink; ln -s /nowhere dangling; ln -s loop loop\n"
		"printf x > b/f; printf y > B; chmod 755 . b b/c b/c/d a; mkfifo -m 600 b/pipe; chown -R -h 1000:2000 "
		"b\n"
		"chown 1001:4242 B"));
	const char *flat = "/home/user/l/B file 0644 1 other 4242\n"
			   "/home/user/l/a dir 0755 0 root root\n"
			   "/home/user/l/a b file 0640 3 root root\n"
			   "/home/user/l/b dir 0755 0 user extra\n"
			   "/home/user/l/dangling file 0777 8 root root -> /nowhere\n"
			   "/home/user/l/dirlink dir 0755 0 user extra -> b\n"
			   "/home/user/l/link file 0640 3 root root -> a b\n"
			   "/home/user/l/loop file 0777 4 root root -> loop\n";
	check_list("user", "/home/user/l", 1, flat);
	check_list("root", "//home/./user//l/", 1, flat);
	check_list("user", "l", 1, flat);
	/* Levels, in the order of a walk, and never through a link. */
	check_list("user", "/home/user/l/b", 1,
		   "/home/user/l/b/c dir 0755 0 user extra\n"
		   "/home/user/l/b/f file 0644 1 user extra\n"
		   "/home/user/l/b/pipe file 0600 0 user extra\n");
	check_list("user", "/home/user/l/b", 2,
		   "/home/user/l/b/c dir 0755 0 user extra\n"
		   "/home/user/l/b/c/d dir 0755 0 user extra\n"
		   "/home/user/l/b/f file 0644 1 user extra\n"
		   "/home/user/l/b/pipe file 0600 0 user extra\n");
	check_list("user", "/home/user/l/dirlink/c", UINT32_MAX, "/home/user/l/dirlink/c/d dir 0755 0 user extra\n");
	check_list("user", "/home/user/l/a", 5, "");
}

static void listings_of_what_is_closed(void **state)
{
	free(root_text(
		"rm -rf /home/user/k; mkdir -p /home/user/k/in /home/user/seen/sub; touch /home/user/k/in/x; chmod 700 "
		"/home/user/k/in; chmod 755 /home/user/k; touch /home/user/seen/f; chmod 744 /home/user/seen"));
	check_list("user", "/home/user/k", 9, "/home/user/k/in dir 0700 0 root root\n");
	check_list("root", "/home/user/k", 9,
		   "/home/user/k/in dir 0700 0 root root\n/home/user/k/in/x file 0644 0 root root\n");
	/* Its names may be read and nothing more. */
	check_list("user", "/home/user/seen", 2, "/home/user/seen/f file ?\n/home/user/seen/sub dir ?\n");
	check_number(DW_AGENTP_FILE_LIST, "user", "/home/user/k/in", "", EACCES);
	check_number(DW_AGENTP_FILE_LIST, "user", "/home/user/k/in/x", "", EACCES);
	check_number(DW_AGENTP_FILE_LIST, "user", "/nowhere", "", ENOENT);
	check_number(DW_AGENTP_FILE_LIST, "user", "/etc/passwd", "", ENOTDIR);
	check_number(DW_AGENTP_FILE_LIST, "user", "", "", EINVAL);
	check_number(DW_AGENTP_FILE_LIST, "nobody-here", "/", "", EINVAL);
	struct dir_answer a = ask(DW_AGENTP_FILE_LIST, "user", "/", "", 1);
	assert_non_null(strstr(a.text, "/etc dir"));
	assert_null(strstr(a.text, "//"));
	free(a.text);
}

static void large_listings(void **state)
{
	free(root_text("mkdir -p /tmp/many; cd /tmp/many; seq -f %%06g 1 20000 | xargs touch"));
	struct dir_answer a = ask(DW_AGENTP_FILE_LIST, "user", "/tmp/many", "", 1);
	assert_true(a.ended);
	assert_int_equal(a.entries, 20000);
	assert_memory_equal(a.text, "/tmp/many/000001 file", 21);
	free(a.text);
	free(root_text("mkdir -p /tmp/many/z; cd /tmp/many/z; seq -f %%06g 1 80000 | xargs touch"));
	a = ask(DW_AGENTP_FILE_LIST, "user", "/tmp/many", "", 2);
	assert_int_equal(a.number, E2BIG);
	assert_non_null(strstr(a.message, "100000 entries"));
	free(a.text);
	a = ask(DW_AGENTP_FILE_LIST, "user", "/tmp/many", "", 1);
	assert_int_equal(a.entries, 20001);
	free(a.text);
	free(root_text("rm -rf /tmp/many"));
}

static void infos(void **state)
{
	static char long_name[300];
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[0] = '/';
	free(root_text("rm -rf /home/user/i; mkdir /home/user/i; cd /home/user/i; printf abc > f; ln -s f l; ln -s l2 "
		       "l1; ln -s l1 l2"));
	const struct {
		const char *path, *want;
	} rows[] = {
		{ "i/f", "/home/user/i/f file 0644 3 root root\n" },
		{ "/home/user/i/l", "/home/user/i/l file 0644 3 root root -> f\n" },
		{ "/home/user/i/l/", "/home/user/i/l file 0644 3 root root -> f\n" },
		{ "/home/user/i/l1", "/home/user/i/l1 file 0777 2 root root -> l2\n" },
		{ "/home/user/i/", "/home/user/i dir 0755 0 root root\n" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dir_answer a = ask(DW_AGENTP_FILE_INFO, "user", rows[i].path, "", 0);
		assert_true(a.ended);
		assert_string_equal(a.text, rows[i].want);
		free(a.text);
	}
	check_number(DW_AGENTP_FILE_INFO, "user", "i/none", "", ENOENT);
	check_number(DW_AGENTP_FILE_INFO, "user", "i/f/x", "", ENOTDIR);
	check_number(DW_AGENTP_FILE_INFO, "user", "i/l1/x", "", ELOOP);
	check_number(DW_AGENTP_FILE_INFO, "user", "/home/closed/x", "", EACCES);
	check_number(DW_AGENTP_FILE_INFO, "user", long_name, "", ENAMETOOLONG);
}

/* A time that no number of microseconds can hold is the last or the first one that can be told. */
static void times_of_any_size(void **state)
{
	static const char *const times[] = { "(1 << 63) - 1", "-(1 << 63)" };
	for (size_t i = 0; i < DW_COUNT(times); i++) {
		struct dir_frame f;
		struct dw_agentp_entry e;
		free(root_text("touch /home/user/time; python3 -c 'import os; t = (%s) * 10 ** 9; "
			       "os.utime(\"/home/user/time\", ns=(t, t))'",
			       times[i]));
		const int sock = dir_ask(DW_AGENTP_FILE_INFO, "user", "time", "", 0, false);
		assert_true(dir_next(sock, &f));
		assert_int_equal(f.type, DW_AGENTP_ENTRY);
		assert_int_equal(dw_agentp_entry_parse(f.payload, &e), DW_PARSE_OK);
		assert_true(i == 0 ? e.modified_us > INT64_MAX / 2 : e.modified_us < INT64_MIN / 2);
		close(sock);
	}
	free(root_text("rm /home/user/time"));
}

static void removals(void **state)
{
	free(root_text("rm -rf /home/user/r /home/user/kept; mkdir -p /home/user/r/a/b /home/user/kept; cd /home/user; "
		       "touch kept/x r/a/f\n"
		       "ln -s ../../kept r/a/out; ln -s kept r/link; ln -s /nowhere r/dangling; mkfifo r/p; chown -R "
		       "-h 1000 r kept"));
	static const char *const gone[] = { "r/link/", "r/dangling", "r/p", "r/a/f", "r/a", "r" };
	for (size_t i = 0; i < DW_COUNT(gone); i++) {
		struct dir_answer a = ask(DW_AGENTP_FILE_REMOVE, "user", gone[i], "", 0);
		if (!a.ended)
			fail_msg("%s: %s", gone[i], a.message);
		free(a.text);
		check_number(DW_AGENTP_FILE_REMOVE, "user", gone[i], "", ENOENT);
	}
	free(root_text("[ -e /home/user/kept/x ] && [ ! -e /home/user/r ]"));
	check_number(DW_AGENTP_FILE_REMOVE, "user", "/", "", EINVAL);
	check_number(DW_AGENTP_FILE_REMOVE, "user", "/home/user/kept/..", "", EINVAL);
	check_number(DW_AGENTP_FILE_REMOVE, "user", "/etc/passwd", "", EACCES);
	check_number(DW_AGENTP_FILE_REMOVE, "user", "/home/user/kept/x/y", "", ENOTDIR);
}

static void removals_that_stop(void **state)
{
	/* Root's file in the user's directory goes, what is in root's directory does not; a mount is not entered. */
	free(root_text("cd /home/user; mkdir -p s/own s/roots; touch s/own/f s/roots/f; chown 1000 s s/own; chmod 755 "
		       "s/roots"));
	check_number(DW_AGENTP_FILE_REMOVE, "user", "s", "", EACCES);
	free(root_text("[ -e /home/user/s/roots/f ]; rm -rf /home/user/s"));
	free(root_text("touch /tmp/small/kept"));
	check_number(DW_AGENTP_FILE_REMOVE, "root", "/tmp/small", "", EBUSY);
	free(root_text("[ -e /tmp/small/kept ] && rm /tmp/small/kept"));
	/* In a directory like /tmp others' files stay. */
	free(root_text("touch /tmp/roots; mkdir /tmp/roots-dir"));
	check_number(DW_AGENTP_FILE_REMOVE, "user", "/tmp/roots", "", EPERM);
	check_number(DW_AGENTP_FILE_REMOVE, "user", "/tmp/roots-dir", "", EPERM);
	free(root_text("rm /tmp/roots; rmdir /tmp/roots-dir"));
}

/* Deeper than a path can be, and than directories can be open. */
static void removals_of_deep_trees(void **state)
{
	free(root_text("cd /home/user && python3 -c 'import os\nfor i in range(3000):\n os.mkdir(\"deep\"); "
		       "os.chdir(\"deep\")\n"
		       "open(\"f\", \"w\")'; chown 1000 /home/user/deep"));
	struct dir_answer a = ask(DW_AGENTP_FILE_LIST, "user", "deep", "", UINT32_MAX);
	assert_true(a.ended && a.entries > 500 && a.entries < 1000);
	free(a.text);
	a = ask(DW_AGENTP_FILE_REMOVE, "root", "/home/user/deep", "", 0);
	if (!a.ended)
		fail_msg("%s", a.message);
	free(a.text);
	free(root_text("[ ! -e /home/user/deep ]"));
}

/* What somebody else removes meanwhile is gone as well. */
static void removals_at_the_same_time(void **state)
{
	for (unsigned round = 0; round < 3; round++) {
		int sock[4];
		free(root_text("mkdir /home/user/same; cd /home/user/same; seq -f %%g/a/b 1 2000 | xargs mkdir -p"));
		for (size_t i = 0; i < DW_COUNT(sock); i++)
			sock[i] = dir_ask(DW_AGENTP_FILE_REMOVE, "root", "/home/user/same", "", 0, false);
		for (size_t i = 0; i < DW_COUNT(sock); i++) {
			struct dir_answer a = answer_of(sock[i]);
			/* One that begins when all is gone says so. */
			if (!a.ended && (a.number != ENOENT || strstr(a.message, "whole")))
				fail_msg("%s", a.message);
			assert_true(i || a.ended);
			free(a.text);
		}
		free(root_text("[ ! -e /home/user/same ]"));
	}
}

static void renamings(void **state)
{
	free(root_text("rm -rf /home/user/n; mkdir -p /home/user/n/d/sub /home/user/n/full/x /home/user/n/empty; cd "
		       "/home/user/n; printf 12 > f\n"
		       "printf 1 > g; ln -s f l; chown -R -h 1000:1000 ."));
	static const struct {
		const char *path, *to, *want;
		int number;
	} rows[] = {
		{ "n/f", "n/new f", "/home/user/n/new f file 0644 2 user user\n", 0 },
		{ "n/new f", "/home/user/n/g", "/home/user/n/g file 0644 2 user user\n", 0 },
		{ "n/l", "n/l2", "/home/user/n/l2 file 0777 1 user user -> f\n", 0 },
		{ "n/d", "n/empty", "/home/user/n/empty dir 0755 0 user user\n", 0 },
		{ "n/none", "n/x", NULL, ENOENT },
		{ "n/g", "n/no/x", NULL, ENOENT },
		{ "n/g", "n/full", NULL, EISDIR },
		{ "n/full", "n/g", NULL, ENOTDIR },
		{ "n/empty", "n/full", NULL, ENOTEMPTY },
		{ "n/full", "n/full/x/y", NULL, EINVAL },
		{ "n/g", "/tmp/g", NULL, EXDEV },
		{ "n/g", "/home/g", NULL, EACCES },
		{ "n/g", "", NULL, EINVAL },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dir_answer a = ask(DW_AGENTP_FILE_RENAME, "user", rows[i].path, rows[i].to, 0);
		if (a.number != rows[i].number)
			fail_msg("%s to %s: %d %s", rows[i].path, rows[i].to, a.number, a.message);
		if (rows[i].want)
			assert_string_equal(a.text, rows[i].want);
		free(a.text);
	}
}

static void directories_are_made(void **state)
{
	free(root_text("rm -rf /home/user/m; mkdir /home/user/m; cd /home/user/m; touch f; mkdir d; ln -s d l; ln -s "
		       "none broken; chown 1000 ."));
	static const struct {
		const char *path;
		int number; /* 0 = was there, -1 = made */
	} rows[] = {
		{ "m/a/b/c/", -1 },   { "m/a/b/c", 0 },
		{ "m/d", 0 },         { "m/l", 0 },
		{ "m/f", EEXIST },    { "m/broken", EEXIST },
		{ "m/f/x", ENOTDIR }, { "/home/x", EACCES },
		{ "/", 0 },           { "/home/closed/x/y", EACCES },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dir_answer a = ask(DW_AGENTP_FILE_MKDIR, "user", rows[i].path, "", 0);
		if (a.made_any ? a.made != (rows[i].number < 0) || rows[i].number > 0 : a.number != rows[i].number)
			fail_msg("%s: %d %s", rows[i].path, a.number, a.message);
		free(a.text);
	}
	char *text = root_text("stat -c '%%U %%a' /home/user/m/a /home/user/m/a/b/c");
	assert_string_equal(text, "user 755\nuser 755\n");
	free(text);
}

const struct CMUnitTest file_dir_tests[] = {
	cmocka_unit_test(listings),
	cmocka_unit_test(listings_of_what_is_closed),
	cmocka_unit_test(large_listings),
	cmocka_unit_test(infos),
	cmocka_unit_test(times_of_any_size),
	cmocka_unit_test(removals),
	cmocka_unit_test(removals_that_stop),
	cmocka_unit_test(removals_of_deep_trees),
	cmocka_unit_test(removals_at_the_same_time),
	cmocka_unit_test(renamings),
	cmocka_unit_test(directories_are_made),
};
const size_t file_dir_tests_n = DW_COUNT(file_dir_tests);
