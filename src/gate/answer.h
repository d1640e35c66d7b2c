/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP response with which a request is refused. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a request head asks for application/json in an Accept field. Bytes that are no head: false. */
bool answer_wants_json(const uint8_t *head, size_t n);

struct answer {
	unsigned status;
	const char *reason; /* its stable word */
	const char *rule;   /* "" for none */
	const char *text;   /* one sentence */
	bool json;
};

/* A whole response that ends the connection: malloc'ed, *ret_n bytes; NULL without memory. */
uint8_t *answer_http(const struct answer *a, size_t *ret_n);
