/* SPDX-License-Identifier: Apache-2.0 */
/* What a request for a build says, field by field, and every refusal. */
#include "support.h"

#include "daemon/bounds.h"
#include "daemon/build_spec.h"

struct row {
	const char *name, *text; /* the request */
	const char *says;        /* in the message; NULL: good */
	const char *want;        /* the error's code, or what the specification holds beside the defaults */
	bool debian, background;
};

#define GOOD(text, want)                \
	{                               \
		text, text, NULL, want, \
	}
#define GOOD_DEBIAN(text, want)                     \
	{                                           \
		text, text, NULL, want, true, false \
	}
#define BAD(text, says)                           \
	{                                         \
		text, text, says, "invalid_field" \
	}
#define BAD_DEBIAN(text, says)                                 \
	{                                                      \
		text, text, says, "invalid_field", true, false \
	}

#define X16(x)  x x x x x x x x x x x x x x x x
#define X256(x) X16(X16(x))
#define X64(x)  X16(x) X16(x) X16(x) X16(x)

#define HEAD    "FROM ubuntu:22.04\\nUSER root\\n"
#define DEFAULT "{\"dockerfile\":\"" HEAD "\"}"

static const struct row rows[] = {
	GOOD("{}", DEFAULT),
	GOOD("{\"template\":{}}", DEFAULT),
	GOOD("{\"template\":null,\"alias\":null,\"cpu_count\":null,\"network\":null,\"dockerfile\":null,\"run_cmds\":"
	     "null,"
	     "\"envs\":null,\"apt_packages\":null,\"start_cmd\":null,\"ready_check\":null,\"copies\":null}",
	     DEFAULT),
	GOOD("{\"alias\":\"\",\"cpu_count\":0,\"memory_mb\":0,\"disk_mb\":0,\"start_cmd\":\"\",\"dockerfile\":\"\","
	     "\"run_cmds\":[],\"copies\":[]}",
	     DEFAULT),
	{ "in the background", "{\"background\":true}", NULL, DEFAULT, false, true },
	GOOD("{\"alias\":\"web-1\",\"cpu_count\":4,\"memory_mb\":2048,\"disk_mb\":4096}",
	     "{\"alias\":\"web-1\",\"dockerfile\":\"" HEAD "\",\"size\":\"4 2048 4096\"}"),
	GOOD("{\"cpu_count\":1,\"memory_mb\":128,\"disk_mb\":128}",
	     "{\"dockerfile\":\"" HEAD "\",\"size\":\"1 128 128\"}"),
	GOOD("{\"template\":{\"base_image\":\"a.test/b:1\",\"run_cmds\":[\"echo "
	     "\\\"a\\\"\\nb\",\"c\"]},\"base_image\":\"other\"}",
	     "{\"dockerfile\":\"FROM a.test/b:1\\nUSER root\\nRUN [\\\"/bin/sh\\\",\\\"-c\\\",\\\"echo "
	     "\\\\\\\"a\\\\\\\"\\\\nb\\\"]\\nRUN [\\\"/bin/sh\\\",\\\"-c\\\",\\\"c\\\"]\\n\"}"),
	GOOD("{\"apt_packages\":[\"git\",\"g++:amd64\"],\"run_cmds\":[\"x\"]}",
	     "{\"dockerfile\":\"" HEAD "RUN [\\\"/bin/sh\\\",\\\"-c\\\",\\\"apt-get update && "
	     "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git g++:amd64 && "
	     "rm -rf /var/lib/apt/lists/*\\\"]\\nRUN [\\\"/bin/sh\\\",\\\"-c\\\",\\\"x\\\"]\\n\"}"),
	GOOD("{\"envs\":{\"A\":\"b $c\"}}",
	     "{\"dockerfile\":\"" HEAD "ENV A=\\\"b \\\\$c\\\"\\n\",\"envs\":{\"A\":\"b $c\"}}"),
	GOOD("{\"base_image\":\"mine\"}",
	     "{\"bases\":[\"tpl-abcd1234\"],\"dockerfile\":\"FROM localhost/tpl-abcd1234\\nUSER root\\n\"}"),
	/* What stands behind the first line is the client's, and no template is looked for in it. */
	GOOD("{\"base_image\":\"x\",\"run_cmds\":[\"COPY --from=localhost/mine\"]}",
	     "{\"dockerfile\":\"FROM x\\nUSER root\\nRUN [\\\"/bin/sh\\\",\\\"-c\\\",\\\"COPY "
	     "--from=localhost/mine\\\"]\\n\"}"),
	GOOD("{\"dockerfile\":\"FROM x\\nCOPY --from=localhost/mine a "
	     "b\",\"run_cmds\":[],\"envs\":{},\"base_image\":\"\"}",
	     "{\"bases\":[\"mine\"],\"dockerfile\":\"FROM x\\nCOPY --from=localhost/mine a b\"}"),
	GOOD("{\"start_cmd\":\"serve\",\"ready_check\":\"curl x\"}",
	     "{\"dockerfile\":\"" HEAD "\",\"ready\":\"curl x\",\"start\":\"serve\"}"),
	GOOD("{\"dockerfile\":\"FROM x\",\"start_cmd\":\"serve\"}", "{\"dockerfile\":\"FROM x\",\"start\":\"serve\"}"),
	GOOD("{\"start_cmd\":\"" X256("0123456789abcdef") "\"}",
	     "{\"dockerfile\":\"" HEAD "\",\"start\":\"" X256("0123456789abcdef") "\"}"),
	GOOD("{\"network\":{\"allow_out\":[\"a.test\"]}}",
	     "{\"dockerfile\":\"" HEAD "\",\"network\":{\"allow_out\":[\"a.test\"]}}"),
	BAD("{\"template\":7}", "template"),
	BAD("{\"template\":[]}", "template"),
	BAD("{\"background\":1}", "background"),
	BAD("{\"alias\":7}", "alias"),
	{ "the server's own name", "{\"alias\":\"base\"}", "server itself", "invalid_alias" },
	{ "like an id", "{\"alias\":\"tpl-x\"}", "ids", "invalid_alias" },
	{ "a long alias", "{\"alias\":\"" X64("a") "\"}", "63", "invalid_alias" },
	BAD("{\"cpu_count\":-1}", "cpu_count must be between 1 and 4"),
	BAD("{\"cpu_count\":5}", "cpu_count must be between 1 and 4"),
	BAD("{\"cpu_count\":4294967297}", "cpu_count must be between 1 and 4"),
	BAD("{\"cpu_count\":1.5}", "cpu_count"),
	BAD("{\"memory_mb\":127}", "memory_mb must be between 128 and 2048"),
	BAD("{\"memory_mb\":2049}", "memory_mb must be between 128 and 2048"),
	BAD("{\"disk_mb\":127}", "disk_mb must be between 128 and 4096"),
	BAD("{\"disk_mb\":4097}", "disk_mb must be between 128 and 4096"),
	BAD("{\"disk_mb\":\"300\"}", "disk_mb"),
	BAD("{\"network\":7}", "network"),
	BAD("{\"start_cmd\":7}", "start_cmd"),
	BAD("{\"start_cmd\":\"a\\u0000b\"}", "start_cmd"),
	BAD("{\"start_cmd\":\"" X256("0123456789abcdef") "x\"}", "start_cmd must have at most 4096 bytes"),
	BAD("{\"start_cmd\":\"x\",\"ready_check\":\"" X256("0123456789abcdef") "x\"}", "ready_check must have at most"),
	BAD("{\"ready_check\":\"true\"}", "needs a start_cmd"),
	BAD("{\"dockerfile\":7}", "dockerfile must be a string"),
	BAD("{\"dockerfile\":[]}", "dockerfile must be a string"),
	{ "without FROM", "{\"dockerfile\":\"RUN x\"}", "FROM", "invalid_dockerfile" },
	{ "a NUL", "{\"dockerfile\":\"FROM x\\u0000\"}", "NUL", "invalid_dockerfile" },
	{ "files", "{\"copies\":[{\"src\":\"a\",\"dst\":\"b\"}]}", "copies", "unsupported_option" },
	{ "files and a text", "{\"dockerfile\":\"FROM x\",\"copies\":[1]}", "copies", "unsupported_option" },
	BAD("{\"dockerfile\":\"FROM x\",\"base_image\":\"y\"}", "base_image: a dockerfile stands alone"),
	BAD("{\"dockerfile\":\"FROM x\",\"run_cmds\":[\"y\"]}", "run_cmds: a dockerfile stands alone"),
	BAD("{\"dockerfile\":\"FROM x\",\"run_cmds\":7}", "run_cmds: a dockerfile stands alone"),
	BAD("{\"dockerfile\":\"FROM x\",\"envs\":{\"A\":\"b\"}}", "envs: a dockerfile stands alone"),
	BAD("{\"dockerfile\":\"FROM x\",\"apt_packages\":[\"y\"]}", "apt_packages: a dockerfile stands alone"),
	BAD("{\"base_image\":7}", "base_image"),
	BAD("{\"base_image\":\"base\"}", "server's own /usr"),
	BAD("{\"base_image\":\"a\\nRUN b\"}", "base_image"),
	BAD("{\"run_cmds\":{}}", "run_cmds"),
	BAD("{\"run_cmds\":[\"x\",\"\"]}", "run_cmds[1]"),
	BAD("{\"apt_packages\":[\"git\",\"a b\"]}", "apt_packages[1]"),
	BAD("{\"envs\":{\"A\":7}}", "envs"),
	BAD("{\"envs\":{\"A\":\"x\\ny\"}}", "line break"),
	GOOD_DEBIAN("{}", "{\"suite\":\"bookworm\"}"),
	GOOD_DEBIAN("{\"suite\":\"trixie\",\"packages\":[\"git\",\"curl\"],\"mirror\":\"https://m.test/"
		    "debian\",\"start_cmd\":\"x\","
		    "\"alias\":\"d\"}",
		    "{\"alias\":\"d\",\"mirror\":\"https://m.test/debian\",\"packages\":\"git,curl\",\"start\":\"x\","
		    "\"suite\":\"trixie\"}"),
	GOOD_DEBIAN("{\"packages\":[],\"mirror\":\"\"}", "{\"suite\":\"bookworm\"}"),
	{ "in the background too", "{\"background\":true}", NULL, "{\"suite\":\"bookworm\"}", true, true },
	BAD_DEBIAN("{\"suite\":\"\"}", "suite"),
	BAD_DEBIAN("{\"suite\":\"-x\"}", "suite"),
	BAD_DEBIAN("{\"suite\":\"a/b\"}", "suite"),
	BAD_DEBIAN("{\"suite\":\"" X64("a") "\"}", "suite"),
	BAD_DEBIAN("{\"suite\":7}", "suite"),
	BAD_DEBIAN("{\"packages\":\"git\"}", "packages"),
	BAD_DEBIAN("{\"packages\":[\"git\",\"a,b\"]}", "packages[1]"),
	BAD_DEBIAN("{\"packages\":[\"--x\"]}", "packages[0]"),
	BAD_DEBIAN("{\"packages\":[7]}", "packages[0]"),
	BAD_DEBIAN("{\"packages\":[" X256("\"a\",") X256("\"a\",") "\"a\"]}", "at most 512"),
	BAD_DEBIAN("{\"mirror\":\"ftp://x\"}", "mirror"),
	BAD_DEBIAN("{\"mirror\":\"http://x y\"}", "mirror"),
	BAD_DEBIAN("{\"mirror\":\"http://x/$(id)\"}", "mirror"),
	BAD_DEBIAN("{\"mirror\":\"http://x/" X256("ab") "\"}", "mirror"),
	BAD_DEBIAN("{\"cpu_count\":5}", "cpu_count"),
	BAD_DEBIAN("{\"network\":[]}", "network"),
	BAD_DEBIAN("{\"ready_check\":\"x\"}", "start_cmd"),
};

static bool is_template(void *arg, const char *name, char ret_id[static TEMPLATE_ID_SIZE])
{
	snprintf(ret_id, TEMPLATE_ID_SIZE, "tpl-abcd1234");
	return strcmp(name, "mine") == 0;
}

static const struct build_rules rules = {
	.vcpus_max = 4,
	.memory_mb_max = 2048,
	.disk_mb_max = 4096,
	.is_template = is_template,
	.mb_max = UINT32_MAX,
};

static void put(json_t *o, const char *key, const char *text)
{
	if (text && *text)
		assert_int_equal(json_object_set_new(o, key, json_string(text)), 0);
}

/* Everything that is not the default. */
static char *describe(const struct build_spec *s)
{
	auto_json json_t *o = json_object();
	auto_json json_t *bases = json_array();
	char size[64];
	snprintf(size, sizeof(size), "%u %u %u", s->vcpus, s->memory_mb, s->disk_mb);
	for (size_t i = 0; i < s->bases.n; i++)
		json_array_append_new(bases, json_string(s->bases.name[i]));
	if (s->bases.n)
		json_object_set(o, "bases", bases);
	put(o, "size", strcmp(size, "2 1024 1024") == 0 ? NULL : size);
	put(o, "alias", s->alias);
	put(o, "dockerfile", s->dockerfile);
	put(o, "start", s->start_cmd);
	put(o, "ready", s->ready_check);
	put(o, "tag", s->tag);
	put(o, "suite", s->suite);
	put(o, "packages", s->packages);
	put(o, "mirror", s->mirror);
	if (s->network)
		json_object_set(o, "network", s->network);
	if (s->envs)
		json_object_set(o, "envs", s->envs);
	return json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
}

static void test_row(void **state)
{
	static const struct build_spec nothing;
	const struct row *r = *state;
	auto_build_spec struct build_spec s;
	auto_json json_t *body = json_loads(r->text, JSON_ALLOW_NUL, NULL);
	struct dw_err err = { 0 };
	bool background;
	assert_non_null(body);
	const int ret = r->debian ? build_spec_parse_debian(body, &rules, &s, &background, &err)
				  : build_spec_parse(body, &rules, &s, &background, &err);
	if (r->says) {
		assert_int_equal(ret, -1);
		assert_string_equal(err.code, r->want);
		assert_non_null(strstr(err.message, r->says));
		assert_memory_equal(&s, &nothing, sizeof(s));
		return;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(s.kind, r->debian ? BUILD_DEBIAN : BUILD_DOCKERFILE);
	assert_int_equal(background, r->background);
	char *text = describe(&s);
	assert_string_equal(text, r->want);
	free(text);
}

/* It is compiled before anything is started, so that the answer says what is wrong with it. */
static void test_bad_policy(void **state)
{
	auto_build_spec struct build_spec s;
	auto_json json_t *body = json_loads("{\"network\":{\"allow_out\":[\"not a name\"]}}", 0, NULL);
	struct dw_err err = { 0 };
	bool background;
	assert_int_equal(build_spec_parse(body, &rules, &s, &background, &err), -1);
	assert_int_equal(err.kind, DW_ERR_INVALID);
	assert_non_null(strstr(err.message, "not a name"));
}

/* On a machine with less than the defaults, the defaults are what it has. Memory and disk share it. */
static void test_small_machine(void **state)
{
	const struct build_rules small = { .vcpus_max = 1, .memory_mb_max = 872, .disk_mb_max = 872, .mb_max = 1000 };
	static const struct {
		const char *text;
		uint32_t memory_mb, disk_mb; /* 0: refused */
	} given[] = {
		{ "{}", 500, 500 },
		{ "{\"memory_mb\":700}", 700, 300 },
		{ "{\"disk_mb\":872}", 128, 872 },
		{ "{\"memory_mb\":600,\"disk_mb\":400}", 600, 400 },
		{ "{\"memory_mb\":600,\"disk_mb\":401}", 0, 0 },
	};
	for (size_t i = 0; i < DW_COUNT(given); i++) {
		auto_build_spec struct build_spec s;
		auto_json json_t *body = json_loads(given[i].text, 0, NULL);
		struct dw_err err = { 0 };
		bool background;
		const int ret = build_spec_parse(body, &small, &s, &background, &err);
		assert_int_equal(ret, given[i].memory_mb ? 0 : -1);
		assert_int_equal(s.memory_mb, given[i].memory_mb);
		assert_int_equal(s.disk_mb, given[i].disk_mb);
		if (ret < 0)
			assert_non_null(strstr(err.message, "at most 1000 together"));
		else
			assert_int_equal(s.vcpus, 1);
	}
}

/* The request may go before the build does. */
static void test_keeps_its_own(void **state)
{
	auto_build_spec struct build_spec s;
	json_t *body = json_loads("{\"network\":{\"allow_out\":[\"a.test\"]},\"envs\":{\"A\":\"b\"}}", 0, NULL);
	bool background;
	assert_int_equal(build_spec_parse(body, &rules, &s, &background, NULL), 0);
	json_object_clear(json_object_get(body, "network"));
	json_object_clear(json_object_get(body, "envs"));
	json_decref(body);
	assert_int_equal(json_object_size(s.network), 1);
	assert_int_equal(json_object_size(s.envs), 1);
}

int main(void)
{
	ROW_TESTS(rows, test_row);
	const struct CMUnitTest more[] = {
		cmocka_unit_test(test_bad_policy),
		cmocka_unit_test(test_small_machine),
		cmocka_unit_test(test_keeps_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(more, NULL, NULL);
}
