/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

static struct answer file_read_as(const char *user, const char *path)
{
	int sock = op_open();
	op_file(sock, DW_AGENTP_FILE_READ, user, path);
	return op_answer(sock);
}

static struct answer file_write_as(const char *user, const char *path, const uint8_t *p, size_t n)
{
	int sock = op_open();
	op_file(sock, DW_AGENTP_FILE_WRITE, user, path);
	for (size_t at = 0; at < n;) {
		size_t step = DW_MIN(n - at, DW_AGENTP_CHUNK);
		op_send(sock, DW_AGENTP_DATA, p + at, step);
		at += step;
	}
	op_send(sock, DW_AGENTP_END, NULL, 0);
	return op_answer(sock);
}

static void what_is_written_is_read_back(void **state)
{
	static uint8_t bytes[1000000];
	static const size_t sizes[] = { 1000000, 0, 1, 65535, 65536, 65537 };
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 8));
	/* The same file again and again: a shorter content replaces a longer one. */
	for (size_t i = 0; i < DW_COUNT(sizes); i++) {
		struct answer w = file_write_as("user", "/home/user/f", bytes, sizes[i]);
		assert_int_equal(w.wrote_frames, 1);
		assert_int_equal(w.wrote, sizes[i]);
		struct answer r = file_read_as("user", "/home/user/f");
		assert_int_equal(r.ends, 1);
		assert_int_equal(r.data.n, sizes[i]);
		assert_memory_equal(r.data.p, bytes, sizes[i]);
		answer_free(&w);
		answer_free(&r);
	}
}

static void parents_are_made_and_belong_to_the_account(void **state)
{
	struct answer a = file_write_as("user", "a/b//c/../d/f", (const uint8_t *)"x", 1);
	assert_int_equal(a.wrote, 1);
	answer_free(&a);
	char *text = root_text("cd /home/user; stat -c '%%u %%g %%a %%n' a a/b a/b/c a/b/d a/b/d/f");
	assert_string_equal(text, "1000 1000 755 a\n1000 1000 755 a/b\n1000 1000 755 a/b/c\n1000 1000 755 a/b/d\n"
				  "1000 1000 644 a/b/d/f\n");
	free(text);
	a = file_write_as("root", "/home/user/by-root/f", (const uint8_t *)"x", 1);
	assert_int_equal(a.wrote, 1);
	answer_free(&a);
	text = root_text("stat -c %%u /home/user/by-root /home/user/by-root/f");
	assert_string_equal(text, "0\n0\n");
	free(text);
}

static void an_existing_file_keeps_its_mode(void **state)
{
	free(root_text("echo old > /home/user/script; chown 1000:1000 /home/user/script; chmod 750 /home/user/script"));
	struct answer a = file_write_as("user", "script", (const uint8_t *)"new", 3);
	assert_int_equal(a.wrote, 3);
	answer_free(&a);
	char *text = root_text("stat -c %%a /home/user/script; cat /home/user/script");
	assert_string_equal(text, "750\nnew");
	free(text);
}

static void refusals_have_the_right_number(void **state)
{
	static char long_path[5001], long_name[302] = "/", limit[4097];
	memset(long_path, '/', sizeof(long_path) - 1);
	memset(long_name + 1, 'n', sizeof(long_name) - 2);
	memset(limit, '/', sizeof(limit) - 1);
	static const struct {
		uint8_t type;
		const char *user, *path;
		int number;
	} rows[] = {
		{ DW_AGENTP_FILE_READ, "user", "/home/user/none", ENOENT },
		{ DW_AGENTP_FILE_READ, "user", "none", ENOENT },
		{ DW_AGENTP_FILE_READ, "user", "", EINVAL },
		{ DW_AGENTP_FILE_WRITE, "user", "", EINVAL },
		{ DW_AGENTP_FILE_READ, "user", long_path, ENAMETOOLONG },
		{ DW_AGENTP_FILE_WRITE, "user", limit, ENAMETOOLONG },
		{ DW_AGENTP_FILE_READ, "user", long_name, ENAMETOOLONG },
		{ DW_AGENTP_FILE_READ, "user", "/home/secret", EACCES },
		{ DW_AGENTP_FILE_WRITE, "user", "/home/secret", EACCES },
		{ DW_AGENTP_FILE_WRITE, "user", "/etc/passwd", EACCES },
		{ DW_AGENTP_FILE_WRITE, "user", "/home/new/file", EACCES },
		{ DW_AGENTP_FILE_READ, "user", "/home/closed/file", EACCES },
		{ DW_AGENTP_FILE_READ, "user", "/home/user/link-to-secret", EACCES },
		{ DW_AGENTP_FILE_READ, "user", "/home/user/../secret", EACCES },
		{ DW_AGENTP_FILE_READ, "user", "/proc/1/root/etc/passwd", EACCES },
		{ DW_AGENTP_FILE_READ, "user", "/home/user", EISDIR },
		{ DW_AGENTP_FILE_WRITE, "user", "/home/user", EISDIR },
		{ DW_AGENTP_FILE_WRITE, "user", "/home/user/", EISDIR },
		{ DW_AGENTP_FILE_WRITE, "user", "new/", EISDIR },
		{ DW_AGENTP_FILE_WRITE, "user", "plain/file", ENOTDIR },
		{ DW_AGENTP_FILE_READ, "user", "fifo", EINVAL },
		{ DW_AGENTP_FILE_WRITE, "user", "fifo", EINVAL },
		{ DW_AGENTP_FILE_READ, "user", "socket", EINVAL },
		{ DW_AGENTP_FILE_WRITE, "user", "socket", EINVAL },
		{ DW_AGENTP_FILE_READ, "user", "/dev/zero", EINVAL },
		{ DW_AGENTP_FILE_WRITE, "user", "/dev/null", EINVAL },
		{ DW_AGENTP_FILE_READ, "user", "loop1", ELOOP },
		{ DW_AGENTP_FILE_WRITE, "user", "loop1", ELOOP },
		{ DW_AGENTP_FILE_READ, "user", "dangling", ENOENT },
		{ DW_AGENTP_FILE_READ, "1000", "plain", EINVAL },
		{ DW_AGENTP_FILE_WRITE, "nobody-here", "plain", EINVAL },
	};
	free(root_text(
		"cd /home; echo s > secret; chmod 600 secret; cd user; echo p > plain; mkfifo -m 666 fifo\n"
		"ln -s loop2 loop1; ln -s loop1 loop2; ln -s /nowhere/at/all dangling; ln -s ../secret link-to-secret\n"
		"python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'; chmod 777 socket"));
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct answer a = rows[i].type == DW_AGENTP_FILE_READ
					  ? file_read_as(rows[i].user, rows[i].path)
					  : file_write_as(rows[i].user, rows[i].path, (const uint8_t *)"x", 1);
		if (a.errors != 1 || a.number != rows[i].number)
			fail_msg("%u %s: %u (%s), not %d", rows[i].type, rows[i].path, a.number, a.message,
				 rows[i].number);
		assert_int_equal(a.ends + a.wrote_frames, 0);
		answer_free(&a);
	}
	free(root_text("[ $(cat /home/secret /home/user/plain | tr -d '\\n') = sp ] && [ ! -e /home/user/new ]"));
}

static void files_that_say_they_are_empty_are_read(void **state)
{
	struct answer a = file_read_as("user", "/proc/self/status");
	assert_int_equal(a.ends, 1);
	assert_non_null(strstr((char *)a.data.p, "Uid:\t1000\t1000\t1000\t1000"));
	assert_non_null(strstr((char *)a.data.p, "CapEff:\t0000000000000000"));
	answer_free(&a);
}

static void a_full_disk_is_an_error(void **state)
{
	static uint8_t bytes[3u << 20];
	struct answer a = file_write_as("user", "/tmp/small/f", bytes, sizeof(bytes));
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, ENOSPC);
	assert_int_equal(a.wrote_frames, 0);
	answer_free(&a);
	free(root_text("rm /tmp/small/f"));
}

static void frames_of_any_allowed_size_are_taken(void **state)
{
	static uint8_t bytes[DW_AGENTP_FRAME_MAX];
	int sock = op_open();
	op_file(sock, DW_AGENTP_FILE_WRITE, "user", "big");
	op_send(sock, DW_AGENTP_DATA, bytes, sizeof(bytes));
	op_send(sock, DW_AGENTP_DATA, NULL, 0);
	op_send(sock, DW_AGENTP_DATA, bytes, 1);
	op_send(sock, DW_AGENTP_END, NULL, 0);
	struct answer a = op_answer(sock);
	assert_int_equal(a.wrote, sizeof(bytes) + 1);
	answer_free(&a);
}

static void malformed_frames_are_never_a_success(void **state)
{
	static const uint8_t types[] = { DW_AGENTP_STDIN, DW_AGENTP_EXEC, DW_AGENTP_WROTE, 0, 0xff };
	for (size_t i = 0; i <= DW_COUNT(types); i++) {
		int sock = op_open();
		op_file(sock, DW_AGENTP_FILE_WRITE, "user", "cut");
		op_send(sock, DW_AGENTP_DATA, "abc", 3);
		if (i < DW_COUNT(types))
			op_send(sock, types[i], "x", 1);
		else
			op_send(sock, DW_AGENTP_END, "x", 1);
		struct answer a = op_answer(sock);
		assert_int_equal(a.wrote_frames + a.errors, 0);
		answer_free(&a);
	}
}

static void a_hang_up_ends_the_child(void **state)
{
	free(root_text("truncate -s 1G /home/user/huge; chown 1000 /home/user/huge"));
	int reading = op_open(), writing = op_open();
	op_file(reading, DW_AGENTP_FILE_READ, "user", "huge");
	op_wait_for(reading, DW_AGENTP_DATA);
	op_file(writing, DW_AGENTP_FILE_WRITE, "user", "part");
	op_send(writing, DW_AGENTP_DATA, "abc", 3);
	wait_until("[ $(ps -o comm= --ppid $PPID | grep -cFx \"$(cat /proc/$PPID/comm)\") = 2 ]");
	close(reading);
	close(writing);
	wait_until("[ $(ps -o comm= --ppid $PPID | grep -cFx \"$(cat /proc/$PPID/comm)\") = 0 ]");
}

const struct CMUnitTest file_tests[] = {
	cmocka_unit_test(what_is_written_is_read_back),
	cmocka_unit_test(parents_are_made_and_belong_to_the_account),
	cmocka_unit_test(an_existing_file_keeps_its_mode),
	cmocka_unit_test(refusals_have_the_right_number),
	cmocka_unit_test(files_that_say_they_are_empty_are_read),
	cmocka_unit_test(a_full_disk_is_an_error),
	cmocka_unit_test(frames_of_any_allowed_size_are_taken),
	cmocka_unit_test(malformed_frames_are_never_a_success),
	cmocka_unit_test(a_hang_up_ends_the_child),
};
const size_t file_tests_n = DW_COUNT(file_tests);
