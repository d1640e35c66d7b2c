/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "keydb/keydb.h"

struct place {
	char dir[64], path[96];
	struct dw_keydb *db;
};

static int set_up(void **state)
{
	struct dw_err err = { 0 };
	struct place *p = calloc(1, sizeof(*p));
	assert_non_null(p);
	snprintf(p->dir, sizeof(p->dir), "/tmp/declaw-unit-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/keys.db", p->dir);
	assert_int_equal(dw_keydb_open(p->dir, &p->db, &err), 0);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	char command[96];
	dw_keydb_close(p->db);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
	assert_int_equal(system(command), 0);
	free(p);
	return 0;
}

struct seen {
	struct dw_key key[8];
	size_t n;
};

static int see(void *arg, const struct dw_key *k)
{
	struct seen *s = arg;
	assert_true(s->n < 8);
	s->key[s->n++] = *k;
	return 0;
}

static struct seen all_of(struct dw_keydb *db, const char *owner)
{
	struct dw_err err = { 0 };
	struct seen s = { 0 };
	assert_int_equal(dw_keydb_each(db, owner, see, &s, &err), 0);
	return s;
}

static void life_of_a_key(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	struct dw_key k;
	char text[DW_KEY_SIZE];
	uint8_t hash[DW_KEY_HASH];
	struct stat st;
	assert_int_equal(dw_keydb_create(p->db, "ci \xc3\xa9", "team-a", 1000, text, &k, &err), 0);
	assert_int_equal(strlen(text), 44);
	assert_int_equal(strncmp(text, "dcl_", 4), 0);
	assert_int_equal(strlen(k.id), 16);
	assert_int_equal(strncmp(k.hint, text, 8), 0);
	dw_key_hash(text, hash);
	assert_int_equal(dw_keydb_touch(p->db, k.id, 2000, &err), 0);
	dw_keydb_close(p->db);
	p->db = NULL;
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(dw_keydb_open(p->dir, &p->db, &err), 0);
	struct seen s = all_of(p->db, NULL);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.key[0].name, "ci \xc3\xa9");
	assert_string_equal(s.key[0].owner, "team-a");
	assert_memory_equal(s.key[0].hash, hash, sizeof(hash));
	assert_int_equal(s.key[0].created_us, 1000);
	assert_int_equal(s.key[0].last_used_us, 2000);
	assert_int_equal(s.key[0].revoked_us, 0);
	assert_int_equal(dw_keydb_revoke(p->db, k.id, NULL, 3000, &err), 0);
	assert_int_equal(dw_keydb_revoke(p->db, k.id, "team-a", 4000, &err), 0);
	assert_int_equal(all_of(p->db, "team-a").key[0].revoked_us, 3000);
}

/* The text of a key is nowhere in the data directory. */
static void the_key_is_not_stored(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	struct dw_key k;
	char text[DW_KEY_SIZE], command[256];
	assert_int_equal(dw_keydb_create(p->db, "n", "o", 1, text, &k, &err), 0);
	snprintf(command, sizeof(command), "grep -rqaF '%s' '%s'", k.id, p->dir);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "grep -rqaF '%s' '%s'", text + 8, p->dir);
	assert_int_not_equal(system(command), 0);
}

static void others_keys_are_unknown(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	struct dw_key a, b;
	char ta[DW_KEY_SIZE], tb[DW_KEY_SIZE];
	assert_int_equal(dw_keydb_create(p->db, "a", "a", 1, ta, &a, &err), 0);
	assert_int_equal(dw_keydb_create(p->db, "b", "b", 2, tb, &b, &err), 0);
	assert_string_not_equal(ta, tb);
	assert_int_equal(dw_keydb_revoke(p->db, b.id, "a", 3, &err), -1);
	assert_int_equal(err.kind, DW_ERR_NOT_FOUND);
	assert_string_equal(err.code, "key_not_found");
	assert_int_equal(dw_keydb_revoke(p->db, "key-none", NULL, 3, &err), -1);
	assert_int_equal(all_of(p->db, "b").key[0].revoked_us, 0);
	assert_int_equal(all_of(p->db, "a").n, 1);
	assert_int_equal(all_of(p->db, NULL).n, 2);
	assert_int_equal(all_of(p->db, "c").n, 0);
}

static void words_that_are_refused(void **state)
{
	struct place *p = *state;
	char long_name[DW_KEY_NAME_MAX + 2], long_owner[DW_KEY_OWNER_MAX + 2], text[DW_KEY_SIZE];
	memset(long_name, 'x', sizeof(long_name) - 1);
	memset(long_owner, 'x', sizeof(long_owner) - 1);
	long_name[sizeof(long_name) - 1] = long_owner[sizeof(long_owner) - 1] = '\0';
	const char *names[] = { "", "a\nb", "\x7f", "\xc2\x9b", long_name };
	const char *owners[] = { "", "a b", "../x", "a.b", "-x", "a/b", "\xc3\xa9", long_owner };
	struct dw_key k;
	for (size_t i = 0; i < DW_COUNT(names); i++) {
		struct dw_err err = { 0 };
		assert_int_equal(dw_keydb_create(p->db, names[i], "o", 1, text, &k, &err), -1);
		assert_int_equal(err.kind, DW_ERR_INVALID);
	}
	for (size_t i = 0; i < DW_COUNT(owners); i++) {
		struct dw_err err = { 0 };
		assert_int_equal(dw_keydb_create(p->db, "n", owners[i], 1, text, &k, &err), -1);
		assert_int_equal(err.kind, DW_ERR_INVALID);
	}
	assert_int_equal(all_of(p->db, NULL).n, 0);
	assert_true(dw_key_name_ok(long_name + 1));
	assert_true(dw_key_owner_ok(long_owner + 1));
}

static int count(void *arg, const struct dw_key *k)
{
	size_t *n = arg;
	n[k->revoked_us != 0]++;
	return 0;
}

static void an_owner_has_so_many(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	struct dw_key k = { 0 };
	char text[DW_KEY_SIZE];
	for (int i = 0; i < DW_KEYS_OWNER; i++)
		assert_int_equal(dw_keydb_create(p->db, "n", "o", i + 1, text, &k, &err), 0);
	struct dw_key none;
	assert_int_equal(dw_keydb_create(p->db, "n", "o", 1, text, &none, &err), -1);
	assert_int_equal(err.kind, DW_ERR_LIMIT);
	assert_string_equal(err.code, "too_many_keys");
	assert_int_equal(dw_keydb_revoke(p->db, k.id, "o", 5000, &err), 0);
	assert_int_equal(dw_keydb_create(p->db, "n", "o", 1, text, &none, &err), 0);
	size_t n[2] = { 0 };
	assert_int_equal(dw_keydb_each(p->db, NULL, count, n, &err), 0);
	assert_int_equal(n[0], DW_KEYS_OWNER);
	assert_int_equal(n[1], 1);
}

static void the_key_of_the_file(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	const uint8_t first[DW_KEY_HASH] = { 1 }, second[DW_KEY_HASH] = { 2 };
	bool revoked = true;
	assert_int_equal(dw_keydb_adopt(p->db, first, 10, &revoked, &err), 0);
	assert_false(revoked);
	assert_int_equal(dw_keydb_adopt(p->db, first, 20, &revoked, &err), 0);
	struct seen s = all_of(p->db, NULL);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.key[0].owner, "local");
	assert_string_equal(s.key[0].hint, "");
	assert_true(s.key[0].from_file);
	assert_int_equal(s.key[0].created_us, 10);
	/* Another file: its predecessor is valid no more, not even if it comes back. */
	assert_int_equal(dw_keydb_adopt(p->db, second, 30, &revoked, &err), 0);
	assert_false(revoked);
	s = all_of(p->db, NULL);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.key[0].revoked_us, 30);
	assert_int_equal(s.key[1].revoked_us, 0);
	assert_int_equal(dw_keydb_adopt(p->db, first, 40, &revoked, &err), 0);
	assert_true(revoked);
}

static void changes_of_others_show(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	struct dw_keydb *other = NULL;
	struct dw_key k;
	char text[DW_KEY_SIZE];
	int64_t before, same, after;
	assert_int_equal(dw_keydb_open(p->dir, &other, &err), 0);
	assert_int_equal(dw_keydb_version(p->db, &before, &err), 0);
	assert_int_equal(dw_keydb_create(p->db, "own", "o", 1, text, &k, &err), 0);
	assert_int_equal(dw_keydb_version(p->db, &same, &err), 0);
	assert_int_equal(before, same);
	assert_int_equal(dw_keydb_revoke(other, k.id, NULL, 2, &err), 0);
	assert_int_equal(dw_keydb_version(p->db, &after, &err), 0);
	assert_int_not_equal(same, after);
	assert_int_equal(all_of(p->db, NULL).key[0].revoked_us, 2);
	dw_keydb_close(other);
}

static void what_can_not_be_opened(void **state)
{
	struct place *p = *state;
	struct dw_err err = { 0 };
	struct dw_keydb *db = NULL;
	assert_int_equal(dw_keydb_open("/nonexistent/declaw", &db, &err), -1);
	assert_non_null(strstr(err.message, "/nonexistent/declaw/keys.db"));
	dw_keydb_close(p->db);
	p->db = NULL;
	FILE *f = fopen(p->path, "w");
	assert_non_null(f);
	for (int i = 0; i < 200; i++)
		fputs("this is no database ", f);
	fclose(f);
	assert_int_equal(dw_keydb_open(p->dir, &db, &err), -1);
	assert_null(db);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(life_of_a_key),          TEST(the_key_is_not_stored),  TEST(others_keys_are_unknown),
		TEST(words_that_are_refused), TEST(an_owner_has_so_many),   TEST(the_key_of_the_file),
		TEST(changes_of_others_show), TEST(what_can_not_be_opened),
	};
	return cmocka_run_group_tests_name("keydb", tests, NULL, NULL);
}
