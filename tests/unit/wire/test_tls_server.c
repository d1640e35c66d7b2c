/* SPDX-License-Identifier: Apache-2.0 */
/* What a server's first bytes say about a hello: as rows, each cut at every byte and fed byte by byte. */
#include "wire_test.h"

#include "core/macros.h"
#include "wire/tls_hello.h"

#define RETRY_RANDOM "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
/* As OpenSSL 3.0.22 writes them: to a client whose key share is for another group, and to one that speaks TLS 1.2. */
#define RETRY_OPENSSL                                                                                          \
	"1603030058020000540303" RETRY_RANDOM "209aae5b49c6e5f46aaa87cfcee7e7d1b2b164c9e22293cfbb6b004344b05f" \
	"7cc9130200000c002b00020304003300020018 "
#define HELLO_OPENSSL_12                                                                                 \
	"16030300410200003d0303bb26ed89f5763ac1a94b22dc99921b3708a101323e5f5b34e4bf017618e093dc00c02c00" \
	"0015ff01000100000b0004030001020023000000170000 "
#define RETRY   "16 0303 [ 02 [3 0303 " RETRY_RANDOM " [1 ] 1301 00 [ 0033 [ 0018 ] ] ] ] "
#define HELLO   "16 0303 [ 02 [3 0303 x32:11 [1 ] 1301 00 [ 002b [ 0304 ] ] ] ] "
#define CCS     "14 0303 0001 01 "
#define WARNING "15 0303 0002 01 70 "

enum { OTHER = DW_TLS_ANSWER_OTHER, MORE = DW_TLS_ANSWER_MORE, HELLO_IS = DW_TLS_ANSWER_HELLO };

static const struct row {
	const char *name, *stream;
	unsigned retries;
	int end;
} rows[] = {
	/* clang-format off */
	{ "nothing", "", 0, MORE },
	{ "a ServerHello", HELLO, 0, HELLO_IS },
	{ "a ServerHello of TLS 1.2, OpenSSL's", HELLO_OPENSSL_12, 0, HELLO_IS },
	{ "... of SSL 3, without extensions", "16 0300 [ 02 [3 0300 x32:11 [1 ] 0005 00 ] ] ", 0, HELLO_IS },
	{ "... with more messages in its record", "16 0303 [ 02 [3 0303 x32:11 [1 ] 1301 00 ] 0b 000000 ] ", 0, HELLO_IS },
	{ "a HelloRetryRequest", RETRY, 1, MORE },
	{ "... OpenSSL's, and what follows it", RETRY_OPENSSL CCS HELLO, 1, HELLO_IS },
	{ "... and a ServerHello in its record", "16 0303 [ 02 [3 0303 " RETRY_RANDOM " [1 ] 1301 00 ] 02 [3 0303 x32:11 [1 ] 1301 00 ] ] ", 1, HELLO_IS },
	{ "... and another one", RETRY CCS RETRY HELLO, 2, HELLO_IS },
	{ "... behind several records", WARNING CCS WARNING RETRY WARNING HELLO, 1, HELLO_IS },
	{ "... whose last byte of the random differs", "16 0303 [ 02 [3 0303 cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339d [1 ] 1301 00 ] ] ", 0, HELLO_IS },
	{ "... in two records", "16 0303 [ 02 000029 0303 " RETRY_RANDOM " ] 16 0303 [ [1 ] 1301 00 0001 ff ] " HELLO, 1, HELLO_IS },
	{ "... in two records with something between", "16 0303 [ 02 000029 0303 " RETRY_RANDOM " ] " CCS, 1, OTHER },
	{ "... and then an alert that is the end", RETRY "15 0303 0002 02 28", 1, OTHER },
	{ "... and then data", RETRY "17 0303 0001 00", 1, OTHER },
	{ "a ServerHello in records of few bytes", "16 0303 0001 02 16 0303 0002 0000 16 0303 0003 29 0303 16 0303 [ x32:11 ] ", 0, HELLO_IS },
	{ "... with a warning between", "16 0303 0001 02 " WARNING, 0, OTHER },
	{ "a part of a ServerHello", "16 0303 0029 02 000025", 0, OTHER }, /* too short to be one */
	{ "a part that may still be one", "16 0303 002a 02 000026 0303 x31:11", 0, MORE },
	{ "an alert that is the end", "15 0303 0002 02 28 " HELLO, 0, OTHER },
	{ "an alert of another size", "15 0303 0003 01 70 00", 0, OTHER },
	{ "a change of cipher that is none", "14 0303 0001 02", 0, OTHER },
	{ "a record of data", "17 0303 0001 00", 0, OTHER },
	{ "an empty record", "16 0303 0000", 0, OTHER },
	{ "a record that is too long", "16 0303 4001", 0, OTHER },
	{ "a record of another version", "16 0203", 0, OTHER },
	{ "a message of another version", "16 0303 [ 02 [3 0203 x36:11 ] ]", 0, OTHER },
	{ "a message that is too long", "16 0303 4000 02 020000", 0, OTHER },
	{ "a HelloRequest", "16 0303 0004 00 000000", 0, OTHER },
	{ "a ClientHello come back", "16 0301 [ 01 [3 0303 x36:11 ] ]", 0, OTHER },
	{ "another protocol", "s:220 20 s:mx", 0, OTHER },
	{ "an answer in plain text before it", "s:S " HELLO, 0, OTHER },
	/* clang-format on */
};

/* Feeds pieces of `step` bytes behind the first `cut`; what comes behind the end is not fed. */
static enum dw_tls_answer feed(struct dw_tls_server *s, const uint8_t *data, size_t n, unsigned *ret_retries)
{
	enum dw_tls_answer answer = DW_TLS_ANSWER_MORE;
	size_t at = 0;

	do {
		size_t used = 0;
		answer = dw_tls_server_hello_kind(s, at_guard(data + at, n - at), n - at, &used);
		assert_true(used <= n - at && (answer != DW_TLS_ANSWER_MORE || used == n - at));
		at += used;
		*ret_retries += answer == DW_TLS_ANSWER_RETRY;
	} while (answer == DW_TLS_ANSWER_RETRY);
	return answer;
}

static void test_row(void **state)
{
	const struct row *row = *state;
	uint8_t data[1024];
	const size_t n = assemble(row->stream, data, sizeof(data));

	for (size_t cut = 0; cut <= n; cut++) {
		struct dw_tls_server s = { 0 };
		unsigned retries = 0;
		enum dw_tls_answer answer = feed(&s, data, cut, &retries);
		if (answer == DW_TLS_ANSWER_MORE)
			answer = feed(&s, data + cut, n - cut, &retries);
		assert_int_equal(answer, row->end);
		assert_int_equal(retries, row->retries);
	}
	struct dw_tls_server s = { 0 };
	enum dw_tls_answer answer = DW_TLS_ANSWER_MORE;
	unsigned retries = 0;
	for (size_t i = 0; i < n && answer == DW_TLS_ANSWER_MORE; i++)
		answer = feed(&s, data + i, 1, &retries);
	assert_int_equal(answer, row->end);
	assert_int_equal(retries, row->retries);
}

/* A server can not have the gate read for ever. */
static void test_endless(void **state)
{
	static const char *const endless[] = { WARNING, CCS, RETRY };

	for (size_t i = 0; i < DW_COUNT(endless); i++) {
		uint8_t data[1024];
		const size_t n = assemble(endless[i], data, sizeof(data));
		struct dw_tls_server s = { 0 };
		unsigned retries = 0;
		for (unsigned k = 0; k < DW_TLS_RECORDS_MAX; k++)
			assert_int_equal(feed(&s, data, n, &retries), DW_TLS_ANSWER_MORE);
		assert_int_equal(feed(&s, data, n, &retries), DW_TLS_ANSWER_OTHER);
	}
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("an answer without end", test_endless);
	return run_all("tls_server");
}
