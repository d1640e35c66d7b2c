/* SPDX-License-Identifier: Apache-2.0 */
#include "dir_drive.h"

#include <errno.h>
#include <stdio.h>

static const char letter[DW_AGENTP_HAPPENING_COUNT + 1] = "?SCWRNAOXGM";

/* The events until one whose line is last, as text; each line once, however often it comes (how often a file is written is the writer's). */
static char *events_until(int sock, const char *last)
{
	char *text = NULL, line[9000];
	size_t n = 0;
	struct dir_frame f;
	struct dw_agentp_event e;
	FILE *out = open_memstream(&text, &n);
	do {
		if (!dir_next(sock, &f))
			fail_msg("the watch ended; before: %s", text);
		assert_int_equal(f.type, DW_AGENTP_EVENT);
		assert_int_equal(dw_agentp_event_parse(f.payload, &e), DW_PARSE_OK);
		snprintf(line, sizeof(line), "%c%s%.*s%s%.*s\n", letter[e.what], e.dir ? "/" : " ", (int)e.path.n,
			 (const char *)e.path.p, e.to.n ? " > " : "", (int)e.to.n, (const char *)e.to.p);
		fflush(out);
		if (!text || !strstr(text, line))
			fputs(line, out);
		line[strlen(line) - 1] = '\0';
	} while (strcmp(line, last) != 0);
	fclose(out);
	return text;
}

static int watch(const char *user, const char *path, bool recursive)
{
	char start[300];
	const int sock = dir_ask(DW_AGENTP_FILE_WATCH, user, path, "", 0, recursive);
	snprintf(start, sizeof(start), "S/%s", path);
	free(events_until(sock, start));
	return sock;
}

static void check(int sock, const char *last, const char *want)
{
	char *text = events_until(sock, last);
	assert_string_equal(text, want);
	free(text);
}

static void everything_that_happens(void **state)
{
	free(root_text("rm -rf /home/user/w; mkdir -p /home/user/w/sub; echo > /home/user/w/old; echo > "
		       "/home/user/out; chown -R 1000 /home/user"));
	const int sock = watch("user", "/home/user/w", false);
	free(root_text("cd /home/user/w; mkdir d; echo 1 > f; echo 2 >> old; chmod 600 old; mv f g; mv g ../g; mv "
		       "../out in; rm in; mv d e; rmdir e\n"
		       "echo > sub/unseen; echo > 'last one'"));
	check(sock, "C last one", "C/d\nC f\nW f\nW old\nA old\nN f > g\nR g\nC in\nR in\nN/d > e\nR/e\nC last one\n");
	close(sock);
}

static void new_directories_are_watched(void **state)
{
	free(root_text("rm -rf /home/user/v /tmp/tree /home/user/tree; mkdir -p /home/user/v/a/b; chown -R 1000 "
		       "/home/user/v"));
	const int sock = watch("user", "/home/user/v", true);
	free(root_text("cd /home/user/v; echo > a/b/f"));
	check(sock, "W a/b/f", "C a/b/f\nW a/b/f\n");
	/* However the making and the watching fall together, each name is told of once. */
	for (unsigned i = 0; i < 20; i++) {
		free(root_text("cd /home/user/v; mkdir -p n%u/o/p; : > n%u/o/p/q; : > last%u", i, i, i));
		char last[32], want[160];
		snprintf(last, sizeof(last), "C last%u", i);
		char *text = events_until(sock, last);
		snprintf(want, sizeof(want), "C/n%u\n", i);
		assert_memory_equal(text, want, strlen(want));
		static const char *const inner[] = { "C/n%u/o\n", "C/n%u/o/p\n", "C n%u/o/p/q\n" };
		for (size_t k = 0; k < DW_COUNT(inner); k++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(want, sizeof(want), inner[k], i);
#pragma GCC diagnostic pop
			if (!strstr(text, want))
				fail_msg("no %s in %s", want, text);
		}
		free(text);
	}
	/* A tree that comes in whole; one that is renamed goes on under its new name; one that leaves is not heard of. */
	free(root_text("cd /home/user; mkdir -p tree/x/y; : > tree/x/y/z; mv tree v/; : > v/end"));
	check(sock, "C end", "C/tree\nC/tree/x\nC/tree/x/y\nC tree/x/y/z\nC end\n");
	free(root_text("cd /home/user/v; mv tree wood; : > wood/x/y/w; : > end2"));
	check(sock, "C end2", "N/tree > wood\nC wood/x/y/w\nC end2\n");
	free(root_text("cd /home/user/v; mv wood ../tree; : > ../tree/x/y/unheard; : > end3"));
	check(sock, "C end3", "R/wood\nC end3\n");
	free(root_text("cd /home/user/v; rm -r a; : > end4"));
	check(sock, "C end4", "R a/b/f\nR/a/b\nR/a\nC end4\n");
	close(sock);
}

static void ends(void **state)
{
	free(root_text("mkdir -p /home/user/e1 /home/user/e2 /home/user/e3/in; ln -s e3 /home/user/e4"));
	int sock = watch("user", "/home/user/e1", false);
	free(root_text("rmdir /home/user/e1"));
	check(sock, "G/", "G/\n");
	close(sock);
	sock = watch("user", "/home/user/e2", true);
	free(root_text("mv /home/user/e2 /home/user/e2-moved"));
	check(sock, "M/", "M/\n");
	close(sock);
	/* Nor does the watch keep a file system from being unmounted. */
	free(root_text("mkdir /tmp/mount; mount -t tmpfs none /tmp/mount; mkdir /tmp/mount/in"));
	sock = watch("root", "/tmp/mount", true);
	free(root_text("umount /tmp/mount && rmdir /tmp/mount"));
	/* That the path leads elsewhere may be seen before the kernel tells of the unmounting. */
	struct dir_frame f;
	struct dw_agentp_event e;
	assert_true(dir_next(sock, &f));
	assert_int_equal(dw_agentp_event_parse(f.payload, &e), DW_PARSE_OK);
	assert_true(e.what == DW_AGENTP_GONE || e.what == DW_AGENTP_MOVED);
	assert_false(dir_next(sock, &f));
	close(sock);
	/* Above it; and while somebody is still inside. */
	sock = watch("user", "/home/user/e3/in", false);
	free(root_text("cd /home/user/e3/in; sleep 4 > /dev/null 2>&1 & sleep 0.1; rm -r /home/user/e3"));
	check(sock, "G/", "G/\n");
	close(sock);
}

static void refusals(void **state)
{
	static const struct {
		const char *path;
		int number;
	} rows[] = {
		{ "/nowhere", ENOENT },
		{ "/etc/passwd", ENOTDIR },
		{ "/home/closed", EACCES },
		{ "", EINVAL },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		const int sock = dir_ask(DW_AGENTP_FILE_WATCH, "user", rows[i].path, "", 0, true);
		struct answer a = op_answer(sock);
		assert_int_equal(a.errors, 1);
		assert_int_equal(a.number, rows[i].number);
		answer_free(&a);
	}
}

static void too_many_directories(void **state)
{
	free(root_text("mkdir -p /tmp/dirs; cd /tmp/dirs; seq 1 9000 | xargs mkdir"));
	const int sock = dir_ask(DW_AGENTP_FILE_WATCH, "user", "/tmp/dirs", "", 0, true);
	struct answer a = op_answer(sock);
	assert_int_equal(a.number, E2BIG);
	answer_free(&a);
	free(root_text("rm -rf /tmp/dirs"));
}

/* A daemon that does not read: the rest of what happens is lost, and that is told. */
static void an_overflow(void **state)
{
	free(root_text("mkdir -p /tmp/flood"));
	const int sock = watch("root", "/tmp/flood", true);
	free(root_text("cd /tmp/flood; seq 1 60000 | xargs touch; rm -rf /tmp/flood/*; mkdir made"));
	char *text = events_until(sock, "O ");
	free(text);
	/* And it goes on, also where it could not look meanwhile. */
	free(root_text("cd /tmp/flood; sleep 0.5; : > made/after"));
	free(events_until(sock, "C made/after"));
	close(sock);
	free(root_text("rm -rf /tmp/flood"));
}

/* Does all of it before the watch hears of any. */
#define UNSEEN(script)                                                                                             \
	"c=$(cat /proc/$PPID/comm); p=$(ps -o pid=,comm= --ppid $PPID | awk -v c=\"$c\" '$2 == c { print $1 }')\n" \
	"kill -STOP $p; " script "\nkill -CONT $p"

/* What is at a path by the time of looking may be a link that leads out, or back. */
static void links_put_in_the_way(void **state)
{
	free(root_text("rm -rf /home/user/w /home/user/x; mkdir -p /home/user/w/a /home/user/w/b /home/user/x/in"));
	const int sock = watch("root", "/home/user/w", true);
	free(root_text(UNSEEN("cd /home/user/w; mkdir a/w; mv a z; ln -s .. a; mkdir b/in; mv b y; ln -s ../x b")));
	free(root_text("sleep 0.2; cd /home/user/w; : > ../x/in/outside; : > z/w/f; : > y/in/f; : > end"));
	check(sock, "C end", "C/a/w\nN/a > z\nC a\nC/b/in\nN/b > y\nC b\nC z/w/f\nC y/in/f\nC end\n");
	close(sock);
}

/* Mounts lead back as well. */
static void directories_in_themselves(void **state)
{
	free(root_text("rm -rf /home/user/w; mkdir -p /home/user/w/self /home/user/w/a/in && cd /home/user/w && "
		       "mount --bind . self && mount --bind a a/in"));
	const int sock = watch("root", "/home/user/w", true);
	free(root_text("cd /home/user/w; : > f; : > a/g; mkdir b; : > b/h; : > end"));
	check(sock, "C end", "C f\nC a/g\nC/b\nC b/h\nC end\n");
	close(sock);
	free(root_text("umount /home/user/w/a/in && umount /home/user/w/self"));
}

static void renamings_one_after_the_other(void **state)
{
	free(root_text("rm -rf /home/user/w /home/user/x; mkdir -p /home/user/w/a/in /home/user/w/c/in /home/user/w/d "
		       "/home/user/x"));
	const int sock = watch("root", "/home/user/w", true);
	/* It is neither at the name that it had nor at the next one when it is looked for. */
	free(root_text(UNSEEN("cd /home/user/w; mv a b; mv b ../x/")));
	free(root_text("sleep 0.2; cd /home/user; : > x/b/in/unheard; : > w/end"));
	check(sock, "C end", "N/a > b\nR/b\nC end\n");
	/* Two that change their names; a new one with an old name. */
	free(root_text(UNSEEN("cd /home/user/w; mv c t; mv d c; mv t d; mkdir e; mv e g; mkdir e")));
	free(root_text("sleep 0.2; cd /home/user/w; : > c/f; : > d/in/f; : > e/f; : > g/f; : > end2"));
	check(sock, "C end2", "N/c > t\nN/d > c\nN/t > d\nC/e\nN/e > g\nC c/f\nC d/in/f\nC e/f\nC g/f\nC end2\n");
	free(root_text(
		UNSEEN("python3 -c 'import ctypes; "
		       "ctypes.CDLL(None).renameat2(-100, b\"/home/user/w/c\", -100, b\"/home/user/w/d\", 2)'")));
	free(root_text("sleep 0.2; cd /home/user/w; : > c/in/g; : > d/g; : > end3"));
	check(sock, "C end3", "N/c > d\nN/d > c\nC c/in/g\nC d/g\nC end3\n");
	close(sock);
}

/* In a directory that has left meanwhile: that there are too many is not what happened. */
static void made_in_what_has_left(void **state)
{
	free(root_text("rm -rf /home/user/w /home/user/x; mkdir -p /home/user/w/a/in /home/user/x"));
	const int sock = watch("root", "/home/user/w", true);
	free(root_text(UNSEEN("cd /home/user; mv w/a x/; mkdir x/a/in/new x/a/new")));
	free(root_text("sleep 0.2; : > /home/user/w/end"));
	check(sock, "C end", "R/a\nC end\n");
	close(sock);
}

/* That it left was lost with the rest: it is not told of all the same. */
static void left_in_an_overflow(void **state)
{
	free(root_text("rm -rf /home/user/x; mkdir -p /tmp/flood/a/in /tmp/gone"));
	const int sock = watch("root", "/tmp/flood", true);
	free(root_text(UNSEEN("cd /tmp/flood; seq 1 60000 | xargs touch; mv a ../gone/; mkdir b")));
	free(events_until(sock, "O "));
	free(root_text("sleep 0.2; : > /tmp/gone/a/unheard; : > /tmp/gone/a/in/unheard; : > /tmp/flood/b/end"));
	check(sock, "C b/end", "C b/end\n");
	close(sock);
	free(root_text("rm -rf /tmp/flood /tmp/gone"));
}

static void a_hang_up_ends_the_watch(void **state)
{
	const int sock = watch("user", "/home/user", true);
	wait_until("[ $(ps -o comm= --ppid $PPID | grep -cFx \"$(cat /proc/$PPID/comm)\") = 1 ]");
	close(sock);
	wait_until("[ $(ps -o comm= --ppid $PPID | grep -cFx \"$(cat /proc/$PPID/comm)\") = 0 ]");
}

const struct CMUnitTest watch_tests[] = {
	cmocka_unit_test(everything_that_happens),
	cmocka_unit_test(new_directories_are_watched),
	cmocka_unit_test(ends),
	cmocka_unit_test(refusals),
	cmocka_unit_test(too_many_directories),
	cmocka_unit_test(an_overflow),
	cmocka_unit_test(links_put_in_the_way),
	cmocka_unit_test(directories_in_themselves),
	cmocka_unit_test(renamings_one_after_the_other),
	cmocka_unit_test(made_in_what_has_left),
	cmocka_unit_test(left_in_an_overflow),
	cmocka_unit_test(a_hang_up_ends_the_watch),
};
const size_t watch_tests_n = DW_COUNT(watch_tests);
