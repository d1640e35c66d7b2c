/* SPDX-License-Identifier: Apache-2.0 */
/* What ip.c and ip_build.c share. Not for other folders. */
#pragma once

#include "wire/ip.h"

/* RFC 1071 over n bytes after a sum begun before; 0 over a header that holds its right checksum. */
uint16_t ip_checksum(const uint8_t *p, size_t n, uint32_t sum);
