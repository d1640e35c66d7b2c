/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile text on its way to a terminal, typed bytes on their way to a server, and paths: nothing harmful comes out, nothing is read past. */
#include <stdint.h>
#include <string.h>

#include "cli/keys.h"
#include "cli/place.h"
#include "cli/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_escape(const char *p, size_t n)
{
	char *out = cli_escape(p, n);
	dw_assert(out);
	for (const char *c = out; *c; c++) {
		dw_assert((unsigned char)*c >= 0x20 && *c != 0x7f);
		dw_assert(!((unsigned char)*c == 0xc2 && (unsigned char)c[1] < 0xa0));
	}
	/* It is UTF-8 now. */
	json_t *j = json_string(out);
	dw_assert(j);
	json_decref(j);
	free(out);
}

static void check_keys(const char *p, size_t n, size_t piece)
{
	struct keys k = { .escapes = true };
	bool leave = false;
	for (size_t at = 0; at < n && !leave; at += piece) {
		json_t *j = NULL;
		const size_t m = DW_MIN(piece, n - at);
		dw_assert(keys_take(&k, p + at, m, at + m == n, &j, &leave) && json_is_string(j));
		json_decref(j);
	}
}

static void check_paths(const char *word)
{
	struct place p;
	time_t t;
	char *name = place_name(word);
	dw_assert(name && (!*name || strcmp(name, "..") != 0) && !strchr(name, '/'));
	if (place_is_name(word))
		dw_assert(strcmp(name, word) == 0);
	free(name);
	if (place_parse(word, &p))
		dw_assert(*p.path && (!*p.id || place_is_id(p.id)));
	DW_IGNORE(cli_parse_time(word, &t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > KEYS_MAX)
		return 0;
	char *word = strndup((const char *)data, size);
	dw_assert(word);
	check_escape((const char *)data, size);
	check_keys((const char *)data, size, data[0] % 16 + 1u);
	check_paths(word);
	free(word);
	return 0;
}
