/* SPDX-License-Identifier: Apache-2.0 */
/* QUIC Initials as clients seal them, for tests: written apart from src/wire, so that the two check each other. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero is an Initial of version 1 with empty CIDs and number 0 in one byte. */
struct quic_seal {
	uint32_t version; /* 0: version 1 */
	const void *dcid, *scid, *token;
	size_t dcid_n, scid_n, token_n;
	const void *key_dcid; /* the DCID that the keys come from; NULL: dcid */
	size_t key_dcid_n;
	uint64_t pn;         /* its low bytes are sent, all of it goes into the nonce */
	unsigned pn_n;       /* 1..4 bytes of it; 0: 1 */
	uint8_t flip;        /* XORed into the first byte: 0x40 the fixed bit, 0x0c the reserved bits */
	size_t pad_to;       /* PADDING until the packet has this size */
	unsigned length_n;   /* bytes of the Length field: 1, 2, 4, 8; 0: 2 */
	uint64_t length_add; /* makes Length say more than there is */
};

struct quic_seal_keys {
	uint8_t key[16], iv[12], hp[16];
};
void quic_seal_keys(uint32_t version, const void *dcid, size_t n, struct quic_seal_keys *ret);

/* Seals frames[0..n) into out; returns the packet's size. Aborts when there is no room. */
size_t quic_seal(const struct quic_seal *s, const void *frames, size_t n, uint8_t *out, size_t cap);

/* A variable-length integer in `width` bytes (1, 2, 4, 8; 0: as few as it takes). Returns the width. */
size_t quic_put_varint(uint8_t *out, uint64_t v, unsigned width);

/* A CRYPTO frame. Returns its size; out needs 17 bytes more than the data has. */
size_t quic_put_crypto(uint8_t *out, uint64_t offset, const void *data, size_t n);
