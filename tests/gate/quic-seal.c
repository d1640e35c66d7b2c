/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seals QUIC Initials for tests. One packet a line, from standard input:
 *     VERSION DCID SCID TOKEN KEY_DCID PN PAD_TO FRAMES
 * VERSION, PN and PAD_TO are decimal; the others are hexadecimal, - for none (KEY_DCID: the keys come from DCID). The packet
 * goes to standard output as one line of hexadecimal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quic_seal.h"

#define FIELD_MAX 131072

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = 0;

	for (; strcmp(text, "-") != 0 && text[0] && text[1]; text += 2) {
		const char pair[3] = { text[0], text[1], 0 };
		out[n++] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return n;
}

int main(void)
{
	static char field[5][FIELD_MAX + 1];
	static uint8_t bytes[5][FIELD_MAX / 2], out[65536];
	struct quic_seal s = { 0 };

	while (scanf("%" SCNu32 " %131072s %131072s %131072s %131072s %" SCNu64 " %zu %131072s", &s.version, field[0],
		     field[1], field[2], field[3], &s.pn, &s.pad_to, field[4]) == 8) {
		s.dcid = bytes[0];
		s.dcid_n = unhex(field[0], bytes[0]);
		s.scid = bytes[1];
		s.scid_n = unhex(field[1], bytes[1]);
		s.token = bytes[2];
		s.token_n = unhex(field[2], bytes[2]);
		s.key_dcid_n = unhex(field[3], bytes[3]);
		s.key_dcid = strcmp(field[3], "-") == 0 ? NULL : bytes[3];
		size_t n = quic_seal(&s, bytes[4], unhex(field[4], bytes[4]), out, sizeof(out));
		for (size_t i = 0; i < n; i++)
			printf("%02x", out[i]);
		putchar('\n');
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
