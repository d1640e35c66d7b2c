/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of the sandboxes' links. They exist only in the sandboxes and the gate namespace, never in the host's
 * routing, and no policy can open them ("other sandboxes" is part of the floor).
 */
#pragma once

#include "core/addr.h"

/* 100.112.0.0/12, past Alibaba's metadata address: 2^20 addresses, so that an address can rest long before it is used again. */
#define DW_NET4_FIRST    0x64700000u
#define DW_NET4_LEN      12
#define DW_NET4_TEXT     "100.112.0.0/12"
#define DW_GATEWAY4_TEXT "100.112.0.1"
/* fd64:6377::/64; the low 32 bits repeat the IPv4 address. */
#define DW_NET6_TEXT     "fd64:6377::/64"
#define DW_NET6_LEN      64
#define DW_GATEWAY6_TEXT "fd64:6377::1"
/* The gateway as seen from a sandbox's link: default routes go via these, with permanent neighbour entries. */
#define DW_LINK_GATEWAY6_TEXT "fe80::1"

/* Slots number from 1; slot n has 100.112.0.0 + n + 255, so that 100.112.0.x stays for the gateway. */
#define DW_SLOT_MAX 1000000u

static inline struct dw_addr dw_slot_addr4(uint32_t slot)
{
	uint32_t v = DW_NET4_FIRST + 255 + slot;
	const uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
	return dw_addr_from4(b);
}

static inline struct dw_addr dw_slot_addr6(uint32_t slot)
{
	uint32_t v = DW_NET4_FIRST + 255 + slot;
	const uint8_t b[16] = {
		0xfd, 0x64, 0x63, 0x77, [12] = (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v
	};
	return dw_addr_from6(b);
}
