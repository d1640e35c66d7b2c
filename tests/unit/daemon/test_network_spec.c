/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

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
	{ "mask_request_host", "{\"mask_request_host\":\"x\"}", false, "unsupported_option", "network.mask_request_host", 0 },
	{ "mask_request_host off", "{\"mask_request_host\":false}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "allow_public_traffic false", "{\"allow_public_traffic\":false}", false, NULL, NULL, DW_REASON_ALLOW_DEFAULT },
	{ "allow_public_traffic of letters", "{\"allow_public_traffic\":\"no\"}", false, "invalid_field", "network: allow_public_traffic", 0 },
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
	dw_autoclose int fd = -1;
	struct dw_err err = { 0 };
	int result = network_spec_compile(j, !r->default_deny, &fd, &err);
	assert_int_equal(result, r->code ? -1 : 0);
	if (r->code) {
		assert_int_equal(fd, -1);
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_string_equal(err.code, r->code);
		assert_non_null(strstr(err.message, r->word));
		return;
	}
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	decide(fd, r->reason);
}

int main(void)
{
	ROW_TESTS(rows, check);
	return cmocka_run_group_tests_name("network spec", tests, NULL, NULL);
}
