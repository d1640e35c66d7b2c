/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "policy/host.h"

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define N253                    \
	L63 "." L63 "." L63 "." \
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct row {
	const char *name;
	const char *in;
	size_t n;        /* 0: strlen(in) */
	const char *out; /* NULL: refused */
	const char *why; /* a part of the reason */
};

/* clang-format off */
static const struct row rows[] = {
	{ "a plain name", "allowed.test", 0, "allowed.test", NULL },
	{ "a single label", "localhost", 0, "localhost", NULL },
	{ "EC-009 upper case is folded", "AlloWED.TEST", 0, "allowed.test", NULL },
	{ "EC-008 one trailing dot is dropped", "allowed.test.", 0, "allowed.test", NULL },
	{ "EC-008 two trailing dots", "allowed.test..", 0, NULL, "empty label" },
	{ "EC-008 a dot alone", ".", 0, NULL, "empty host name" },
	{ "EC-006 NUL inside", "evil.test\0.allowed.test", 23, NULL, "NUL byte" },
	{ "EC-006 NUL at the end", "allowed.test\0", 13, NULL, "NUL byte" },
	{ "EC-007 a space", "allowed .test", 0, NULL, "white space" },
	{ "EC-007 a leading space", " allowed.test", 0, NULL, "white space" },
	{ "EC-027 a trailing space", "allowed.test ", 0, NULL, "white space" },
	{ "EC-027 a trailing tab", "allowed.test\t", 0, NULL, "white space" },
	{ "EC-007 CR LF", "allowed.test\r\nx", 0, NULL, "white space" },
	{ "EC-007 0x01", "a\001.test", 0, NULL, "control character" },
	{ "EC-007 0x1f", "a\037.test", 0, NULL, "control character" },
	{ "EC-007 0x7f", "a\177.test", 0, NULL, "control character" },
	{ "a byte of UTF-8", "b\303\274cher.test", 0, NULL, "non-ASCII" },
	{ "a full-width dot", "a\357\274\216test", 0, NULL, "non-ASCII" },
	{ "an xn-- label", "xn--bcher-kva.test", 0, "xn--bcher-kva.test", NULL },
	{ "EC-011 a port", "allowed.test:443", 0, NULL, "cannot have" },
	{ "EC-017 a wildcard is no host", "*.test", 0, NULL, "cannot have" },
	{ "EC-023 a zone", "fe80::1%eth0", 0, NULL, "cannot have" },
	{ "EC-027 a URL", "https://x/y", 0, NULL, "cannot have" },
	{ "a percent escape", "a%2etest", 0, NULL, "cannot have" },
	{ "user info", "a@b.test", 0, NULL, "cannot have" },
	{ "a backslash", "a\\b.test", 0, NULL, "cannot have" },
	{ "nothing", "", 0, NULL, "empty host name" },
	{ "EC-019 a leading dot", ".allowed.test", 0, NULL, "empty label" },
	{ "EC-019 two dots", "allowed..test", 0, NULL, "empty label" },
	{ "EC-019 a label of 63", L63 ".test", 0, L63 ".test", NULL },
	{ "EC-019 a label of 64", L63 "a.test", 0, NULL, "63 characters" },
	{ "EC-019 a name of 253", N253, 0, N253, NULL },
	{ "EC-019 a name of 253 with a dot", N253 ".", 0, N253, NULL },
	{ "EC-019 a name of 254", "b" N253, 0, NULL, "253 characters" },
	{ "EC-019 an underscore", "_dmarc._x.test", 0, "_dmarc._x.test", NULL },
	{ "a hyphen inside", "a-b--c.test", 0, "a-b--c.test", NULL },
	{ "a hyphen first", "-a.test", 0, NULL, "starts or ends with '-'" },
	{ "a hyphen last", "a-.test", 0, NULL, "starts or ends with '-'" },
	{ "a hyphen last in the name", "a.test-", 0, NULL, "starts or ends with '-'" },
	{ "EC-020 a dotted quad", "1.2.3.4", 0, NULL, "number" },
	{ "EC-020 a decimal", "2130706433", 0, NULL, "number" },
	{ "EC-020 hex and short", "0x7f.1", 0, NULL, "number" },
	{ "EC-020 all hex", "0x7f000001", 0, NULL, "number" },
	{ "EC-020 upper-case hex", "127.0.0.0X1", 0, NULL, "number" },
	{ "EC-020 bare 0x", "a.0x", 0, NULL, "number" },
	{ "EC-020 octal", "0177.0.0.1", 0, NULL, "number" },
	{ "EC-020 short", "127.1", 0, NULL, "number" },
	{ "EC-020 with a trailing dot", "127.0.0.1.", 0, NULL, "number" },
	{ "EC-020 a name that ends in a number", "foo.1", 0, NULL, "number" },
	{ "EC-020 a number elsewhere is fine", "1.2.3.4.nip.test", 0, "1.2.3.4.nip.test", NULL },
	{ "a last label with a digit first", "a.1x", 0, "a.1x", NULL },
	{ "EC-013 a look-alike is only another name", "allowed.test.evil.test", 0, "allowed.test.evil.test", NULL },
};
/* clang-format on */

static void canon(void **state)
{
	const struct row *r = *state;
	char out[DW_HOST_SIZE] = "untouched";
	const char *why = NULL;
	enum dw_host_status st = dw_host_canon(r->in, r->n ? r->n : strlen(r->in), out, &why);
	assert_int_equal(st, r->out ? DW_HOST_OK : DW_HOST_BAD);
	assert_string_equal(out, r->out ? r->out : "untouched");
	if (r->out)
		return;
	assert_non_null(why);
	if (!strstr(why, r->why))
		fail_msg("\"%s\" is not in \"%s\"", r->why, why);
	assert_int_equal(dw_host_canon(r->in, r->n ? r->n : strlen(r->in), out, NULL), DW_HOST_BAD);
}

/* Each of the 256 bytes in the middle of a name: accepted exactly when it is a host character. */
static void every_byte(void **state)
{
	for (unsigned c = 0; c < 256; c++) {
		const char in[] = { 'a', (char)c, 'b', '.', 't' };
		char out[DW_HOST_SIZE];
		bool want = c < 128 && c != 0 &&
			    strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", (int)c);
		assert_int_equal(dw_host_canon(in, sizeof(in), out, NULL), want ? DW_HOST_OK : DW_HOST_BAD);
	}
}

/* What is canonical stays as it is. */
static void idempotent(void **state)
{
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		if (!rows[i].out)
			continue;
		char out[DW_HOST_SIZE];
		assert_int_equal(dw_host_canon(rows[i].out, strlen(rows[i].out), out, NULL), DW_HOST_OK);
		assert_string_equal(out, rows[i].out);
	}
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, canon);
	add_row(&r, "every byte", every_byte, NULL);
	add_row(&r, "idempotent", idempotent, NULL);
	return run_rows("host", &r);
}
