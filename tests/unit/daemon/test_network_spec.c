/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/limits_spec.h"
#include "daemon/network_spec.h"
#include "policy/policy.h"

struct row {
	const char *name, *json;
	bool default_deny;
	const char *code, *word; /* of the refusal; NULL: accepted, and then: */
	enum dw_reason reason;   /* of a flow to 93.184.216.34:443 */
};

/* clang-format off */
static const struct row rows[] = {
	{ "absent", NULL, false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "absent, default deny", NULL, true, NULL, NULL, DW_REASON_DENY_DEFAULT },
	{ "empty object", "{}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "no lists", "{\"allow_public_traffic\":true}", true, NULL, NULL, DW_REASON_DENY_DEFAULT },
	{ "allow_out null", "{\"allow_out\":null}", false, NULL, NULL, DW_REASON_NOT_IN_ALLOW_OUT },
	{ "allow_out empty", "{\"allow_out\":[]}", false, NULL, NULL, DW_REASON_NOT_IN_ALLOW_OUT },
	{ "allow_out names it", "{\"allow_out\":[\"93.184.216.0/24\"]}", true, NULL, NULL, DW_REASON_ALLOW_ENTRY },
	{ "allow_out names another", "{\"allow_out\":[\"api.github.com\"]}", false, NULL, NULL, DW_REASON_NOT_IN_ALLOW_OUT },
	{ "deny_out null", "{\"deny_out\":null}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "deny_out empty", "{\"deny_out\":[]}", true, NULL, NULL, DW_REASON_DENY_DEFAULT },
	{ "deny_out names it", "{\"deny_out\":[\"93.184.216.34\"]}", false, NULL, NULL, DW_REASON_DENY_ENTRY },
	{ "no object of lists", "{\"allow_out\":\"x.com\"}", false, "invalid_field", "network.allow_out", 0 },
	{ "a number in a list", "{\"allow_out\":[\"a.com\",1]}", false, "invalid_network_entry", "network.allow_out[1]", 0 },
	{ "null in a list", "{\"deny_out\":[null]}", false, "invalid_network_entry", "network.deny_out[0]", 0 },
	{ "NUL in an entry", "{\"allow_out\":[\"a.com\\u0000.b.com\"]}", false, "invalid_network_entry", "network.allow_out[0]", 0 },
	{ "no entry", "{\"allow_out\":[\"a b\"]}", false, "invalid_network_entry", "network.allow_out[0]", 0 },
	{ "no regex", "{\"allow_out\":[\"~(\"]}", false, "invalid_network_entry", "network.allow_out[0]", 0 },
	{ "a regex without bound", "{\"allow_out\":[\"~^(a+)+$\"]}", false, "invalid_network_entry", "network.allow_out[0]", 0 },
	{ "mask_request_host", "{\"mask_request_host\":\"localhost:${PORT}\"}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "mask_request_host with a path", "{\"mask_request_host\":\"x/y\"}", false, "invalid_field", "network.mask_request_host", 0 },
	{ "mask_request_host with another variable", "{\"mask_request_host\":\"${HOST}\"}", false, "invalid_field", "network.mask_request_host", 0 },
	{ "mask_request_host that is empty", "{\"mask_request_host\":\"\"}", false, "invalid_field", "network.mask_request_host", 0 },
	{ "mask_request_host on", "{\"mask_request_host\":true}", false, "invalid_field", "network.mask_request_host", 0 },
	{ "mask_request_host off", "{\"mask_request_host\":false}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "allow_public_traffic false", "{\"allow_public_traffic\":false}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "allow_public_traffic of letters", "{\"allow_public_traffic\":\"no\"}", false, "invalid_field", "network: allow_public_traffic", 0 },
	{ "blocked of another word", "{\"blocked\":\"DROP\"}", false, "invalid_field", "network.blocked", 0 },
	{ "blocked of no string", "{\"blocked\":true}", false, "invalid_field", "network: blocked", 0 },
	{ "mode of another word", "{\"mode\":\"off\"}", false, "invalid_field", "network.mode", 0 },
	{ "words null", "{\"mode\":null,\"blocked\":null,\"limits\":null}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "limits of no object", "{\"limits\":5}", false, "invalid_field", "network: limits", 0 },
	{ "a limit of 0", "{\"limits\":{\"flows\":0}}", false, "invalid_field", "limits.flows must be a whole number between 1 and 16384", 0 },
	{ "a limit below 0", "{\"limits\":{\"bytes\":-1}}", false, "invalid_field", "limits.bytes must be a whole number between 1 and 9007199254740991", 0 },
	{ "a limit too high", "{\"limits\":{\"half_open\":16385}}", false, "invalid_field", "limits.half_open must be a whole number between 1 and 16384", 0 },
	{ "a rate too high", "{\"limits\":{\"flows_per_second\":1000001}}", false, "invalid_field", "limits.flows_per_second must be a whole number between 1 and 1000000", 0 },
	{ "names too many", "{\"limits\":{\"names_per_minute\":100001}}", false, "invalid_field", "limits.names_per_minute must be a whole number between 1 and 100000", 0 },
	{ "a limit with a fraction", "{\"limits\":{\"dns_per_second\":1.0}}", false, "invalid_field", "limits.dns_per_second must be a whole number between 1 and 1000000", 0 },
	{ "a limit of letters", "{\"limits\":{\"flows\":\"1\"}}", false, "invalid_field", "limits.flows", 0 },
	{ "a member that is no limit", "{\"limits\":{\"flow\":1}}", false, "invalid_field", "no limit", 0 },
	{ "an unknown member", "{\"later\":{\"x\":1},\"allow_out\":[]}", false, NULL, NULL, DW_REASON_NOT_IN_ALLOW_OUT },
	{ "an unknown member without a list", "{\"alow_out\":[\"a.test\"]}", false, "unsupported_option", "network.alow_out", 0 },
	{ "an unknown member beside deny_out", "{\"later\":1,\"deny_out\":[\"1.1.1.1\"]}", false, "unsupported_option", "network.later", 0 },
	{ "allow_ech of letters", "{\"allow_ech\":\"yes\"}", false, "invalid_field", "network: allow_ech", 0 },
};
/* clang-format on */

static void decide(int fd, enum dw_reason want)
{
	struct stat st;
	struct dw_err err = { 0 };
	DW_AUTO(dw_policy_close) struct dw_policy *p = NULL;
	assert_int_equal(fstat(fd, &st), 0);
	void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(image, MAP_FAILED);
	assert_int_equal(dw_policy_open(image, (size_t)st.st_size, &p, &err), 0);
	const uint8_t four[4] = { 93, 184, 216, 34 };
	const struct dw_addr dst = dw_addr_from4(four);
	const struct dw_floor floor = { 0 };
	assert_int_equal(dw_decide_flow(p, &floor, DW_PROTO_TCP, &dst, 443, NULL).reason, want);
	/* The image is not unmapped: the policy's cleanup runs after this. */
}

static void check(void **state)
{
	const struct row *r = *state;
	auto_json json_t *j = r->json ? json_loads(r->json, JSON_ALLOW_NUL, NULL) : NULL;
	assert_int_equal(r->json != NULL, j != NULL);
	auto_network_spec struct network_spec spec = { .policy_fd = -1 };
	struct dw_err err = { 0 };
	int result = network_spec_compile(j, !r->default_deny, &spec, &err);
	assert_int_equal(result, r->code ? -1 : 0);
	if (r->code) {
		assert_int_equal(spec.policy_fd, -1);
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_string_equal(err.code, r->code);
		assert_non_null(strstr(err.message, r->word));
		return;
	}
	assert_int_equal(fcntl(spec.policy_fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	decide(spec.policy_fd, r->reason);
}

static void switches_reach_the_image(void **state)
{
	auto_json json_t *j = json_pack("{ss ss sb s{si sI}}", "blocked", "reject", "mode", "observe", "allow_ech", 1,
					"limits", "flows", 7, "bytes", (json_int_t)1 << 40);
	auto_network_spec struct network_spec spec = { .policy_fd = -1 };
	struct dw_err err = { 0 };
	struct stat st;
	assert_int_equal(network_spec_compile(j, true, &spec, &err), 0);
	assert_true(spec.observe);
	assert_int_equal(spec.limits.flows, 7);
	assert_int_equal(spec.limits.half_open, 0);
	assert_int_equal(spec.limits.bytes, 1ull << 40);
	assert_int_equal(fstat(spec.policy_fd, &st), 0);
	void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, spec.policy_fd, 0);
	assert_ptr_not_equal(image, MAP_FAILED);
	struct dw_policy *p = NULL;
	assert_int_equal(dw_policy_open(image, (size_t)st.st_size, &p, &err), 0);
	assert_true(dw_policy_rejects(p));
	assert_true(dw_policy_observes(p));
	assert_true(dw_policy_allows_ech(p));
	dw_policy_close(p);
	munmap(image, (size_t)st.st_size);
}

static void limits_as_objects(void **state)
{
	const struct dw_limits own = { .flows = 3, .dns_per_second = 4 };
	const struct dw_limits base = { .flows = 9, .names_per_minute = 6, .bytes = 5000000000ull };
	const struct dw_limits l = limits_spec_over(&own, &base);
	const struct dw_limits none = { 0 };
	auto_json json_t *got = limits_spec_json(&l);
	char text[128] = "";
	assert_true(json_dumpb(got, text, sizeof(text) - 1, JSON_COMPACT) > 0);
	assert_string_equal(text, "{\"flows\":3,\"dns_per_second\":4,\"names_per_minute\":6,\"bytes\":5000000000}");
	assert_null(limits_spec_json(&none));
}

struct edit_row {
	const char *name, *now, *change, *want, *not_found;
	const char *word; /* of the refusal; NULL: accepted */
};

/* clang-format off */
static const struct edit_row edits[] = {
	{ "nothing", "{\"allow_out\":[\"a.test\"]}", "{}", "{\"allow_out\":[\"a.test\"]}" },
	{ "add", "{\"allow_out\":[\"a.test\"]}", "{\"add\":{\"allow_out\":[\"b.test\",\"a.test\"]}}", "{\"allow_out\":[\"a.test\",\"b.test\"]}" },
	{ "add to nothing", NULL, "{\"add\":{\"allow_out\":[\"b.test\"]}}", "{\"allow_out\":[\"b.test\"]}" },
	{ "remove", "{\"allow_out\":[\"a.test\",\"b.test\"]}", "{\"remove\":{\"allow_out\":[\"a.test\"]}}", "{\"allow_out\":[\"b.test\"]}" },
	{ "remove the last", "{\"allow_out\":[\"a.test\"]}", "{\"remove\":{\"allow_out\":[\"a.test\"]}}", "{\"allow_out\":[]}" },
	{ "remove what is not there", "{\"deny_out\":[\"1.1.1.1\"]}", "{\"remove\":{\"deny_out\":[\"1.1.1.2\"],\"allow_out\":[\"x\"]}}",
	  "{\"deny_out\":[\"1.1.1.1\"]}", "[\"x\",\"1.1.1.2\"]" },
	{ "remove and add", "{\"allow_out\":[\"a.test\"]}", "{\"add\":{\"allow_out\":[\"a.test\"]},\"remove\":{\"allow_out\":[\"a.test\"]}}", "{\"allow_out\":[\"a.test\"]}" },
	{ "another spelling is another entry", "{\"allow_out\":[\"A.test\"]}", "{\"remove\":{\"allow_out\":[\"a.test\"]}}", "{\"allow_out\":[\"A.test\"]}", "[\"a.test\"]" },
	{ "words", "{\"mode\":\"observe\"}", "{\"mode\":null,\"blocked\":\"reject\"}", "{\"blocked\":\"reject\"}" },
	{ "limits are merged", "{\"limits\":{\"flows\":1,\"bytes\":2}}", "{\"limits\":{\"flows\":null,\"half_open\":3}}", "{\"limits\":{\"bytes\":2,\"half_open\":3}}" },
	{ "a member that is no limit, taken back", "{\"limits\":{\"flows\":1}}", "{\"limits\":{\"flow\":null}}", NULL, NULL, "no limit" },
	{ "limits go", "{\"limits\":{\"flows\":1}}", "{\"limits\":null}", "{}" },
	{ "limits come", "{}", "{\"limits\":{\"flows\":1}}", "{\"limits\":{\"flows\":1}}" },
	{ "allow_out null stays closed", "{\"allow_out\":null}", "{\"mode\":\"observe\"}", "{\"allow_out\":[],\"mode\":\"observe\"}" },
	{ "other members stay", "{\"x\":1}", "{\"add\":null,\"remove\":{\"deny_out\":null}}", "{\"x\":1}" },
	{ "an unknown member", "{}", "{\"allow_out\":[]}", NULL, NULL, "\"allow_out\" can not be changed" },
	{ "an unknown list", "{}", "{\"add\":{\"allow\":[]}}", NULL, NULL, "add: \"allow\"" },
	{ "add of no object", "{}", "{\"add\":[]}", NULL, NULL, "add must be an object" },
	{ "a list that is none", "{}", "{\"remove\":{\"deny_out\":\"x\"}}", NULL, NULL, "remove: deny_out must be an array" },
	{ "an entry that is none", "{}", "{\"add\":{\"deny_out\":[\"x\",1]}}", NULL, NULL, "add.deny_out[1]" },
	{ "an entry with NUL", "{}", "{\"remove\":{\"deny_out\":[\"x\\u0000\"]}}", NULL, NULL, "remove.deny_out[0]" },
};
/* clang-format on */

static json_t *load(const char *text)
{
	json_t *j = json_loads(text, JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	return j;
}

static void edit(void **state)
{
	const struct edit_row *r = *state;
	auto_json json_t *now = r->now ? load(r->now) : NULL;
	auto_json json_t *before = json_deep_copy(now);
	auto_json json_t *change = load(r->change);
	auto_json json_t *got = NULL;
	auto_json json_t *not_found = NULL;
	struct dw_err err = { 0 };
	int result = network_spec_edit(now, change, &got, &not_found, &err);
	assert_true(now ? json_equal(now, before) : before == NULL);
	assert_int_equal(result, r->word ? -1 : 0);
	if (r->word) {
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_non_null(strstr(err.message, r->word));
		return;
	}
	auto_json json_t *want = load(r->want);
	assert_true(json_equal(got, want));
	auto_json json_t *missing = r->not_found ? load(r->not_found) : NULL;
	assert_true(missing ? json_equal(not_found, missing) : not_found == NULL);
}

static void generations(void **state)
{
	auto_json json_t *none = load("{}");
	auto_json json_t *seven = load("{\"generation\":7}");
	auto_json json_t *zero = load("{\"generation\":0}");
	auto_json json_t *text = load("{\"generation\":\"7\"}");
	struct dw_err err = { 0 };
	uint64_t g = 1;
	assert_int_equal(network_spec_generation(none, &g, &err), 0);
	assert_int_equal(g, 0);
	assert_int_equal(network_spec_generation(seven, &g, &err), 0);
	assert_int_equal(g, 7);
	assert_int_equal(network_spec_generation(zero, &g, &err), -1);
	assert_int_equal(network_spec_generation(text, &g, &err), -1);
	assert_non_null(strstr(err.message, "generation"));
}

static int run_rows(void)
{
	ROW_TESTS(rows, check);
	return cmocka_run_group_tests_name("network spec", tests, NULL, NULL);
}

static int run_edits(void)
{
	ROW_TESTS(edits, edit);
	return cmocka_run_group_tests_name("network edit", tests, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest more[] = { cmocka_unit_test(switches_reach_the_image),
					   cmocka_unit_test(limits_as_objects), cmocka_unit_test(generations) };
	return run_rows() + run_edits() + cmocka_run_group_tests_name("network spec, more", more, NULL, NULL);
}
