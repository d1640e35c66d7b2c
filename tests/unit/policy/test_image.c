/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

#include "policy/hash.h"
#include "policy/image.h"

static void *compile(size_t *ret_len)
{
	const char *const allow[] = { "a.test", "*.b.test:80", "*.b.test:443",   "10.0.0.0/8",
				      "~x.*",   "*:443",       "[fd12::/16]:1-9" };
	const char *const deny[] = { "evil.test", "1.2.3.0/24", "2606::/16" };
	struct dw_policy_spec spec = { allow, DW_COUNT(allow), true, deny, DW_COUNT(deny), true };
	void *image;
	assert_int_equal(dw_policy_compile(&spec, &image, ret_len, NULL), 0);
	return image;
}

static void ask_everything(const struct dw_policy *p)
{
	static const char *const names[] = { "a.test", "x.b.test", "xyz", "evil.test", "no.test" };
	static const char *const addrs[] = { "10.1.2.3", "1.2.3.4", "8.8.8.8", "fd12::1", "2606::1" };
	char text[64];
	for (size_t i = 0; i < DW_COUNT(names); i++) {
		struct dw_decision d = dw_decide_name(p, names[i], 443);
		dw_policy_rule_text(p, d.rule, text, sizeof(text));
		d = dw_decide_query(p, names[i]);
		dw_policy_rule_text(p, d.rule, text, sizeof(text));
	}
	for (size_t i = 0; i < DW_COUNT(addrs); i++) {
		struct dw_addr a = addr(addrs[i]);
		struct dw_decision d = dw_decide_flow(p, NULL, DW_PROTO_TCP, &a, 443, NULL);
		dw_policy_rule_text(p, d.rule, text, sizeof(text));
		DW_IGNORE(dw_decide_answer(p, NULL, &a)); /* only memory safety is asked for here */
	}
}

struct row {
	const char *name;
	size_t off; /* in the header; SIZE_MAX: none */
	uint32_t value;
	const char *message;
};

#define H(field) offsetof(struct dw_img_header, field)

static const struct row rows[] = {
	{ "untouched", SIZE_MAX, 0, NULL },
	{ "magic", H(magic), 0, "not a policy image" },
	{ "version", H(version), 99, "a version this program does not know" },
	{ "size", H(size), 8, "its size is not what its header says" },
	{ "entries before the header's end", H(entries.off), 8, "a section lies outside it" },
	{ "entries after the end", H(entries.off), 0x7ffffff8, "a section lies outside it" },
	{ "entries unaligned", H(entries.off), sizeof(struct dw_img_header) + 4, "a section lies outside it" },
	{ "too many entries", H(entries.n), 0xffffffff, "a section lies outside it" },
	{ "too many ranges", H(ranges.n), 0x20000000, "a section lies outside it" },
	{ "too many regexes", H(regexes.n), 0x10000000, "a section lies outside it" },
	{ "too many keys", H(keys.n), 0xffffffff, "a section lies outside it" },
	{ "too much text", H(texts.n), 0xffffffff, "a section lies outside it" },
	{ "too many slots", H(list[0].slots.n), 0x10000000, "a section lies outside it" },
	{ "slots not a power of two", H(list[1].slots.n), 3, "a section lies outside it" },
	{ "more allow entries than entries", H(allow_n), 11, "a count over its limit" },
};

static void header(void **state)
{
	const struct row *r = *state;
	size_t len;
	dw_autofree uint8_t *image = compile(&len);
	if (r->off != SIZE_MAX)
		memcpy(image + r->off, &r->value, sizeof(r->value));
	DW_AUTO(dw_policy_close) struct dw_policy *p = NULL;
	struct dw_err err = { 0 };
	int ret = dw_policy_open(image, len, &p, &err);
	assert_int_equal(ret, r->message ? -1 : 0);
	if (!r->message) {
		ask_everything(p);
		return;
	}
	char want[128];
	snprintf(want, sizeof(want), "the policy image cannot be used: %s", r->message);
	assert_string_equal(err.message, want);
	assert_string_equal(err.code, "invalid_policy_image");
	assert_null(p);
}

/* Every length shorter than the image. */
static void truncated(void **state)
{
	size_t len;
	dw_autofree uint8_t *image = compile(&len);
	for (size_t n = 0; n < len; n++) {
		dw_autofree uint8_t *copy = malloc(n ? n : 1);
		memcpy(copy, image, n);
		struct dw_policy *p = NULL;
		assert_int_equal(dw_policy_open(copy, n, &p, NULL), -1);
		assert_null(p);
	}
}

/* Every byte of the image set to other values: whatever opens must answer without leaving it (ASan watches). */
static void every_byte(void **state)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	size_t len;
	dw_autofree uint8_t *image = compile(&len);
	for (size_t i = 0; i < len; i++) {
		uint8_t was = image[i];
		for (size_t v = 0; v < DW_COUNT(values); v++) {
			image[i] = values[v];
			DW_AUTO(dw_policy_close) struct dw_policy *p = NULL;
			if (dw_policy_open(image, len, &p, NULL) == 0)
				ask_everything(p);
		}
		image[i] = was;
	}
}

/* A pattern that the compiler would not have let through must not come in by an image. */
static void forbidden_pattern(void **state)
{
	const char *const allow[] = { "~xyzxyzxyz" };
	struct dw_policy_spec spec = { allow, 1, true, NULL, 0, true };
	dw_autofree void *image = NULL;
	size_t len;
	assert_int_equal(dw_policy_compile(&spec, &image, &len, NULL), 0);
	uint8_t *key = memmem(image, len, "xyzxyzxyz", 9);
	memcpy(key, "(?C1)xyzx", 9);
	struct dw_policy *p = NULL;
	struct dw_err err;
	assert_int_equal(dw_policy_open(image, len, &p, &err), -1);
	assert_non_null(strstr(err.message, "callout"));
}

static void unaligned(void **state)
{
	size_t len;
	dw_autofree uint8_t *image = compile(&len);
	dw_autofree uint8_t *copy = malloc(len + 1);
	memcpy(copy + 1, image, len);
	struct dw_policy *p = NULL;
	assert_int_equal(dw_policy_open(copy + 1, len, &p, NULL), -1);
}

/*
 * Keys that all want one slot under the first seed: the builder takes another seed, and every key is still found. The
 * seed and the hash are the builder's, so this also shows that look-ups are bounded by DW_IMAGE_PROBES.
 */
static void collisions(void **state)
{
	enum { KEYS = 200 };
	static char names[KEYS][24];
	static const char *entries[KEYS];
	uint32_t size = 512; /* the table that 200 keys get */
	uint64_t seed = dw_hash_mix(UINT64_C(0x6465636c6177) + size);
	unsigned found = 0;
	for (unsigned i = 0; found < KEYS; i++) {
		snprintf(names[found], sizeof(names[found]), "n%u.test", i);
		uint64_t h = dw_image_key_hash(DW_KEY_HOST, dw_hash_bytes(seed, names[found], strlen(names[found])));
		if ((h & (size - 1)) != 7)
			continue;
		entries[found] = names[found];
		found++;
	}
	struct dw_policy_spec spec = { entries, KEYS, true, NULL, 0, true };
	dw_autofree void *image = NULL;
	size_t len;
	assert_int_equal(dw_policy_compile(&spec, &image, &len, NULL), 0);
	DW_AUTO(dw_policy_close) struct dw_policy *p = NULL;
	assert_int_equal(dw_policy_open(image, len, &p, NULL), 0);
	assert_true(p->img.h.list[DW_LIST_ALLOW].seed != seed);
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(dw_decide_name(p, names[i], 80).rule, i);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, header);
	add_row(&r, "truncated", truncated, NULL);
	add_row(&r, "every byte", every_byte, NULL);
	add_row(&r, "a forbidden pattern", forbidden_pattern, NULL);
	add_row(&r, "unaligned", unaligned, NULL);
	add_row(&r, "keys made to collide", collisions, NULL);
	return run_rows("image", &r);
}
