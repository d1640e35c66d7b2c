/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS that begins later: finds the start of a ClientHello anywhere in what a client sends. Pure, bytes in, verdict out; the
 * same bytes in more pieces are found at the same place.
 *
 * Nothing here knows a protocol. PostgreSQL, MySQL, SMTP and the others each have their own way of saying "TLS from here on", and
 * some clients send the hello without waiting for the answer; a gate that waits for the right words can be told others. So
 * every byte may be the first one of a hello, and what makes one is its own structure:
 *
 *   records     16, a version below 0x1000 (Go takes all of these), a length of 1..2^14; behind the first, where the hello is in
 *               parts, warnings (15, length 2), change-cipher-spec (14, length 1) and empty records too
 *   the hello   01, a length of 41..196607, version 3.x or 4.x, a session id of at most 32 bytes, suites in pairs that fit,
 *               compression methods that fit, extensions that end where the hello does
 *
 * That is as much as the most lenient server asks for; dw_tls_hello_parse() asks for more and refuses the difference. How
 * often does data that is no TLS (an encrypted upload) look like this by chance? A START needs at least 43 bits to be right, which is
 * one in 2^43 bytes (9 TB), and only has the bytes behind it wait for more. A HELLO, which can end the flow, needs 60: one
 * in 10^18 bytes. Below a START nothing needs to wait: a hello whose first bytes have gone up without the rest says nothing.
 *
 * Hellos in SSLv2 form are not looked for: they can hold no name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More bytes than a PART can have. */
#define STARTTLS_PART_MAX 96u
/* STARTs that proved to be none, in one client's bytes. Chance makes none; each one costs a walk over its records. */
#define STARTTLS_FALSE_MAX 8u

enum starttls_what {
	STARTTLS_NONE = 0,
	STARTTLS_PART,  /* so few bytes that chance can make them; the data ends */
	STARTTLS_START, /* a hello has begun and is not complete; the data ends */
	STARTTLS_HELLO, /* a whole hello, or as many records as one may have: to be judged */
	STARTTLS_BAD,   /* too many beginnings that came to nothing */
};

/* What is kept of one client's bytes. Zero at first. */
struct starttls {
	uint8_t gone[STARTTLS_PART_MAX]; /* let through already, and still the beginning of a hello */
	uint8_t gone_n;
	uint8_t false_starts;
	bool early; /* a hello has passed, so a server may read over early data, even between the parts of the next one */
};

struct starttls_found {
	size_t at; /* where it begins; the number of all bytes for NONE */
	size_t n;  /* HELLO: its bytes */
};

/*
 * Looks at positions `from` and behind of gone followed by data[0..n), which are the bytes not let through yet, for the
 * first that may start a hello. NONE: no position may.
 */
enum starttls_what starttls_scan(struct starttls *t, const uint8_t *data, size_t n, size_t from,
				 struct starttls_found *ret);

/*
 * data[0..n) is let through, and what starts at position `at` (of gone followed by data) may still be the start of a hello:
 * a PART. at is the number of all these bytes if nothing may.
 */
void starttls_pass(struct starttls *t, const uint8_t *data, size_t n, size_t at);
