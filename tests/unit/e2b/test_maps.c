/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's requests as ours: networks, creates, filters of lists, signatures. */
#include "../daemon/support.h"

#include "daemon/network_spec.h"
#include "e2b/create_map.h"
#include "e2b/metadata_query.h"
#include "e2b/network_map.h"
#include "e2b/signature.h"

static json_t *parse(const char *text)
{
	json_t *j = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
	assert_true(!text || j);
	return j;
}

static void assert_json(const json_t *got, const char *want)
{
	char *text = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, want);
	free(text);
}

struct network_row {
	const char *name, *network, *access;
	const char *ours;  /* NULL: refused */
	const char *shown; /* their view of ours; or a word of the message */
};

#define ALL "\"0.0.0.0/0\""

/* clang-format off */
static const struct network_row networks[] = {
	{ "nothing", NULL, NULL, "{\"allow_out\":[\"*\"]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[]}" },
	{ "null", "null", "null", "{\"allow_out\":[\"*\"]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[]}" },
	{ "empty lists restrict nothing", "{\"allowOut\":[],\"denyOut\":[]}", "true", "{\"allow_out\":[\"*\"]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[]}" },
	{ "no internet", NULL, "false", "{\"allow_out\":[]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}" },
	{ "no internet, but what is allowed", "{\"allowOut\":[\"a.test\",\"1.1.1.1\"]}", "false", "{\"allow_out\":[\"a.test\",\"1.1.1.1\"]}", "{\"allowOut\":[\"a.test\",\"1.1.1.1\"],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}" },
	{ "it replaces denyOut", "{\"allowOut\":[\"a.test\"],\"denyOut\":[\"8.8.8.8\"]}", "false", "{\"allow_out\":[\"a.test\"]}", "{\"allowOut\":[\"a.test\"],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}" },
	{ "an allow list", "{\"allowOut\":[\"*.a.test\",\"10.1.0.0/16\",\"2001:db8::/32\"],\"denyOut\":[" ALL "]}", NULL, "{\"allow_out\":[\"*.a.test\",\"10.1.0.0/16\",\"2001:db8::/32\"]}", "{\"allowOut\":[\"*.a.test\",\"10.1.0.0/16\",\"2001:db8::/32\"],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}" },
	{ "a deny list", "{\"denyOut\":[\"8.8.8.8\",\"1.0.0.0/8\"]}", NULL, "{\"allow_out\":[\"*\"],\"deny_out\":[\"8.8.8.8\",\"1.0.0.0/8\"]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[\"8.8.8.8\",\"1.0.0.0/8\"]}" },
	{ "an exception of a deny list", "{\"allowOut\":[\"1.1.1.1\"],\"denyOut\":[\"1.0.0.0/8\"]}", NULL, "{\"allow_out\":[\"1.1.1.1\",\"*\"],\"deny_out\":[\"1.0.0.0/8\"]}", "{\"allowOut\":[\"1.1.1.1\"],\"allowPublicTraffic\":true,\"denyOut\":[\"1.0.0.0/8\"]}" },
	{ "everything denied beside more", "{\"denyOut\":[\"8.8.8.8\"," ALL "]}", NULL, "{\"allow_out\":[],\"deny_out\":[" ALL ",\"8.8.8.8\"]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[" ALL ",\"8.8.8.8\"]}" },
	{ "everything allowed beats all that is denied", "{\"allowOut\":[" ALL "],\"denyOut\":[\"8.8.8.8\"]}", NULL, "{\"allow_out\":[" ALL ",\"*\"]}", "{\"allowOut\":[" ALL "],\"allowPublicTraffic\":true,\"denyOut\":[]}" },
	{ "both everything", "{\"allowOut\":[\"*\"],\"denyOut\":[" ALL "]}", NULL, "{\"allow_out\":[\"*\",\"*\"],\"deny_out\":[" ALL "]}", "{\"allowOut\":[\"*\"],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}" },
	{ "ways in", "{\"allowPublicTraffic\":false,\"maskRequestHost\":\"localhost:${PORT}\"}", NULL, "{\"allow_out\":[\"*\"],\"allow_public_traffic\":false,\"mask_request_host\":\"localhost:${PORT}\"}", "{\"allowOut\":[],\"allowPublicTraffic\":false,\"denyOut\":[],\"maskRequestHost\":\"localhost:${PORT}\"}" },
	{ "what asks for nothing", "{\"rules\":{},\"egressProxy\":null,\"httpsPorts\":[],\"maskRequestHost\":\"\",\"later\":null}", NULL, "{\"allow_out\":[\"*\"]}", "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[]}" },

	{ "names without everything denied", "{\"allowOut\":[\"a.test\"]}", NULL, NULL, "0.0.0.0/0" },
	{ "a pattern without everything denied", "{\"allowOut\":[\"*.a.test\"],\"denyOut\":[\"8.8.8.8\"]}", NULL, NULL, "0.0.0.0/0" },
	{ "a name denied", "{\"denyOut\":[\"a.test\"]}", NULL, NULL, "denyOut[0]" },
	{ "a pattern denied", "{\"denyOut\":[\"8.8.8.8\",\"*.a.test\"]}", NULL, NULL, "denyOut[1]" },
	{ "a star denied", "{\"denyOut\":[\"*\"]}", NULL, NULL, "denyOut[0]" },
	{ "a name denied without internet", "{\"denyOut\":[\"a.test\"]}", "false", NULL, "denyOut[0]" },
	{ "0.0.0.0", "{\"denyOut\":[\"0.0.0.0\"]}", NULL, NULL, "denyOut[0]" },
	{ "::", "{\"allowOut\":[\"::\"]}", NULL, NULL, "allowOut[0]" },
	{ "::/0", "{\"denyOut\":[\"::/0\"]}", NULL, NULL, "both families" },
	{ "a port", "{\"allowOut\":[\"1.1.1.1:53\"]}", NULL, NULL, "port" },
	{ "everything on a port", "{\"denyOut\":[\"*:443\"]}", NULL, NULL, "denyOut[0]" },
	{ "a pattern of ours", "{\"allowOut\":[\"~a\"],\"denyOut\":[" ALL "]}", NULL, NULL, "allowOut[0]" },
	{ "a URL", "{\"allowOut\":[\"https://a.test/\"],\"denyOut\":[" ALL "]}", NULL, NULL, "allowOut[0]" },
	{ "a number", "{\"allowOut\":[1]}", NULL, NULL, "allowOut[0]" },
	{ "a NUL character", "{\"allowOut\":[\"1.1.1.1\\u0000\"]}", NULL, NULL, "allowOut[0]" },
	{ "no list", "{\"allowOut\":\"1.1.1.1\"}", NULL, NULL, "allowOut" },
	{ "no network", "[]", NULL, NULL, "network must be" },
	{ "access that is no boolean", NULL, "\"no\"", NULL, "allow_internet_access" },
	{ "rules", "{\"rules\":{\"a.test\":[]}}", NULL, NULL, "network.rules" },
	{ "a proxy", "{\"egressProxy\":{\"address\":\"a:1\"}}", NULL, NULL, "network.egressProxy" },
	{ "TLS ports", "{\"httpsPorts\":[443]}", NULL, NULL, "network.httpsPorts" },
	{ "what nobody knows", "{\"denyout\":[\"0.0.0.0/0\"]}", NULL, NULL, "network.denyout" },
	{ "traffic that is no boolean", "{\"allowPublicTraffic\":1}", NULL, NULL, "allowPublicTraffic" },
};
/* clang-format on */

static void check_network(void **state)
{
	const struct network_row *r = *state;
	auto_json json_t *network = parse(r->network), *access = parse(r->access), *ours = NULL, *shown = NULL;
	auto_network_spec struct network_spec spec = { .policy_fd = -1 };
	struct dw_err err = { 0 };
	bool internet;
	const int result = network_map_create(network, access, true, &ours, &err);
	assert_int_equal(result, r->ours ? 0 : -1);
	if (!r->ours) {
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_non_null(strstr(err.message, r->shown));
		return;
	}
	assert_json(ours, r->ours);
	if (!json_object_get(ours, "mask_request_host"))
		assert_int_equal(network_spec_compile(ours, false, &spec, &err), 0);
	shown = network_map_show(ours, false, &internet);
	assert_json(shown, r->shown);
	assert_int_equal(internet, strstr(r->ours, "\"*\"") != NULL);
}

/* On a server that closes by default only the word for everything opens it. */
static void check_closed_server(void **state)
{
	static const struct {
		const char *network, *access, *ours;
	} rows[] = {
		{ NULL, NULL, "{\"allow_out\":[]}" },
		{ NULL, "true", "{\"allow_out\":[]}" },
		{ "{\"allowOut\":[],\"denyOut\":[]}", "true", "{\"allow_out\":[]}" },
		{ "{\"denyOut\":[\"8.8.8.8\"]}", NULL, "{\"allow_out\":[],\"deny_out\":[\"8.8.8.8\"]}" },
		{ "{\"allowOut\":[\"1.1.1.1\"]}", "true", "{\"allow_out\":[\"1.1.1.1\"]}" },
		{ "{\"allowOut\":[\"0.0.0.0/0\"]}", NULL, "{\"allow_out\":[\"0.0.0.0/0\",\"*\"]}" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		auto_json json_t *network = parse(rows[i].network), *access = parse(rows[i].access), *ours = NULL;
		auto_json json_t *updated = NULL;
		struct dw_err err = { 0 };
		assert_int_equal(network_map_create(network, access, false, &ours, &err), 0);
		assert_json(ours, rows[i].ours);
		if (!network || access)
			continue;
		assert_int_equal(network_map_update(network, NULL, false, &updated, &err), 0);
		assert_json(updated, rows[i].ours);
	}
}

struct update_row {
	const char *name, *body, *now, *ours, *error;
};

/* clang-format off */
static const struct update_row updates[] = {
	{ "nothing opens everything", "{}", "{\"allow_out\":[]}", "{\"allow_out\":[\"*\"]}" },
	{ "ways in and limits stay", "{\"allow_internet_access\":false}", "{\"allow_out\":[\"*\"],\"deny_out\":[\"1.1.1.1\"],\"allow_public_traffic\":false,\"mask_request_host\":\"a\",\"limits\":{\"flows\":1},\"blocked\":\"reject\",\"mode\":\"observe\",\"allow_ech\":true}",
	  "{\"allow_out\":[],\"allow_public_traffic\":false,\"blocked\":\"reject\",\"limits\":{\"flows\":1},\"mask_request_host\":\"a\"}" },
	{ "no network before", "{\"denyOut\":[\"1.1.1.1\"]}", NULL, "{\"allow_out\":[\"*\"],\"deny_out\":[\"1.1.1.1\"]}" },
	{ "ways in can not be changed", "{\"allowPublicTraffic\":true}", NULL, NULL, "allowPublicTraffic" },
	{ "a name denied", "{\"denyOut\":[\"a.test\"]}", NULL, NULL, "denyOut[0]" },
	{ "a proxy", "{\"egressProxy\":{\"address\":\"a:1\"}}", NULL, NULL, "egressProxy" },
};
/* clang-format on */

static void check_update(void **state)
{
	const struct update_row *r = *state;
	auto_json json_t *body = parse(r->body), *now = parse(r->now), *ours = NULL;
	struct dw_err err = { 0 };
	assert_int_equal(network_map_update(body, now, true, &ours, &err), r->ours ? 0 : -1);
	if (r->ours)
		assert_json(ours, r->ours);
	else
		assert_non_null(strstr(err.message, r->error));
}

struct show_row {
	const char *name, *ours;
	bool default_allow;
	const char *shown;
	bool internet;
};

/* clang-format off */
static const struct show_row shows[] = {
	{ "none, open by default", NULL, true, "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[]}", true },
	{ "none, closed by default", NULL, false, "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}", false },
	{ "a deny list", "{\"deny_out\":[\"a.test\"]}", true, "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[\"a.test\"]}", true },
	{ "a null allow list", "{\"allow_out\":null}", true, "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}", false },
	{ "everything denied", "{\"deny_out\":[\"*\"]}", true, "{\"allowOut\":[],\"allowPublicTraffic\":true,\"denyOut\":[\"*\"]}", false },
	{ "entries of ours", "{\"allow_out\":[\"~a\",\"a.test:443\"]}", true, "{\"allowOut\":[\"~a\",\"a.test:443\"],\"allowPublicTraffic\":true,\"denyOut\":[" ALL "]}", false },
};
/* clang-format on */

static void check_show(void **state)
{
	const struct show_row *r = *state;
	bool internet;
	auto_json json_t *ours = parse(r->ours);
	auto_json json_t *shown = network_map_show(ours, r->default_allow, &internet);
	assert_json(shown, r->shown);
	assert_int_equal(internet, r->internet);
}

struct create_row {
	const char *name, *body, *ours, *error;
};

#define REST "\"network\":{\"allow_out\":[\"*\"]},\"template\":\"base\""

/* clang-format off */
static const struct create_row creates[] = {
	{ "the least", "{\"templateID\":\"base\"}", "{\"lifecycle\":{\"auto_resume\":false,\"on_timeout\":\"kill\"}," REST ",\"timeout\":15}" },
	{ "all of it", "{\"templateID\":\"base\",\"timeout\":60,\"metadata\":{\"a\":\"b\"},\"envVars\":{\"X\":\"1\"},\"autoPause\":true,\"autoResume\":{\"enabled\":true},\"autoPauseMemory\":true,\"secure\":true,\"allow_internet_access\":true}",
	  "{\"envs\":{\"X\":\"1\"},\"lifecycle\":{\"auto_resume\":true,\"on_timeout\":\"pause\"},\"metadata\":{\"a\":\"b\"}," REST ",\"timeout\":60}" },
	{ "what asks for nothing", "{\"templateID\":\"base\",\"volumeMounts\":[],\"mcp\":{},\"iam\":null,\"later\":null}", "{\"lifecycle\":{\"auto_resume\":false,\"on_timeout\":\"kill\"}," REST ",\"timeout\":15}" },
	{ "no template", "{}", NULL, "templateID" },
	{ "a template of a wrong type", "{\"templateID\":1}", NULL, "templateID" },
	{ "volumes", "{\"templateID\":\"base\",\"volumeMounts\":[{\"name\":\"a\",\"path\":\"/a\"}]}", NULL, "volumeMounts" },
	{ "MCP", "{\"templateID\":\"base\",\"mcp\":{\"a\":{}}}", NULL, "mcp" },
	{ "identities", "{\"templateID\":\"base\",\"iam\":{\"tokens\":{}}}", NULL, "iam" },
	{ "what nobody knows", "{\"templateID\":\"base\",\"envs\":{\"A\":\"b\"}}", NULL, "envs" },
	{ "a pause without memory", "{\"templateID\":\"base\",\"autoPauseMemory\":false}", NULL, "autoPauseMemory" },
	{ "an old way to resume", "{\"templateID\":\"base\",\"autoResume\":{\"policy\":\"any\"}}", NULL, "autoResume.policy" },
	{ "a network that is refused", "{\"templateID\":\"base\",\"network\":{\"rules\":{\"a\":[]}}}", NULL, "network.rules" },
	{ "a time that is none", "{\"templateID\":\"base\",\"timeout\":\"1\"}", NULL, "timeout" },
};
/* clang-format on */

static void check_create(void **state)
{
	const struct create_row *r = *state;
	auto_json json_t *body = parse(r->body), *ours = NULL;
	struct dw_err err = { 0 };
	assert_int_equal(create_map(body, 15, true, &ours, &err), r->ours ? 0 : -1);
	if (r->ours) {
		assert_json(ours, r->ours);
	} else {
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_non_null(strstr(err.message, r->error));
	}
}

struct query_row {
	const char *name, *text, *pairs;
};

/* clang-format off */
static const struct query_row queries[] = {
	{ "nothing", "", "{}" },
	{ "a pair", "a=b", "{\"a\":\"b\"}" },
	{ "decoded twice", "a%2520b=%2526%253D%25+", "NULL" },
	{ "a form of percent encodings", "a%2520b=%2526%253D%252B&c=", "{\"a b\":\"&=+\",\"c\":\"\"}" },
	{ "a plus of the form is a space", "a=b+c", "{\"a\":\"b c\"}" },
	{ "a percent sign that is none", "a=%252", "NULL" },
	{ "half an encoding", "a=%2", "NULL" },
	{ "a NUL byte", "a=%00", "NULL" },
	{ "a NUL byte, twice encoded", "a=%2500", "NULL" },
	{ "no UTF-8", "a=%25ff", "NULL" },
	{ "no value", "a", "NULL" },
	{ "no key", "=a", "NULL" },
	{ "a key twice", "a=b&a=c", "NULL" },
	{ "an empty pair", "a=b&&c=d", "NULL" },
};
/* clang-format on */

static void check_query(void **state)
{
	const struct query_row *r = *state;
	auto_json json_t *pairs = json_object();
	struct dw_err err = { 0 };
	const int result = metadata_query_parse(r->text, pairs, &err);
	assert_int_equal(result, strcmp(r->pairs, "NULL") == 0 ? -1 : 0);
	if (result == 0)
		assert_json(pairs, r->pairs);
	else
		assert_int_equal(err.kind, DW_ERR_INVALID);
}

/* The digests are those of `printf '%s' ... | openssl dgst -sha256 -binary | base64`. */
static void check_signature(void **state)
{
	struct signature_text t = { .path = "/home/user/a b", .operation = "read", .user = "user" };
	char made[SIGNATURE_SIZE];
	signature_make(&t, "tok", made);
	assert_string_equal(made, "v1_4Z7UK5oDei41fiUa8ePmib+F12mBkTOElmtWirSBxGQ");
	assert_int_equal(signature_check(&t, "tok", made, 5), SIGNATURE_RIGHT);
	assert_int_equal(signature_check(&t, "tok2", made, 5), SIGNATURE_WRONG);
	assert_int_equal(signature_check(&t, "tok", NULL, 5), SIGNATURE_WRONG);
	assert_int_equal(signature_check(&t, "tok", "", 5), SIGNATURE_WRONG);
	assert_int_equal(signature_check(&t, "tok", made + 1, 5), SIGNATURE_WRONG);
	t.operation = "write";
	assert_int_equal(signature_check(&t, "tok", made, 5), SIGNATURE_WRONG);
	t = (struct signature_text){ .path = "/home/user/a b", .operation = "read", .user = "", .expires = "1000" };
	signature_make(&t, "tok", made);
	assert_string_equal(made, "v1_Vw8qOSqxJcD0qjMGoXKjXgEFCrwySY0EHWmMctvphlk");
	assert_int_equal(signature_check(&t, "tok", made, 1000), SIGNATURE_RIGHT);
	assert_int_equal(signature_check(&t, "tok", made, 1001), SIGNATURE_EXPIRED);
	/* Who leaves the end out, or puts it off, has signed nothing of the kind. */
	t.expires = NULL;
	assert_int_equal(signature_check(&t, "tok", made, 1001), SIGNATURE_WRONG);
	t.expires = "2000";
	assert_int_equal(signature_check(&t, "tok", made, 1001), SIGNATURE_WRONG);
	static const char *const no_time[] = { "", "-1", "1e9", " 1", "99999999999999999999" };
	for (size_t i = 0; i < sizeof(no_time) / sizeof(*no_time); i++) {
		t.expires = no_time[i];
		signature_make(&t, "tok", made);
		assert_int_equal(signature_check(&t, "tok", made, 0), SIGNATURE_WRONG);
	}
}

static int run(const char *name, const struct CMUnitTest *tests, size_t n)
{
	return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}

#define RUN(rows, fn)                                              \
	({                                                         \
		ROW_TESTS(rows, fn);                               \
		run(#rows, tests, sizeof(tests) / sizeof(*tests)); \
	})

int main(void)
{
	const struct CMUnitTest one[] = { cmocka_unit_test(check_signature), cmocka_unit_test(check_closed_server) };
	int bad = run("signature", one, DW_COUNT(one));
	bad |= RUN(networks, check_network);
	bad |= RUN(updates, check_update);
	bad |= RUN(shows, check_show);
	bad |= RUN(creates, check_create);
	bad |= RUN(queries, check_query);
	return bad;
}
