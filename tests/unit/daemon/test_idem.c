/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/bounds.h"
#include "daemon/idem.h"

static const uint8_t body_a[AUTH_HASH_SIZE] = { 1 }, body_b[AUTH_HASH_SIZE] = { 2 };

static void life_of_a_key(void **state)
{
	DW_AUTO(idem_free) struct idem *t = idem_new();
	char *text = NULL;
	assert_int_equal(idem_begin(t, "me", "k", body_a, 0, &text), IDEM_NEW);
	assert_int_equal(idem_begin(t, "me", "k", body_a, 1, &text), IDEM_BUSY);
	assert_int_equal(idem_begin(t, "me", "k", body_b, 1, &text), IDEM_MISMATCH);
	assert_int_equal(idem_begin(t, "me", "other", body_b, 1, &text), IDEM_NEW);
	assert_null(text);
	idem_finish(t, "me", "k", "answer");
	assert_int_equal(idem_begin(t, "me", "k", body_a, 2, &text), IDEM_REPLAY);
	assert_string_equal(text, "answer");
	free(text);
	assert_int_equal(idem_begin(t, "me", "k", body_b, 2, &text), IDEM_MISMATCH);
}

static void abandoned_key_starts_afresh(void **state)
{
	DW_AUTO(idem_free) struct idem *t = idem_new();
	char *text = NULL;
	assert_int_equal(idem_begin(t, "me", "k", body_a, 0, &text), IDEM_NEW);
	idem_abandon(t, "me", "k");
	assert_int_equal(idem_begin(t, "me", "k", body_b, 0, &text), IDEM_NEW);
	idem_finish(t, "me", "k", "answer");
	/* A finished one stays, whatever comes late. */
	idem_abandon(t, "me", "k");
	assert_int_equal(idem_begin(t, "me", "k", body_b, 0, &text), IDEM_REPLAY);
	free(text);
}

static void a_day_is_remembered(void **state)
{
	DW_AUTO(idem_free) struct idem *t = idem_new();
	char *text = NULL;
	assert_int_equal(idem_begin(t, "me", "k", body_a, 0, &text), IDEM_NEW);
	idem_finish(t, "me", "k", "answer");
	assert_int_equal(idem_begin(t, "me", "k", body_a, (int64_t)DAEMON_IDEM_AGE_MS, &text), IDEM_REPLAY);
	free(text);
	assert_int_equal(idem_begin(t, "me", "k", body_a, (int64_t)DAEMON_IDEM_AGE_MS + 1, &text), IDEM_NEW);
}

static void the_oldest_goes_first(void **state)
{
	DW_AUTO(idem_free) struct idem *t = idem_new();
	char *text = NULL;
	char key[32];
	assert_int_equal(idem_begin(t, "me", "running", body_a, 0, &text), IDEM_NEW);
	for (unsigned i = 0; i < DAEMON_IDEM_MAX; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(idem_begin(t, "me", key, body_a, i, &text), IDEM_NEW);
		idem_finish(t, "me", key, "x");
	}
	assert_int_equal(idem_begin(t, "me", "running", body_a, 0, &text), IDEM_BUSY);
	assert_int_equal(idem_begin(t, "me", key, body_a, 0, &text), IDEM_REPLAY);
	free(text);
	assert_int_equal(idem_begin(t, "me", "k0", body_b, 0, &text), IDEM_NEW);
}

static void full_of_running_ones(void **state)
{
	DW_AUTO(idem_free) struct idem *t = idem_new();
	char *text = NULL;
	char key[32];
	for (unsigned i = 0; i < DAEMON_IDEM_MAX; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(idem_begin(t, "me", key, body_a, 0, &text), IDEM_NEW);
	}
	assert_int_equal(idem_begin(t, "me", "one more", body_a, 0, &text), IDEM_FULL);
	idem_abandon(t, "me", "k0");
	assert_int_equal(idem_begin(t, "me", "one more", body_a, 0, &text), IDEM_NEW);
}

/* However many one makes, another's stay: the one who has the most gives way. */
static void owners_do_not_push_each_other_out(void **state)
{
	static const char large[64u << 10] = { [0 ...(64u << 10) - 2] = 'x' };
	for (unsigned sized = 0; sized < 2; sized++) {
		DW_AUTO(idem_free) struct idem *t = idem_new();
		char *text = NULL;
		char key[32];
		for (unsigned i = 0; i < 10; i++) {
			snprintf(key, sizeof(key), "k%u", i);
			assert_int_equal(idem_begin(t, "quiet", key, body_a, 0, &text), IDEM_NEW);
			idem_finish(t, "quiet", key, "answer");
		}
		for (unsigned i = 0; i < (sized ? 2 * DAEMON_IDEM_BYTES / sizeof(large) : 2 * DAEMON_IDEM_MAX); i++) {
			snprintf(key, sizeof(key), "k%u", i);
			assert_int_equal(idem_begin(t, "loud", key, body_b, 1, &text), IDEM_NEW);
			idem_finish(t, "loud", key, sized ? large : "x");
		}
		assert_int_equal(idem_begin(t, "loud", "k0", body_b, 1, &text), IDEM_NEW);
		for (unsigned i = 0; i < 10; i++) {
			snprintf(key, sizeof(key), "k%u", i);
			assert_int_equal(idem_begin(t, "quiet", key, body_a, 2, &text), IDEM_REPLAY);
			assert_string_equal(text, "answer");
			free(text);
		}
		assert_int_equal(idem_begin(t, "third", "k", body_a, 2, &text), IDEM_NEW);
	}
}

/* A quiet one that has grown to be the largest is the one who gives way then. */
static void the_largest_gives_way(void **state)
{
	DW_AUTO(idem_free) struct idem *t = idem_new();
	char *text = NULL;
	char key[32];
	for (unsigned i = 0; i < DAEMON_IDEM_MAX; i++) {
		const char *owner = i < DAEMON_IDEM_MAX / 4 ? "early" : "late";
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(idem_begin(t, owner, key, body_a, 0, &text), IDEM_NEW);
		idem_finish(t, owner, key, "x");
	}
	assert_int_equal(idem_begin(t, "early", "one more", body_a, 0, &text), IDEM_NEW);
	assert_int_equal(idem_begin(t, "early", "k0", body_a, 0, &text), IDEM_REPLAY);
	free(text);
	snprintf(key, sizeof(key), "k%u", DAEMON_IDEM_MAX / 4);
	assert_int_equal(idem_begin(t, "late", key, body_a, 0, &text), IDEM_NEW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(life_of_a_key),         cmocka_unit_test(abandoned_key_starts_afresh),
		cmocka_unit_test(a_day_is_remembered),   cmocka_unit_test(the_oldest_goes_first),
		cmocka_unit_test(full_of_running_ones),  cmocka_unit_test(owners_do_not_push_each_other_out),
		cmocka_unit_test(the_largest_gives_way),
	};
	return cmocka_run_group_tests_name("idem", tests, NULL, NULL);
}
