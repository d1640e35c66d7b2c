/* SPDX-License-Identifier: Apache-2.0 */
/* Paths on both sides of a copy, and names that a sandbox chose. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/macros.h"

#define PLACE_ID_MAX 64u

/* "ID:PATH" is in a sandbox, as scp has it: what has a '/' before the ':' is here, and so is what begins with no id. */
struct place {
	char id[PLACE_ID_MAX + 1]; /* "": here */
	const char *path;          /* a part of what was parsed */
};
/* False: "ID:" without a path, or an empty word. */
bool DW_MUST_USE place_parse(const char *word, struct place *ret);

/* An id that may stand in a URL and on a terminal: letters, digits, '-' and '_', up to PLACE_ID_MAX. */
bool place_is_id(const char *s);

/* A name of one entry in a folder, that leads nowhere else: not empty, not "." or "..", no '/', up to 255 bytes. */
bool place_is_name(const char *s);

/* The last part of a path, malloc'ed; "" where there is none to name a copy by ("/", ".", ".."). NULL: memory is out. */
char *place_name(const char *path);
/* "a" and "b" with one '/' between, malloc'ed. */
char *place_join(const char *a, const char *b);
/* Whether it says itself that it is a folder: it ends with '/', or with the part "." or "..". */
bool place_says_folder(const char *path);
