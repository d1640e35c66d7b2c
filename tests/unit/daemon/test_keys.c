/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <unistd.h>

#include "daemon/keys.h"

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

static struct keys *open_keys(const char *dir)
{
	uint8_t hash[DW_KEY_HASH];
	struct dw_err err = { 0 };
	struct keys *k = NULL;
	dw_key_hash("secret", hash);
	assert_int_equal(keys_open(dir, hash, &k, &err), 0);
	return k;
}

static void check(void **state)
{
	const struct row *r = *state;
	char dir[64];
	struct caller who = { 0 };
	struct keys *k = open_keys(make_dir(dir));
	assert_int_equal(keys_check(k, r->authorization, r->api_key, &who), r->want);
	assert_string_equal(who.owner, r->want ? "local" : "");
	assert_int_equal(who.key_id[0] != '\0', r->want);
	keys_close(k);
	remove_dir(dir);
}

static void changes_hold_at_once(void **state)
{
	char dir[64], text[DW_KEY_SIZE], bearer[DW_KEY_SIZE + 8];
	struct dw_err err = { 0 };
	struct dw_key made;
	struct caller who = { 0 };
	struct keys *k = open_keys(make_dir(dir));
	assert_int_equal(keys_create(k, "n", "alice", text, &made, &err), 0);
	assert_true(keys_check(k, NULL, text, &who));
	assert_string_equal(who.owner, "alice");
	assert_string_equal(who.key_id, made.id);
	/* Both are right: the first header's owner. */
	snprintf(bearer, sizeof(bearer), "Bearer %s", text);
	assert_true(keys_check(k, bearer, "secret", &who));
	assert_string_equal(who.owner, "alice");
	assert_true(keys_check(k, "Bearer secret", text, &who));
	assert_string_equal(who.owner, "local");
	assert_int_equal(keys_revoke(k, made.id, "local", &err), -1);
	assert_true(keys_check(k, NULL, text, &who));
	assert_int_equal(keys_revoke(k, made.id, "alice", &err), 0);
	assert_false(keys_check(k, NULL, text, &who));
	assert_true(keys_check(k, NULL, "secret", &who));
	keys_close(k);
	remove_dir(dir);
}

/* As the command line changes them while the daemon runs. */
static void others_changes_are_seen(void **state)
{
	char dir[64], text[DW_KEY_SIZE];
	struct dw_err err = { 0 };
	struct dw_key made;
	struct caller who = { 0 };
	struct dw_keydb *other = NULL;
	struct keys *k = open_keys(make_dir(dir));
	assert_true(keys_check(k, NULL, "secret", &who));
	assert_int_equal(dw_keydb_open(dir, &other, &err), 0);
	assert_int_equal(dw_keydb_create(other, "n", "bob", 1, text, &made, &err), 0);
	usleep((KEYS_LOOK_MS + 50) * 1000);
	assert_true(keys_check(k, NULL, text, &who));
	assert_int_equal(dw_keydb_revoke(other, made.id, NULL, 2, &err), 0);
	usleep((KEYS_LOOK_MS + 50) * 1000);
	assert_false(keys_check(k, NULL, text, &who));
	dw_keydb_close(other);
	keys_close(k);
	/* A revoked key file stays shut after a restart. */
	assert_int_equal(dw_keydb_open(dir, &other, &err), 0);
	assert_true(keys_check(k = open_keys(dir), NULL, "secret", &who));
	assert_int_equal(dw_keydb_revoke(other, who.key_id, NULL, 3, &err), 0);
	keys_close(k);
	k = open_keys(dir);
	assert_false(keys_check(k, NULL, "secret", &who));
	keys_close(k);
	dw_keydb_close(other);
	remove_dir(dir);
}

static int last_used(void *arg, const struct dw_key *key)
{
	*(int64_t *)arg = key->last_used_us;
	return 0;
}

static void use_is_noted(void **state)
{
	char dir[64];
	struct dw_err err = { 0 };
	struct caller who = { 0 };
	int64_t before = -1, after = -1, again = -1;
	struct keys *k = open_keys(make_dir(dir));
	assert_int_equal(keys_each(k, "local", last_used, &before, &err), 0);
	assert_true(keys_check(k, NULL, "secret", &who));
	assert_int_equal(keys_each(k, "local", last_used, &after, &err), 0);
	assert_true(keys_check(k, NULL, "secret", &who));
	assert_int_equal(keys_each(k, "local", last_used, &again, &err), 0);
	assert_int_equal(before, 0);
	assert_true(after > 0);
	/* Not with every request. */
	assert_int_equal(after, again);
	keys_close(k);
	remove_dir(dir);
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = {
		cmocka_unit_test(changes_hold_at_once),
		cmocka_unit_test(others_changes_are_seen),
		cmocka_unit_test(use_is_noted),
	};
	return cmocka_run_group_tests_name("headers", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("keys", more, NULL, NULL);
}
