/* SPDX-License-Identifier: Apache-2.0 */
/* What a create request may say of volumes, and paths of the kernel's. */
#include "support.h"

#include "daemon/volume_spec.h"
#include "daemon/volume_take.h"

struct row {
	const char *name, *text; /* the value of volumes */
	const char *says;        /* in the message; NULL: good */
	const char *code;        /* or the echo */
};

#define ONE(path)  "[{\"volume_id\":\"vol-1\",\"mount_path\":\"" path "\"}]"
#define WITH(more) "[{\"volume_id\":\"vol-1\",\"mount_path\":\"/data\"," more "}]"
#define TWO(a, b)  "[{\"volume_id\":\"v\",\"mount_path\":\"" a "\"},{\"volume_id\":\"v\",\"mount_path\":\"" b "\"}]"
#define BAD(text, says)                           \
	{                                         \
		text, text, says, "invalid_field" \
	}

#define LONG "0123456789012345678901234567890123456789012345678901234567890123"

static const struct row rows[] = {
	{ "null", "null", NULL, NULL },
	{ "none", "[]", NULL, NULL },
	{ "an empty object", "{}", "must be an array", "invalid_field" },
	{ "plain", ONE("/data"), NULL, "[{\"mode\":\"copy\",\"mount_path\":\"/data\",\"volume_id\":\"vol-1\"}]" },
	{ "nulls", WITH("\"mode\":null,\"subpath\":null"), NULL,
	  "[{\"mode\":\"copy\",\"mount_path\":\"/data\",\"volume_id\":\"vol-1\"}]" },
	{ "read-only", WITH("\"mode\":\"mount-ro\",\"subpath\":\"a/b\""), NULL,
	  "[{\"mode\":\"mount-ro\",\"mount_path\":\"/data\",\"subpath\":\"a/b\",\"volume_id\":\"vol-1\"}]" },
	{ "members of the future", WITH("\"later\":1"), NULL,
	  "[{\"mode\":\"copy\",\"mount_path\":\"/data\",\"volume_id\":\"vol-1\"}]" },
	{ "neighbours", TWO("/data", "/data2"), NULL,
	  "[{\"mode\":\"copy\",\"mount_path\":\"/data\",\"volume_id\":\"v\"},"
	  "{\"mode\":\"copy\",\"mount_path\":\"/data2\",\"volume_id\":\"v\"}]" },
	{ "below the system's", ONE("/etc/app"), NULL,
	  "[{\"mode\":\"copy\",\"mount_path\":\"/etc/app\",\"volume_id\":\"vol-1\"}]" },
	{ "mount", WITH("\"mode\":\"mount\""), "mount-ro", "unsupported_option" },
	BAD("7", "must be an array"),
	BAD("\"x\"", "must be an array"),
	BAD("{\"volume_id\":\"v\"}", "must be an array"),
	BAD("[7]", "volumes[0] must be an object"),
	BAD("[{}]", "volumes[0].volume_id"),
	BAD("[{\"volume_id\":7,\"mount_path\":\"/d\"}]", "volume_id"),
	BAD("[{\"volume_id\":\"" LONG LONG "\",\"mount_path\":\"/d\"}]", "volume_id"),
	BAD("[{\"volume_id\":\"v\"}]", "mount_path is missing"),
	BAD(WITH("\"mode\":\"rw\""), "mode must be"),
	BAD(WITH("\"mode\":7"), "mode"),
	BAD(WITH("\"subpath\":\"a\""), "subpath goes with"),
	BAD(WITH("\"mode\":\"mount-ro\",\"subpath\":\"/a\""), "subpath must"),
	BAD(WITH("\"mode\":\"mount-ro\",\"subpath\":\"a/../b\""), "subpath must"),
	BAD(WITH("\"mode\":\"mount-ro\",\"subpath\":\"..\""), "subpath must"),
	BAD(WITH("\"mode\":\"mount-ro\",\"subpath\":\"a/\""), "subpath must"),
	BAD(ONE(""), "absolute"),
	BAD(ONE("data"), "absolute"),
	BAD(ONE("/"), "not /"),
	BAD(ONE("/a//b"), "without empty"),
	BAD(ONE("/a/"), "without empty"),
	BAD(ONE("//a"), "without empty"),
	BAD(ONE("/a/./b"), "without empty"),
	BAD(ONE("/a/../etc"), "without empty"),
	BAD(ONE("/a\\nb"), "without empty"),
	BAD(ONE("/a\\u0000b"), "mount_path"),
	BAD(ONE("/" LONG LONG LONG LONG), "less than 256"),
	BAD(ONE("/etc"), "directory of the system"),
	BAD(ONE("/usr"), "directory of the system"),
	BAD(ONE("/bin"), "directory of the system"),
	BAD(ONE("/sbin"), "directory of the system"),
	BAD(ONE("/lib"), "directory of the system"),
	BAD(ONE("/lib64"), "directory of the system"),
	BAD(ONE("/var"), "directory of the system"),
	BAD(ONE("/run"), "directory of the system"),
	BAD(ONE("/boot"), "directory of the system"),
	BAD(ONE("/proc"), "must not be /proc"),
	BAD(ONE("/proc/1"), "must not be /proc"),
	BAD(ONE("/sys/fs"), "must not be /proc"),
	BAD(ONE("/dev/shm"), "must not be /proc"),
	BAD(TWO("/a", "/a"), "volumes[0].mount_path and volumes[1]"),
	BAD(TWO("/a", "/a/b"), "volumes[0].mount_path and volumes[1]"),
	BAD(TWO("/a/b", "/a"), "volumes[0].mount_path and volumes[1]"),
	BAD("[1,2,3,4,5,6,7,8,9]", "at most 8"),
};

static void test_row(void **state)
{
	const struct row *r = *state;
	struct volume_spec s;
	struct dw_err err = { 0 };
	auto_json json_t *given = json_loads(r->text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	auto_json json_t *echo = NULL;
	assert_non_null(given);
	const int ret = volume_spec_parse(given, &s, &echo, &err);
	if (r->says) {
		assert_int_equal(ret, -1);
		assert_string_equal(err.code, r->code);
		assert_non_null(strstr(err.message, r->says));
		assert_null(echo);
		return;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(s.n, json_array_size(echo));
	char *text = echo ? json_dumps(echo, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (r->code)
		assert_string_equal(text, r->code);
	else
		assert_null(text);
	free(text);
}

/* What is echoed means the same when it is sent again, as for a sandbox that is made again. */
static void test_echo_is_a_request(void **state)
{
	struct volume_spec one, two;
	auto_json json_t *given = json_loads(WITH("\"mode\":\"mount-ro\",\"subpath\":\"x\""), 0, NULL);
	auto_json json_t *echo = NULL, *again = NULL;
	assert_int_equal(volume_spec_parse(given, &one, &echo, NULL), 0);
	assert_int_equal(volume_spec_parse(echo, &two, &again, NULL), 0);
	assert_true(json_equal(echo, again));
	assert_memory_equal(&one, &two, sizeof(one));
}

static void test_below(void **state)
{
	static const char *const in[] = { "/proc", "/proc/", "//proc", "/./proc/1", "/proc/./x", "proc" };
	static const char *const out[] = { "/", "/procs", "/pro", "/a/proc", "", "/.proc", "/..proc" };
	for (size_t i = 0; i < DW_COUNT(in); i++)
		assert_true(volume_take_is_below(in[i], "/proc"));
	for (size_t i = 0; i < DW_COUNT(out); i++)
		assert_false(volume_take_is_below(out[i], "/proc"));
}

int main(void)
{
	ROW_TESTS(rows, test_row);
	const struct CMUnitTest more[] = { cmocka_unit_test(test_echo_is_a_request), cmocka_unit_test(test_below) };
	return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(more, NULL, NULL);
}
