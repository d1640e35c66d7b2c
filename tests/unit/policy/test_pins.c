/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

static void one_pair(void **state)
{
	DW_AUTO(dw_pins_free) struct dw_pins *t = dw_pins_new();
	struct dw_addr a = addr("1.1.1.1"), b = addr("1.1.1.2");
	struct dw_pin pin = { .name = "untouched" };
	assert_false(dw_pins_find(t, "a.test", &a, &pin));
	assert_string_equal(pin.name, "untouched");
	assert_true(dw_pins_add(t, "a.test", &a, 100));
	assert_true(dw_pins_find(t, "a.test", &a, &pin));
	assert_string_equal(pin.name, "a.test");
	assert_int_equal(pin.expires_ms, 100);
	assert_false(dw_pins_find(t, "a.test", &b, &pin));
	assert_false(dw_pins_find(t, "b.test", &a, &pin));
	assert_int_equal(dw_pins_count(t), 1);
}

static void refresh(void **state)
{
	DW_AUTO(dw_pins_free) struct dw_pins *t = dw_pins_new();
	struct dw_addr a = addr("1.1.1.1");
	struct dw_pin pin;
	assert_true(dw_pins_add(t, "a.test", &a, 100));
	assert_true(dw_pins_add(t, "a.test", &a, 50));
	assert_true(dw_pins_find(t, "a.test", &a, &pin));
	assert_int_equal(pin.expires_ms, 100);
	assert_true(dw_pins_add(t, "a.test", &a, 200));
	assert_true(dw_pins_find(t, "a.test", &a, &pin));
	assert_int_equal(pin.expires_ms, 200);
	assert_int_equal(dw_pins_count(t), 1);
}

static void walk(void **state)
{
	DW_AUTO(dw_pins_free)
	struct dw_pins *t = pins_of("a.test=1.1.1.1 b.test=1.1.1.1 a.test=1.1.1.2 c.test=1.1.1.1 d.test=::1");
	struct dw_addr a = addr("1.1.1.1"), none = addr("9.9.9.9");
	const char *const want[] = { "c.test", "b.test", "a.test" };
	struct dw_pin pin;
	uint32_t iter = 0;
	for (size_t i = 0; i < DW_COUNT(want); i++) {
		assert_true(dw_pins_next(t, &a, &iter, &pin));
		assert_string_equal(pin.name, want[i]);
	}
	assert_false(dw_pins_next(t, &a, &iter, &pin));
	assert_false(dw_pins_next(t, &a, &iter, &pin));
	iter = 0;
	assert_false(dw_pins_next(t, &none, &iter, &pin));
	assert_false(dw_pins_next(t, &none, &iter, &pin));
	assert_int_equal(dw_pins_count(t), 5);
}

/* Wherever in the chain it was. */
static void refreshed_first(void **state)
{
	static const char *const refreshed[] = { "b.test", "a.test", "a.test", "c.test", "a.test" };
	static const char *const want[] = { "bca", "abc", "abc", "cab", "acb" };
	DW_AUTO(dw_pins_free) struct dw_pins *t = pins_of("a.test=1.1.1.1 b.test=1.1.1.1 c.test=1.1.1.1");
	struct dw_addr a = addr("1.1.1.1");
	for (size_t i = 0; i < DW_COUNT(refreshed); i++) {
		struct dw_pin pin;
		uint32_t iter = 0;
		assert_true(dw_pins_add(t, refreshed[i], &a, i));
		for (size_t k = 0; k < 3; k++) {
			assert_true(dw_pins_next(t, &a, &iter, &pin));
			assert_int_equal(pin.name[0], want[i][k]);
		}
		assert_false(dw_pins_next(t, &a, &iter, &pin));
	}
}

static void same_bits_other_family(void **state)
{
	DW_AUTO(dw_pins_free) struct dw_pins *t = dw_pins_new();
	struct dw_addr four = addr("1.1.1.1"), six = { .family = DW_AF_6, .b = { 1, 1, 1, 1 } };
	struct dw_pin pin;
	assert_true(dw_pins_add(t, "a.test", &four, 1));
	assert_false(dw_pins_find(t, "a.test", &six, &pin));
}

static struct dw_addr nth(uint32_t i)
{
	const uint8_t b[4] = { 20, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };
	return dw_addr_from4(b);
}

/* Full in three shapes: many names of one address, many addresses of one name, all different. */
static void fill_up(void **state)
{
	const int shape = *(const int *)*state;
	DW_AUTO(dw_pins_free) struct dw_pins *t = dw_pins_new();
	struct dw_pin pin, first = { 0 };
	char name[32];
	for (uint32_t i = 0; i < DW_PINS_MAX; i++) {
		struct dw_addr a = nth(shape == 0 ? 0 : i);
		snprintf(name, sizeof(name), "n%u.test", shape == 1 ? 0 : i);
		assert_true(dw_pins_add(t, name, &a, i + 1));
		if (i == 0)
			assert_true(dw_pins_find(t, name, &a, &first));
	}
	assert_int_equal(dw_pins_count(t), DW_PINS_MAX);
	for (uint32_t i = 0; i < DW_PINS_MAX; i++) {
		struct dw_addr a = nth(shape == 0 ? 0 : i);
		snprintf(name, sizeof(name), "n%u.test", shape == 1 ? 0 : i);
		assert_true(dw_pins_find(t, name, &a, &pin));
		assert_int_equal(pin.expires_ms, i + 1);
		if (i == 0)
			assert_ptr_equal(pin.name, first.name); /* names never move */
	}
	struct dw_addr over = nth(DW_PINS_MAX), zero = nth(0);
	assert_false(dw_pins_add(t, "over.test", &over, 1));
	assert_false(dw_pins_find(t, "over.test", &over, &pin));
	assert_int_equal(dw_pins_count(t), DW_PINS_MAX);
	assert_true(dw_pins_add(t, "n0.test", &zero, 99999999)); /* a refresh needs no room */
	uint32_t iter = 0, walked = 0;
	while (dw_pins_next(t, &zero, &iter, &pin))
		walked++;
	assert_int_equal(walked, shape == 0 ? DW_PINS_MAX : 1);
}

static void long_names(void **state)
{
	DW_AUTO(dw_pins_free) struct dw_pins *t = dw_pins_new();
	struct dw_addr a = addr("1.1.1.1");
	struct dw_pin pin;
	char name[300];
	memset(name, 'a', sizeof(name));
	name[253] = '\0';
	for (char c = 'a'; c <= 'z'; c++) {
		name[0] = c;
		assert_true(dw_pins_add(t, name, &a, 1));
	}
	for (char c = 'a'; c <= 'z'; c++) {
		name[0] = c;
		assert_true(dw_pins_find(t, name, &a, &pin));
		assert_string_equal(pin.name, name);
	}
	name[253] = 'a';
	name[254] = '\0';
	assert_false(dw_pins_add(t, name, &a, 1));
}

static void free_nothing(void **state)
{
	dw_pins_free(NULL);
	DW_AUTO(dw_pins_free) struct dw_pins *t = dw_pins_new();
	assert_int_equal(dw_pins_count(t), 0);
}

int main(void)
{
	static const int shapes[] = { 0, 1, 2 };
	static struct rows r;
	add_row(&r, "one pair", one_pair, NULL);
	add_row(&r, "a refresh keeps the later expiry", refresh, NULL);
	add_row(&r, "the names of an address, newest first", walk, NULL);
	add_row(&r, "a refreshed name comes first", refreshed_first, NULL);
	add_row(&r, "the same bits in the other family", same_bits_other_family, NULL);
	add_row(&r, "full: names of one address", fill_up, &shapes[0]);
	add_row(&r, "full: addresses of one name", fill_up, &shapes[1]);
	add_row(&r, "full: all different", fill_up, &shapes[2]);
	add_row(&r, "names of 253 characters", long_names, NULL);
	add_row(&r, "nothing to free", free_nothing, NULL);
	return run_rows("pins", &r);
}
