/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answers to a hello: byte by byte it must be what it is in one piece, and nothing final may be taken back. */
#include "fuzz_wire.h"
#include "wire/tls_hello.h"

/* The retries and the end of data in pieces of `step` bytes; *ret_at: where it ended. */
static enum dw_tls_answer read_all(const uint8_t *data, size_t size, size_t step, unsigned *ret_retries, size_t *ret_at)
{
	enum dw_tls_answer answer = DW_TLS_ANSWER_MORE;
	struct dw_tls_server s = { 0 };
	size_t at = 0;

	*ret_retries = 0;
	while (at < size && (answer == DW_TLS_ANSWER_MORE || answer == DW_TLS_ANSWER_RETRY)) {
		const size_t n = DW_MIN(step, size - at);
		size_t used = 0;
		answer = dw_tls_server_hello_kind(&s, data + at, n, &used);
		MUST(used > 0 && used <= n && (answer != DW_TLS_ANSWER_MORE || used == n));
		MUST(s.n < DW_TLS_SERVER_HEAD || answer == DW_TLS_ANSWER_HELLO);
		*ret_retries += answer == DW_TLS_ANSWER_RETRY;
		at += used;
	}
	*ret_at = at;
	return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned retries, other_retries;
	size_t at, other_at;
	const enum dw_tls_answer answer = read_all(data, size, size + 1, &retries, &at);

	MUST(answer != DW_TLS_ANSWER_HELLO || at >= 5 + DW_TLS_SERVER_HEAD);
	MUST(retries == 0 || at >= 5 + DW_TLS_SERVER_HEAD);
	for (size_t step = 1; step < 8; step += 2) {
		MUST(read_all(data, size, step, &other_retries, &other_at) == answer);
		MUST(other_retries == retries && other_at == at);
	}
	return 0;
}
