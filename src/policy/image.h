/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image: a compiled policy as one block of bytes without pointers. dw_image_build writes it, dw_image_open takes it
 * from a stranger, the look-ups read it.
 *
 * Layout: header, then sections, each an (offset, element count) pair of the header: entries, ranges, regexes, one slot
 * table per list, keys, texts. Native byte order, 8-byte alignment: it never leaves the machine.
 *
 * One open-addressing slot table per list holds every exact key: host names, wildcard suffixes, IPv4 and IPv6 prefixes. A
 * key is kind, length and bytes in the key section. Its group is a run of disjoint, ascending port ranges, so that
 * any number of entries with the same key costs one binary search. The header says which suffix and prefix lengths
 * occur at all, so only those are looked up.
 *
 * Trust: open checks what it can in constant time (header and section bounds). Everything below is checked by
 * the look-ups as they go, so damaged bytes can give a wrong answer, never an access outside the image or an endless loop.
 * No probe runs longer than DW_IMAGE_PROBES, which the builder guarantees by trying other seeds: nobody can write a
 * policy whose keys collide on purpose.
 */
#pragma once

#include "policy/entry.h"
#include "policy/policy.h"

#define DW_IMAGE_MAGIC   "dwpolicy" /* 8 bytes, the NUL left out */
#define DW_IMAGE_VERSION 2u
#define DW_IMAGE_PROBES  64u

enum dw_list {
	DW_LIST_ALLOW = 0,
	DW_LIST_DENY,
	DW_LIST__COUNT,
};

enum dw_key_kind {
	DW_KEY_HOST = 1,
	DW_KEY_SUFFIX,
	DW_KEY_PREFIX4,
	DW_KEY_PREFIX6,
};

#define DW_IMAGE_ALLOW_PRESENT 1u
#define DW_IMAGE_DEFAULT_ALLOW 2u
#define DW_IMAGE_REJECT        4u
#define DW_IMAGE_OBSERVE       8u
#define DW_IMAGE_ALLOW_ECH     16u

struct dw_img_section {
	uint32_t off; /* bytes from the start, a multiple of 8 */
	uint32_t n;   /* elements */
};

/* A run in the range section. n 0: no such key. */
struct dw_img_group {
	uint32_t first;
	uint32_t n;
};

struct dw_img_entry {
	uint32_t text_off;
	uint16_t text_n;
	uint16_t list; /* enum dw_list */
};

struct dw_img_range {
	uint16_t lo, hi;
	uint32_t entry; /* the rule to name */
};

struct dw_img_regex {
	uint32_t key_off; /* the pattern, in the key section */
	uint16_t key_n;
	uint16_t list;
	struct dw_img_group group;
};

struct dw_img_slot {
	uint32_t hash;    /* upper half */
	uint32_t key_off; /* kind, length, bytes */
	struct dw_img_group group;
};

struct dw_img_list {
	struct dw_img_section slots; /* a power of two, or none */
	uint64_t seed;
	uint64_t suffix_lens[4]; /* bit n: a wildcard suffix of n bytes occurs */
	uint64_t prefix6_lens[3];
	uint64_t prefix4_lens;
	struct dw_img_group all; /* "everything" entries */
	uint32_t all_ports;      /* they cover every port */
	uint32_t names;          /* host, wildcard and regex entries */
};

struct dw_img_header {
	char magic[8];
	uint32_t version;
	uint32_t size; /* of the whole image */
	uint32_t flags;
	uint32_t allow_n; /* entries before this index are allow_out's, the rest deny_out's */
	struct dw_img_section entries, ranges, regexes, keys, texts;
	struct dw_img_list list[DW_LIST__COUNT];
};

struct dw_image {
	const uint8_t *base;
	struct dw_img_header h; /* a checked copy: later changes of the bytes cannot move a section */
};

/* An opened policy: the image and its compiled regexes. */
struct dw_regex;
struct dw_policy {
	struct dw_image img;
	uint32_t regex_n;
	struct dw_regex *regex[DW_POLICY_MAX_REGEX]; /* parallel to the regex section */
	uint16_t regex_list[DW_POLICY_MAX_REGEX];
	struct dw_img_group regex_group[DW_POLICY_MAX_REGEX];
};

/* What dw_image_build is given: the parsed lists in flat form. */
struct dw_draft_entry {
	const char *text; /* as written, borrowed */
	uint32_t key_off; /* in keys; kind and length come first except for regexes */
	uint16_t text_n;
	uint16_t key_n;
	uint16_t port_lo, port_hi;
	uint8_t list; /* enum dw_list */
	uint8_t kind; /* enum dw_entry_kind */
};

struct dw_draft {
	const struct dw_draft_entry *entries; /* allow_out's first */
	uint32_t n, allow_n;
	const uint8_t *keys;
	uint32_t keys_n;
	uint32_t flags;
};

/* 0, or -errno: -ENOMEM, -E2BIG (over 4 GiB, or keys made to collide). The caller frees *ret. */
int DW_MUST_USE dw_image_build(const struct dw_draft *d, void **ret, size_t *ret_len);

/* NULL when open, else what is wrong. */
const char *dw_image_open(const void *bytes, size_t len, struct dw_image *ret);

/* The hash of a key; raw is dw_hash_bytes of the key's bytes (without kind and length) under the list's seed. */
uint64_t dw_image_key_hash(enum dw_key_kind kind, uint64_t raw);

struct dw_img_group dw_image_find(const struct dw_image *img, enum dw_list list, enum dw_key_kind kind, uint64_t hash,
				  const void *key, size_t key_n);

/* The rule of a group for a port, or DW_RULE_NONE. */
uint32_t dw_image_rule_at(const struct dw_image *img, struct dw_img_group g, uint16_t port);
/* The i-th range of a group; false at its end. */
bool dw_image_range(const struct dw_image *img, struct dw_img_group g, uint32_t i, struct dw_img_range *ret);
/* The first rule of a group, or DW_RULE_NONE. */
uint32_t dw_image_rule_any(const struct dw_image *img, struct dw_img_group g);

bool dw_image_entry(const struct dw_image *img, uint32_t rule, struct dw_img_entry *ret, const char **ret_text);
bool dw_image_regex(const struct dw_image *img, uint32_t i, struct dw_img_regex *ret, const char **ret_pattern);

static inline bool dw_bit(const uint64_t *set, unsigned i)
{
	return set[i / 64] >> (i % 64) & 1;
}
