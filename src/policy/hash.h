/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of policy tables. Names are hashed from their last byte to the first, so that one pass over a name yields the
 * hash of each of its suffixes on the way.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint64_t dw_hash_mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

/* One more byte in front of what h stands for. h starts as the seed; dw_hash_mix it before use. */
static inline uint64_t dw_hash_step(uint64_t h, uint8_t c)
{
	return (h ^ c) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint64_t dw_hash_bytes(uint64_t seed, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = seed;
	while (n)
		h = dw_hash_step(h, b[--n]);
	return h;
}
