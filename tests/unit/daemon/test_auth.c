/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auth.h"

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void key_is_made_once(void **state)
{
	char dir[64], path[96], key[128] = "";
	uint8_t a[AUTH_HASH_SIZE], b[AUTH_HASH_SIZE], want[AUTH_HASH_SIZE];
	bool made = false;
	struct dw_err err = { 0 };
	struct stat st;
	snprintf(path, sizeof(path), "%s/key", make_dir(dir));
	assert_int_equal(auth_load(path, a, &made, &err), 0);
	assert_true(made);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(key, sizeof(key), f));
	fclose(f);
	key[strcspn(key, "\n")] = '\0';
	assert_int_equal(strlen(key), 44);
	auth_sha256(key, strlen(key), want);
	assert_memory_equal(a, want, sizeof(a));
	assert_int_equal(auth_load(path, b, &made, &err), 0);
	assert_false(made);
	assert_memory_equal(a, b, sizeof(a));
	remove_dir(dir);
}

static void bad_key_files(void **state)
{
	static const char *const bad[] = { "", "\n", "two words", "two\nlines" };
	char dir[64], path[96];
	uint8_t a[AUTH_HASH_SIZE];
	bool made;
	snprintf(path, sizeof(path), "%s/key", make_dir(dir));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dw_err err = { 0 };
		write_file(path, bad[i]);
		assert_int_equal(auth_load(path, a, &made, &err), -1);
		assert_non_null(strstr(err.message, path));
	}
	remove_dir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(key_is_made_once), cmocka_unit_test(bad_key_files) };
	return cmocka_run_group_tests_name("key file", tests, NULL, NULL);
}
