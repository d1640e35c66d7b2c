/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auth.h"

struct row {
	const char *name, *authorization, *api_key;
	bool want;
};

static const struct row rows[] = {
	{ "neither", NULL, NULL, false },
	{ "bearer", "Bearer secret", NULL, true },
	{ "scheme in any case", "bearer  secret", NULL, true },
	{ "api key", NULL, "secret", true },
	{ "wrong bearer", "Bearer secrex", NULL, false },
	{ "prefix of the key", "Bearer secre", NULL, false },
	{ "key and more", NULL, "secret ", false },
	{ "empty", "Bearer ", "", false },
	{ "another scheme", "Basic secret", NULL, false },
	{ "no scheme", "secret", NULL, false },
	{ "one of two is right", "Bearer wrong", "secret", true },
	{ "the other of two is right", "Bearer secret", "wrong", true },
};

static void check(void **state)
{
	const struct row *r = *state;
	struct auth a;
	auth_sha256("secret", 6, a.hash);
	assert_int_equal(auth_check(&a, r->authorization, r->api_key), r->want);
}

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
	struct auth a, b;
	bool made = false;
	struct dw_err err = { 0 };
	struct stat st;
	snprintf(path, sizeof(path), "%s/key", make_dir(dir));
	assert_int_equal(auth_load(&a, path, &made, &err), 0);
	assert_true(made);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(key, sizeof(key), f));
	fclose(f);
	key[strcspn(key, "\n")] = '\0';
	assert_int_equal(strlen(key), 44);
	assert_true(auth_check(&a, NULL, key));
	assert_int_equal(auth_load(&b, path, &made, &err), 0);
	assert_false(made);
	assert_memory_equal(a.hash, b.hash, sizeof(a.hash));
	remove_dir(dir);
}

static void bad_key_files(void **state)
{
	static const char *const bad[] = { "", "\n", "two words", "two\nlines" };
	char dir[64], path[96];
	struct auth a;
	bool made;
	snprintf(path, sizeof(path), "%s/key", make_dir(dir));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dw_err err = { 0 };
		write_file(path, bad[i]);
		assert_int_equal(auth_load(&a, path, &made, &err), -1);
		assert_non_null(strstr(err.message, path));
	}
	remove_dir(dir);
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(key_is_made_once), cmocka_unit_test(bad_key_files) };
	return cmocka_run_group_tests_name("auth", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("key file", more, NULL, NULL);
}
