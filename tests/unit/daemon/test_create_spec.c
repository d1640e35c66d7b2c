/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/create_spec.h"

struct row {
	const char *name, *json;
	const char *code, *word; /* NULL: accepted */
	enum dw_err_kind kind;
};

static const struct create_rules lenient = { .default_allow = true };
static const struct create_rules strict = { .default_allow = true, .strict_security = true };

#define BAD(name, json, code, word)                    \
	{                                              \
		name, json, code, word, DW_ERR_INVALID \
	}
#define OK(name, json)                    \
	{                                 \
		name, json, NULL, NULL, 0 \
	}

/* clang-format off */
static const struct row rows[] = {
	OK("nothing", "{}"),
	OK("unknown fields", "{\"colour\":\"blue\"}"),
	OK("nulls are absent", "{\"template\":null,\"timeout\":null,\"metadata\":null,\"envs\":null,\"network\":null,\"security\":null,"
	   "\"lifecycle\":null,\"volumes\":null,\"vault_refs\":null,\"resources\":null,\"secure\":null}"),
	OK("what clients send", "{\"template\":\"base\",\"timeout\":60,\"secure\":true,\"metadata\":{\"a\":\"b\"},\"envs\":{\"A_1\":\"x\"},"
	   "\"lifecycle\":{\"on_timeout\":\"kill\",\"auto_resume\":false},\"volumes\":[],\"vault_refs\":{}}"),
	BAD("empty template", "{\"template\":\"\"}", "invalid_field", "template"),
	BAD("template with a path", "{\"template\":\"../etc\"}", "invalid_field", "template"),
	BAD("over-long template", "{\"template\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "invalid_field", "template"),
	BAD("template of another type", "{\"template\":[]}", "invalid_field", "template"),
	BAD("empty name", "{\"name\":\"\"}", "invalid_field", "name"),
	BAD("timeout 0", "{\"timeout\":0}", "invalid_timeout", "timeout"),
	BAD("timeout of a million", "{\"timeout\":1000000}", "invalid_timeout", "timeout"),
	BAD("negative timeout", "{\"timeout\":-1}", "invalid_timeout", "timeout"),
	BAD("fractional timeout", "{\"timeout\":1.5}", "invalid_field", "timeout"),
	BAD("timeout as text", "{\"timeout\":\"60\"}", "invalid_field", "timeout"),
	OK("longest timeout", "{\"timeout\":86400}"),
	BAD("metadata list", "{\"metadata\":[]}", "invalid_field", "metadata"),
	BAD("metadata number", "{\"metadata\":{\"a\":1}}", "invalid_field", "metadata"),
	BAD("metadata empty key", "{\"metadata\":{\"\":\"x\"}}", "invalid_field", "metadata"),
	BAD("envs with a bad name", "{\"envs\":{\"1A\":\"x\"}}", "invalid_field", "1A"),
	BAD("envs with = in a name", "{\"envs\":{\"A=B\":\"x\"}}", "invalid_field", "A=B"),
	BAD("envs with an empty name", "{\"envs\":{\"\":\"x\"}}", "invalid_field", "envs"),
	BAD("envs with a NUL", "{\"envs\":{\"A\":\"x\\u0000y\"}}", "invalid_field", "envs"),
	BAD("secure of letters", "{\"secure\":\"yes\"}", "invalid_field", "secure"),
	BAD("network list", "{\"network\":[]}", "invalid_field", "network"),
	OK("pause", "{\"lifecycle\":{\"on_timeout\":\"pause\"}}"),
	BAD("on_timeout of a number", "{\"lifecycle\":{\"on_timeout\":1}}", "invalid_field", "on_timeout"),
	BAD("on_timeout with a tail", "{\"lifecycle\":{\"on_timeout\":\"pause \"}}", "invalid_field", "lifecycle.on_timeout"),
	BAD("on_timeout of something", "{\"lifecycle\":{\"on_timeout\":\"explode\"}}", "invalid_field", "lifecycle.on_timeout"),
	OK("auto_resume", "{\"lifecycle\":{\"auto_resume\":true}}"),
	BAD("auto_resume of a word", "{\"lifecycle\":{\"auto_resume\":\"yes\"}}", "invalid_field", "auto_resume"),
	BAD("lifecycle of a list", "{\"lifecycle\":[]}", "invalid_field", "lifecycle"),
	BAD("volumes", "{\"volumes\":[{\"volume_id\":\"v\"}]}", "invalid_field", "volumes[0].mount_path"),
	BAD("vault_refs", "{\"vault_refs\":{\"A\":\"vault://t/e/n\"}}", "unsupported_option", "vault_refs"),
	{ "resources", "{\"resources\":{}}", "resources_not_allowed", "resources", DW_ERR_FORBIDDEN },
	OK("security off", "{\"security\":{\"pii\":{\"enabled\":false},\"injection_defense\":null,\"transformations\":[]}}"),
	OK("security as text", "{\"security\":{\"policy_json\":\"{\\\"audit\\\":{\\\"enabled\\\":true}}\"}}"),
	BAD("policy_json of no JSON", "{\"security\":{\"policy_json\":\"{\"}}", "invalid_json", "security.policy_json"),
	BAD("policy_json of a list", "{\"security\":{\"policy_json\":\"[]\"}}", "invalid_field", "security.policy_json"),
	BAD("a network that nobody would read", "{\"security\":{\"policy_json\":\"{}\",\"network\":{\"allow_out\":[]}}}", "invalid_field",
	    "security.network"),
	OK("no network beside policy_json", "{\"security\":{\"policy_json\":\"{}\",\"network\":null}}"),
	BAD("policy_json as object", "{\"security\":{\"policy_json\":{}}}", "invalid_field", "security.policy_json"),
	BAD("bad entry in security", "{\"security\":{\"network\":{\"allow_out\":[\"a b\"]}}}", "invalid_network_entry", "allow_out[0]"),
	OK("network wins over security", "{\"network\":{},\"security\":{\"network\":{\"allow_out\":[\"a b\"]}}}"),
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	auto_json json_t *j = json_loads(r->json, JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	auto_create_spec struct create_spec s = CREATE_SPEC_EMPTY;
	struct dw_err err = { 0 };
	assert_int_equal(create_spec_parse(j, &lenient, &s, &err), r->code ? -1 : 0);
	if (r->code) {
		assert_int_equal(err.kind, r->kind);
		assert_string_equal(err.code, r->code);
		assert_non_null(strstr(err.message, r->word));
		assert_int_equal(s.network.policy_fd, -1);
		return;
	}
	assert_true(s.network.policy_fd >= 0);
	assert_true(json_is_object(s.record.doc->metadata) && json_is_object(s.record.doc->envs));
}

struct warned {
	const char *name, *json;
	const char *features; /* what is warned of, in order, with a comma behind each */
};

/* clang-format off */
static const struct warned warned[] = {
	{ "nothing", "{}", "" },
	{ "security off", "{\"security\":{\"pii\":{\"enabled\":false},\"toxicity\":{},\"injection_defense\":null,\"transformations\":[],\"audit\":false}}", "" },
	{ "unknown keys", "{\"security\":{\"colour\":{\"enabled\":true}}}", "" },
	{ "env_security", "{\"security\":{\"env_security\":{\"mask_patterns\":[\"*_KEY\"],\"auto_mask_in_audit\":true}}}", "" },
	{ "audit off", "{\"security\":{\"audit\":{\"enabled\":false}}}", "" },
	{ "audit", "{\"security\":{\"audit\":{\"enabled\":true}}}", "audit," },
	{ "audit without a word", "{\"security\":{\"audit\":{}}}", "audit," },
	{ "audit true", "{\"security\":{\"audit\":true}}", "audit," },
	{ "pii", "{\"security\":{\"pii\":{\"enabled\":true}}}", "pii," },
	{ "pii as text", "{\"security\":{\"policy_json\":\"{\\\"pii\\\":{\\\"enabled\\\":true}}\"}}", "pii," },
	{ "pii beside the text", "{\"security\":{\"policy_json\":\"{}\",\"pii\":{\"enabled\":true}}}", "pii," },
	{ "pii in both", "{\"security\":{\"policy_json\":\"{\\\"pii\\\":{\\\"enabled\\\":true}}\",\"pii\":{\"enabled\":true}}}", "pii," },
	{ "injection_defense", "{\"security\":{\"injection_defense\":{\"enabled\":true}}}", "injection_defense," },
	{ "toxicity", "{\"security\":{\"toxicity\":{\"enabled\":1}}}", "toxicity," },
	{ "code_security", "{\"security\":{\"code_security\":true}}", "code_security," },
	{ "invisible_text", "{\"security\":{\"invisible_text\":{\"enabled\":\"on\"}}}", "invisible_text," },
	{ "content_gate", "{\"security\":{\"content_gate\":{\"enabled\":true}}}", "content_gate," },
	{ "custom_policy", "{\"security\":{\"custom_policy\":{\"enabled\":true}}}", "custom_policy," },
	{ "transformations", "{\"security\":{\"transformations\":[{}]}}", "transformations," },
	{ "several", "{\"security\":{\"transformations\":[{}],\"pii\":{\"enabled\":true},\"toxicity\":{\"enabled\":true}}}", "pii,toxicity,transformations," },
};
/* clang-format on */

static void check_warned(void **state)
{
	const struct warned *w = *state;
	auto_json json_t *j = json_loads(w->json, 0, NULL);
	assert_non_null(j);
	auto_create_spec struct create_spec s = CREATE_SPEC_EMPTY;
	auto_create_spec struct create_spec refused = CREATE_SPEC_EMPTY;
	struct dw_err err = { 0 };
	assert_int_equal(create_spec_parse(j, &lenient, &s, &err), 0);
	assert_true(json_equal(s.record.doc->security, json_object_get(j, "security")) ||
		    !json_object_get(j, "security"));
	const char *at = w->features;
	size_t i;
	const json_t *v;
	json_array_foreach(s.warnings, i, v)
	{
		static const char prefix[] = "security.";
		const char *text = json_string_value(v);
		const size_t n = strcspn(at, ",");
		assert_memory_equal(text, prefix, sizeof(prefix) - 1);
		assert_true(n && strncmp(text + sizeof(prefix) - 1, at, n) == 0);
		assert_int_equal(text[sizeof(prefix) - 1 + n], ' ');
		at += n + 1;
	}
	assert_string_equal(at, "");
	/* Whatever is warned of is refused under --strict-security, and nothing else is. */
	assert_int_equal(create_spec_parse(j, &strict, &refused, &err), *w->features ? -1 : 0);
	if (*w->features) {
		assert_int_equal(err.kind, DW_ERR_UNPROCESSABLE);
		assert_string_equal(err.code, "unsupported_security");
		assert_non_null(strstr(err.message, "security."));
	}
}

static void a_lifecycle_arrives(void **state)
{
	auto_json json_t *j = json_pack("{s{ss sb}}", "lifecycle", "on_timeout", "pause", "auto_resume", 1);
	auto_create_spec struct create_spec s = CREATE_SPEC_EMPTY;
	struct dw_err err = { 0 };
	assert_int_equal(create_spec_parse(j, &lenient, &s, &err), 0);
	assert_true(s.pause_on_timeout && s.auto_resume);
	assert_true(json_equal(s.record.doc->lifecycle, json_object_get(j, "lifecycle")));
}

static void fields_arrive(void **state)
{
	auto_json json_t *j = json_pack("{ss ss si s{ss} s{ss} s{s[s]}}", "template", "python", "name", "n", "timeout",
					7, "metadata", "m", "1", "envs", "E", "2", "network", "deny_out", "0.0.0.0/0");
	auto_create_spec struct create_spec s = CREATE_SPEC_EMPTY;
	struct dw_err err = { 0 };
	assert_int_equal(create_spec_parse(j, &lenient, &s, &err), 0);
	assert_string_equal(s.record.template_name, "python");
	assert_string_equal(s.record.name, "n");
	assert_int_equal(s.record.timeout_s, 7);
	assert_true(json_equal(s.record.doc->network, json_object_get(j, "network")));
	assert_null(s.record.doc->security);
	auto_json json_t *shown = record_to_json(&s.record, "host:1");
	assert_non_null(shown);
	assert_true(json_is_null(json_object_get(shown, "security")));
	assert_string_equal(json_string_value(json_object_get(shown, "sandbox_domain")), "host:1");
}

static void network_from_security_is_shown(void **state)
{
	auto_json json_t *j = json_pack("{s{s{s[s]}}}", "security", "network", "allow_out", "a.com");
	auto_create_spec struct create_spec s = CREATE_SPEC_EMPTY;
	struct dw_err err = { 0 };
	assert_int_equal(create_spec_parse(j, &lenient, &s, &err), 0);
	assert_int_equal(json_array_size(json_object_get(s.record.doc->network, "allow_out")), 1);
}

static void maps_are_limited(void **state)
{
	auto_json json_t *body = json_object();
	json_t *map = json_object();
	json_object_set_new(body, "metadata", map);
	struct dw_err err = { 0 };
	char key[400];
	for (int i = 0; i < 257; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		json_object_set_new(map, key, json_string(""));
	}
	struct create_spec s;
	assert_int_equal(create_spec_parse(body, &lenient, &s, &err), -1);
	json_object_clear(map);
	memset(key, 'k', 257);
	key[257] = '\0';
	json_object_set_new(map, key, json_string(""));
	assert_int_equal(create_spec_parse(body, &lenient, &s, &err), -1);
	json_object_clear(map);
	char *big = calloc(1, DAEMON_MAP_BYTES + 1);
	memset(big, 'v', DAEMON_MAP_BYTES);
	json_object_set_new(map, "k", json_string(big));
	free(big);
	assert_int_equal(create_spec_parse(body, &lenient, &s, &err), -1);
	assert_non_null(strstr(err.message, "64 KiB"));
}

static int warnings(void)
{
	ROW_TESTS(warned, check_warned);
	return cmocka_run_group_tests_name("warnings", tests, NULL, NULL);
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(fields_arrive),
					   cmocka_unit_test(network_from_security_is_shown),
					   cmocka_unit_test(maps_are_limited), cmocka_unit_test(a_lifecycle_arrives) };
	return cmocka_run_group_tests_name("create spec", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("fields", more, NULL, NULL) + warnings();
}
