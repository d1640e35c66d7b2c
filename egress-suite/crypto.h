/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What QUIC Initials need (RFC 9001 section 5), written out so that the programs depend on nothing. Initial packets are not secret:
 * their keys follow from the connection id in clear, so nothing here has to withstand an observer of its timing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eg_quic_keys {
	uint8_t key[16], iv[12], hp[16];
};

/* Client Initial keys for QUIC version 1 or 2 (RFC 9001 5.2, RFC 9369 3.3). Other versions get version 1's. */
void eg_quic_initial_keys(uint32_t version, const uint8_t *dcid, size_t dcid_n, struct eg_quic_keys *ret);
/* AES-128-GCM with the packet's nonce; out is n + 16 bytes. */
void eg_quic_seal(const struct eg_quic_keys *k, uint64_t number, const uint8_t *aad, size_t aad_n, const uint8_t *in,
		  size_t n, uint8_t *out);
/* n counts the tag. False: it is not what the key made. */
bool eg_quic_open(const struct eg_quic_keys *k, uint64_t number, const uint8_t *aad, size_t aad_n, const uint8_t *in,
		  size_t n, uint8_t *out);
/* Header protection's mask for a 16-byte sample. */
void eg_quic_mask(const struct eg_quic_keys *k, const uint8_t sample[16], uint8_t mask[16]);
