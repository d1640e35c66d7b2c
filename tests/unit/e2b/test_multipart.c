/* SPDX-License-Identifier: Apache-2.0 */
#include "../daemon/support.h"

#include "e2b/multipart.h"

#define TYPE "multipart/form-data; boundary=b"
#define HEAD "Content-Disposition: form-data; name=\"file\"; filename=\"/a\"\r\n\r\n"

struct row {
	const char *name, *type, *body;
	const char *seen; /* "[name|filename]bytes;" for each part; NULL: BAD */
	bool cut;         /* not whole, though nothing is wrong */
};

/* A part whose head has this line alone. */
#define PART(line) "--b\r\n" line "\r\n\r\nx\r\n--b--\r\n"
#define FORM(rest) PART("Content-Disposition: form-data; name=file" rest)

/* clang-format off */
static const struct row rows[] = {
	{ "one part", TYPE, "--b\r\n" HEAD "hello\r\n--b--\r\n", "[file|/a]hello;" },
	{ "no line end at the end", TYPE, "--b\r\n" HEAD "hello\r\n--b--", "[file|/a]hello;" },
	{ "two parts", TYPE, "--b\r\n" HEAD "1\r\n--b\r\n" HEAD "2\r\n--b--\r\n", "[file|/a]1;[file|/a]2;" },
	{ "an empty part", TYPE, "--b\r\n" HEAD "\r\n--b--\r\n", "[file|/a];" },
	{ "no part", TYPE, "--b--\r\n", "" },
	{ "other fields", TYPE, "--b\r\nX-A: 1\r\nContent-Type: text/plain\r\n" HEAD "1\r\n--b--\r\n", "[file|/a]1;" },
	{ "what begins like a boundary", TYPE, "--b\r\n" HEAD "\r\r\n\r\n-\r\n--\r\n--\r\n--a\r\n--b--\r\n", "[file|/a]\r\r\n\r\n-\r\n--\r\n--\r\n--a;" },
	{ "a boundary without its line end", TYPE, "--b\r\n" HEAD "--b\r\n--b--\r\n", "[file|/a]--b;" },
	{ "a long boundary", "multipart/form-data; boundary=----formdata-undici-012345678901", "------formdata-undici-012345678901\r\n" HEAD "x\r\n------formdata-undici-01234567890\r\n------formdata-undici-012345678901--\r\n", "[file|/a]x\r\n------formdata-undici-01234567890;" },
	{ "a boundary in quotes", "Multipart/Form-Data ; charset=utf-8; boundary=\"a b\"", "--a b\r\n" HEAD "x\r\n--a b--", "[file|/a]x;" },
	{ "no filename", TYPE, FORM(""), "[file|-]x;" },
	{ "a quote, escaped", TYPE, FORM("; filename=\"/a\\\"b\""), "[file|/a\"b]x;" },
	{ "a backslash, escaped", TYPE, FORM("; filename=\"/a\\\\b\""), "[file|/a\\b]x;" },
	{ "a backslash alone", TYPE, FORM("; filename=\"/a\\b\""), "[file|/a\\b]x;" },
	{ "percent of the few", TYPE, FORM("; filename=\"/a%22b%0d%0Ac%41%\""), "[file|/a\"b\r\nc%41%]x;" },
	{ "UTF-8", TYPE, FORM("; filename=\"/\xc3\xa4/\xe2\x82\xac\""), "[file|/\xc3\xa4/\xe2\x82\xac]x;" },
	{ "semicolons inside quotes", TYPE, FORM("; filename=\"/a; name=b\""), "[file|/a; name=b]x;" },
	{ "filename*", TYPE, FORM("; filename*=UTF-8''%2fa%20%e2%82%ac"), "[file|/a \xe2\x82\xac]x;" },
	{ "filename* with a language", TYPE, FORM("; filename*=utf-8'en'%2Fa"), "[file|/a]x;" },
	{ "filename* and the same filename", TYPE, FORM("; filename=\"/a\"; filename*=UTF-8''%2Fa"), "[file|/a]x;" },
	{ "an encoding that is none", TYPE, "--b\r\nContent-Transfer-Encoding: BINARY\r\n" HEAD "x\r\n--b--", "[file|/a]x;" },
	{ "a parameter that nobody knows", TYPE, FORM("; size=12"), "[file|-]x;" },

	{ "cut in a body", TYPE, "--b\r\n" HEAD "hel", "[file|/a]hel", true },
	{ "cut in a boundary", TYPE, "--b\r\n" HEAD "hel\r\n--", "[file|/a]hel", true },
	{ "cut before the last dash", TYPE, "--b\r\n" HEAD "hel\r\n--b-", "[file|/a]hel;", true },
	{ "cut in a head", TYPE, "--b\r\nContent-Dis", "", true },
	{ "cut in the last line end", TYPE, "--b--\r", "", true },
	{ "nothing", TYPE, "", "", true },

	{ "no type", NULL, "", NULL },
	{ "another type", "application/octet-stream", "", NULL },
	{ "a type that begins so", "multipart/form-datax; boundary=b", "", NULL },
	{ "no boundary", "multipart/form-data", "", NULL },
	{ "an empty boundary", "multipart/form-data; boundary=\"\"", "", NULL },
	{ "two boundaries", "multipart/form-data; boundary=a; boundary=a", "", NULL },
	{ "a boundary too long", "multipart/form-data; boundary=01234567890123456789012345678901234567890123456789012345678901234567890", "", NULL },
	{ "a boundary of other characters", "multipart/form-data; boundary=\"a\\\\b\"", "", NULL },
	{ "a boundary that ends in a space", "multipart/form-data; boundary=\"a \"", "", NULL },
	{ "quotes that do not end", "multipart/form-data; boundary=\"a", "", NULL },
	{ "a preamble", TYPE, "x\r\n--b\r\n" HEAD "x\r\n--b--\r\n", NULL },
	{ "a line end before", TYPE, "\r\n--b\r\n" HEAD "x\r\n--b--\r\n", NULL },
	{ "an epilogue", TYPE, "--b\r\n" HEAD "x\r\n--b--\r\nx", NULL },
	{ "something behind the last boundary", TYPE, "--b--x", NULL },
	{ "a line feed alone", TYPE, "--b\n" HEAD "x\r\n--b--\r\n", NULL },
	{ "a boundary that goes on", TYPE, "--b\r\n" HEAD "x\r\n--bc\r\n--b--\r\n", NULL },
	{ "padding", TYPE, "--b \r\n" HEAD "x\r\n--b--\r\n", NULL },
	{ "a dash and no other", TYPE, "--b\r\n" HEAD "x\r\n--b-x", NULL },
	{ "an empty head", TYPE, "--b\r\n\r\nx\r\n--b--\r\n", NULL },
	{ "no disposition", TYPE, PART("Content-Type: a/b"), NULL },
	{ "two dispositions", TYPE, PART("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=a"), NULL },
	{ "another disposition", TYPE, PART("Content-Disposition: attachment; name=file"), NULL },
	{ "no name", TYPE, PART("Content-Disposition: form-data; filename=a"), NULL },
	{ "an empty name", TYPE, PART("Content-Disposition: form-data; name=\"\""), NULL },
	{ "two names", TYPE, FORM("; name=file"), NULL },
	{ "two filenames", TYPE, FORM("; filename=a; filename=a"), NULL },
	{ "an empty filename", TYPE, FORM("; filename=\"\""), NULL },
	{ "filename* says another", TYPE, FORM("; filename=a; filename*=UTF-8''b"), NULL },
	{ "filename* in another charset", TYPE, FORM("; filename*=iso-8859-1''b"), NULL },
	{ "filename* with a NUL byte", TYPE, FORM("; filename*=UTF-8''a%00b"), NULL },
	{ "filename* cut", TYPE, FORM("; filename*=UTF-8''a%4"), NULL },
	{ "filename* without quotes", TYPE, FORM("; filename*=UTF-8"), NULL },
	{ "a folded line", TYPE, PART("Content-Disposition: form-data;\r\n name=file"), NULL },
	{ "white space before the colon", TYPE, PART("Content-Disposition : form-data; name=file"), NULL },
	{ "a line without a colon", TYPE, PART("nothing\r\nContent-Disposition: form-data; name=file"), NULL },
	{ "a carriage return in a value", TYPE, PART("X: a\rb\r\nContent-Disposition: form-data; name=file"), NULL },
	{ "base64", TYPE, PART("Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=file"), NULL },
	{ "a semicolon at the end", TYPE, FORM(";"), NULL },
	{ "text behind a value", TYPE, FORM("; filename=\"a\"b"), NULL },
};
/* clang-format on */

/* In pieces of this size. False: BAD. */
static bool read_all(struct multipart *m, const char *body, size_t piece, char *seen)
{
	const size_t n = strlen(body);
	struct dw_span data;
	for (size_t at = 0; at < n; at += piece) {
		struct dw_span in = { .p = (const uint8_t *)body + at, .n = DW_MIN(piece, n - at) };
		for (enum multipart_event e; (e = multipart_next(m, &in, &data)) != MULTIPART_MORE;) {
			if (e == MULTIPART_PART)
				seen += sprintf(seen, "[%s|%s]", m->name, m->has_filename ? m->filename : "-");
			if (e == MULTIPART_DATA)
				seen += sprintf(seen, "%.*s", (int)data.n, (const char *)data.p);
			if (e == MULTIPART_PART_END)
				seen += sprintf(seen, ";");
			if (e == MULTIPART_BAD) {
				assert_non_null(m->why);
				return false;
			}
		}
	}
	return true;
}

static void check(void **state)
{
	const struct row *r = *state;
	static struct multipart m;
	for (size_t piece = 1; piece < 90; piece++) {
		char seen[4096] = "";
		bool ok = multipart_init(&m, r->type) && read_all(&m, r->body, piece, seen);
		assert_int_equal(ok, r->seen != NULL);
		if (!ok)
			continue;
		assert_string_equal(seen, r->seen);
		assert_int_equal(multipart_is_whole(&m), !r->cut);
	}
}

/* BAD stays, and a head does not grow without end. */
static void check_long_head(void **state)
{
	static struct multipart m;
	struct dw_span data;
	assert_true(multipart_init(&m, TYPE));
	struct dw_span in = { .p = (const uint8_t *)"--b\r\nX: ", .n = 8 };
	assert_int_equal(multipart_next(&m, &in, &data), MULTIPART_MORE);
	for (size_t i = 3; i < MULTIPART_HEAD_MAX; i++) {
		in = (struct dw_span){ .p = (const uint8_t *)"x", .n = 1 };
		assert_int_equal(multipart_next(&m, &in, &data), MULTIPART_MORE);
	}
	for (int i = 0; i < 3; i++) {
		in = (struct dw_span){ .p = (const uint8_t *)"xy", .n = 2 };
		assert_int_equal(multipart_next(&m, &in, &data), MULTIPART_BAD);
	}
	in.n = 0;
	assert_int_equal(multipart_next(&m, &in, &data), MULTIPART_BAD);
	assert_false(multipart_is_whole(&m));
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(check_long_head) };
	return cmocka_run_group_tests(tests, NULL, NULL) | cmocka_run_group_tests(more, NULL, NULL);
}
