/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions of policy entries. Three lines of defence against one that takes for ever: a grammar that leaves
 * out what backtracks worst (dw_regex_check), a trial on names made to hurt this very pattern (dw_regex_try), and hard
 * limits on every match (dw_regex_match).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/macros.h"
#include "policy/host.h"

struct dw_regex;

enum dw_regex_result {
	DW_REGEX_LIMIT = 0, /* undecided: a limit was hit, or memory was out */
	DW_REGEX_NO,
	DW_REGEX_YES,
};

/* Steps of the matcher: what a trial at compile time may use, and, with room to spare, what a match may use. */
#define DW_REGEX_TRIAL_STEPS 35000u
#define DW_REGEX_MATCH_STEPS 50000u

#define DW_REGEX_PUMPS 6

/* A repeat of the pattern: text that leads the matcher to it, and the part of the pattern that is repeated. */
struct dw_regex_pump {
	char prefix[DW_HOST_SIZE];
	uint16_t prefix_n;
	uint16_t unit_off;
	uint16_t unit_n;
};

struct dw_regex_shape {
	struct dw_regex_pump pump[DW_REGEX_PUMPS]; /* the first ones */
	unsigned n;
};

/*
 * Whether the pattern keeps to the accepted grammar: literals that host names can have, '.', classes, groups,
 * alternatives, quantifiers (an unbounded one not around another), anchors. Returns NULL or a static phrase.
 */
const char *dw_regex_check(const char *s, size_t n, struct dw_regex_shape *ret);

/* NULL with *ret_why: memory, or what PCRE2 says against it (in buf). Case is ignored; a match is of the whole name. */
struct dw_regex *dw_regex_new(const char *s, size_t n, char *buf, size_t size, const char **ret_why);
void dw_regex_free(struct dw_regex *re);
DW_DEFINE_CLEANUP(struct dw_regex *, dw_regex_free)

enum dw_regex_result dw_regex_match(const struct dw_regex *re, const char *name, size_t n);

/* Whether the pattern stays within DW_REGEX_TRIAL_STEPS on hostile names built from its own characters. */
bool dw_regex_try(const struct dw_regex *re, const char *s, const struct dw_regex_shape *shape);
