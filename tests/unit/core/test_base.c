/* SPDX-License-Identifier: Apache-2.0 */
/* The cursors and the error object. */
#include "../policy/rows.h"

#include <errno.h>

#include "core/err.h"
#include "core/rd.h"
#include "core/wr.h"

static void read_numbers(void **state)
{
	const uint8_t b[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff };
	struct dw_rd r = dw_rd_init(b, sizeof(b), false);
	assert_int_equal(dw_rd_u8(&r), 1);
	assert_int_equal(dw_rd_u16(&r), 0x0203);
	assert_int_equal(dw_rd_u24(&r), 0x040506);
	assert_int_equal(dw_rd_u32(&r), 0x070809ff);
	assert_true(dw_rd_done(&r));
}

static void running_out(void **state)
{
	const uint8_t b[] = { 1 };
	struct dw_rd whole = dw_rd_init(b, sizeof(b), false), growing = dw_rd_init(b, sizeof(b), true);
	assert_int_equal(dw_rd_u16(&whole), 0);
	assert_int_equal(whole.status, DW_PARSE_BAD);
	assert_int_equal(dw_rd_u16(&growing), 0);
	assert_int_equal(growing.status, DW_PARSE_MORE);
	/* The first error sticks, and nothing can be read any more. */
	dw_rd_fail(&growing, DW_PARSE_BIG);
	assert_int_equal(growing.status, DW_PARSE_MORE);
	assert_int_equal(dw_rd_u8(&growing), 0);
	assert_int_equal(dw_rd_bytes(&growing, 0).n, 0);
	assert_false(dw_rd_done(&growing));
}

static void children(void **state)
{
	const uint8_t b[] = { 1, 2, 3 };
	struct dw_rd r = dw_rd_init(b, sizeof(b), true);
	struct dw_rd child = dw_rd_sub(&r, 2);
	assert_int_equal(dw_rd_u8(&child), 1);
	assert_int_equal(dw_rd_u16(&child), 0);
	assert_int_equal(child.status, DW_PARSE_BAD); /* inside a declared length nothing more can come */
	assert_int_equal(dw_rd_u8(&r), 3);
	assert_true(dw_rd_done(&r));
	child = dw_rd_sub(&r, 1);
	assert_int_equal(r.status, DW_PARSE_MORE);
	assert_int_equal(child.status, DW_PARSE_MORE);
	assert_false(dw_rd_done(&child));
}

static void left_over(void **state)
{
	struct dw_rd r = dw_rd_init("x", 1, false);
	assert_true(dw_rd_ok(&r));
	assert_false(dw_rd_done(&r));
}

static void write_numbers(void **state)
{
	uint8_t b[9];
	struct dw_wr w = dw_wr_init(b, sizeof(b));
	dw_wr_u16(&w, 0);
	dw_wr_u8(&w, 3);
	dw_wr_u32(&w, 0x04050607);
	dw_wr_bytes(&w, NULL, 0);
	dw_wr_patch_u16(&w, 0, 0x0102);
	assert_true(dw_wr_ok(&w));
	assert_memory_equal(b, "\1\2\3\4\5\6\7", 7);
	dw_wr_patch_u16(&w, 6, 0xffff); /* over the end of what was written */
	assert_int_equal(b[6], 7);
	dw_wr_u32(&w, 1);
	assert_false(dw_wr_ok(&w));
	dw_wr_u8(&w, 1); /* would fit, but the overflow sticks */
	assert_int_equal(w.len, 7);
	assert_false(dw_wr_ok(&w));
}

static void errors(void **state)
{
	struct dw_err e = { 0 };
	assert_int_equal(dw_err_set(&e, DW_ERR_INVALID, "a_code", "no %s", "way"), -1);
	assert_int_equal(e.kind, DW_ERR_INVALID);
	assert_string_equal(e.code, "a_code");
	assert_string_equal(e.message, "no way");
	assert_int_equal(dw_err_wrap(&e, "field %d", 3), -1);
	assert_string_equal(e.message, "field 3: no way");
	assert_int_equal(dw_err_errno(&e, ENOENT, "open %s", "x"), -1);
	assert_int_equal(e.kind, DW_ERR_INTERNAL);
	assert_string_equal(e.message, "open x: No such file or directory");
	assert_int_equal(dw_err_errno(&e, 99999, "x"), -1);
	assert_string_equal(e.message, "x: unknown error");
	assert_int_equal(dw_err_set(NULL, DW_ERR_INVALID, "a", "b"), -1);
	assert_int_equal(dw_err_errno(NULL, 1, "b"), -1);
	assert_int_equal(dw_err_wrap(NULL, "b"), -1);
}

static void long_errors(void **state)
{
	struct dw_err e = { 0 };
	char text[2000];
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	dw_err_set(&e, DW_ERR_INVALID, text, "%s", text);
	assert_int_equal(strlen(e.code), sizeof(e.code) - 1);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	dw_err_wrap(&e, "y");
	assert_memory_equal(e.message, "y: x", 4);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	dw_err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	dw_err_errno(&e, EPERM, "%s", text);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
}

int main(void)
{
	static struct rows r;
	add_row(&r, "reading numbers", read_numbers, NULL);
	add_row(&r, "running out", running_out, NULL);
	add_row(&r, "children", children, NULL);
	add_row(&r, "left over", left_over, NULL);
	add_row(&r, "writing numbers", write_numbers, NULL);
	add_row(&r, "errors", errors, NULL);
	add_row(&r, "errors that are too long", long_errors, NULL);
	return run_rows("base", &r);
}
