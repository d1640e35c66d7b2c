/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an image: every index and offset found in it is checked before use. */
#include "policy/image.h"

#include <string.h>

#include "policy/hash.h"

static bool section_ok(const struct dw_img_header *h, struct dw_img_section s, size_t element)
{
	uint64_t end = s.off + (uint64_t)s.n * element;
	return s.off % 8 == 0 && s.off >= sizeof(*h) && end <= h->size;
}

static bool list_ok(const struct dw_img_header *h, const struct dw_img_list *l)
{
	uint32_t n = l->slots.n;
	return section_ok(h, l->slots, sizeof(struct dw_img_slot)) && (n & (n - 1)) == 0;
}

const char *dw_image_open(const void *bytes, size_t len, struct dw_image *ret)
{
	struct dw_img_header h;
	if (len < sizeof(h) || (uintptr_t)bytes % 8 != 0)
		return "too short or not aligned";
	memcpy(&h, bytes, sizeof(h));
	if (memcmp(h.magic, DW_IMAGE_MAGIC, sizeof(h.magic)) != 0)
		return "not a policy image";
	if (h.version != DW_IMAGE_VERSION)
		return "a version this program does not know";
	if (h.size != len)
		return "its size is not what its header says";
	if (!section_ok(&h, h.entries, sizeof(struct dw_img_entry)) ||
	    !section_ok(&h, h.ranges, sizeof(struct dw_img_range)) ||
	    !section_ok(&h, h.regexes, sizeof(struct dw_img_regex)) || !section_ok(&h, h.keys, 1) ||
	    !section_ok(&h, h.texts, 1) || !list_ok(&h, &h.list[DW_LIST_ALLOW]) || !list_ok(&h, &h.list[DW_LIST_DENY]))
		return "a section lies outside it";
	if (h.entries.n > DW_POLICY_MAX_ENTRIES || h.allow_n > h.entries.n || h.regexes.n > DW_POLICY_MAX_REGEX)
		return "a count over its limit";
	ret->base = bytes;
	ret->h = h;
	return NULL;
}

uint64_t dw_image_key_hash(enum dw_key_kind kind, uint64_t raw)
{
	return dw_hash_mix(raw + (uint64_t)kind * UINT64_C(0xd6e8feb86659fd93));
}

static bool key_equals(const struct dw_image *img, uint32_t off, enum dw_key_kind kind, const void *key, size_t n)
{
	uint32_t total = img->h.keys.n;
	if (off >= total || total - off < n + 2)
		return false;
	const uint8_t *k = img->base + img->h.keys.off + off;
	return k[0] == kind && k[1] == n && memcmp(k + 2, key, n) == 0;
}

struct dw_img_group dw_image_find(const struct dw_image *img, enum dw_list list, enum dw_key_kind kind, uint64_t hash,
				  const void *key, size_t key_n)
{
	const struct dw_img_group none = { 0, 0 };
	struct dw_img_section s = img->h.list[list].slots;
	if (s.n == 0)
		return none;
	const struct dw_img_slot *slots = (const struct dw_img_slot *)(img->base + s.off);
	uint32_t at = (uint32_t)hash & (s.n - 1);
	for (uint32_t probe = 0; probe < DW_IMAGE_PROBES; probe++, at = (at + 1) & (s.n - 1)) {
		if (slots[at].group.n == 0)
			return none;
		if (slots[at].hash == (uint32_t)(hash >> 32) && key_equals(img, slots[at].key_off, kind, key, key_n))
			return slots[at].group;
	}
	return none;
}

bool dw_image_range(const struct dw_image *img, struct dw_img_group g, uint32_t i, struct dw_img_range *ret)
{
	uint64_t at = (uint64_t)g.first + i;
	if (i >= g.n || at >= img->h.ranges.n)
		return false;
	memcpy(ret, img->base + img->h.ranges.off + at * sizeof(*ret), sizeof(*ret));
	return ret->entry < img->h.entries.n;
}

uint32_t dw_image_rule_at(const struct dw_image *img, struct dw_img_group g, uint16_t port)
{
	struct dw_img_range r;
	uint32_t lo = 0, hi = g.n; /* the answer is before hi: the last range that starts at or below port */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (!dw_image_range(img, g, mid, &r))
			return DW_RULE_NONE;
		if (r.lo <= port)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || !dw_image_range(img, g, lo - 1, &r))
		return DW_RULE_NONE;
	return r.lo <= port && port <= r.hi ? r.entry : DW_RULE_NONE;
}

uint32_t dw_image_rule_any(const struct dw_image *img, struct dw_img_group g)
{
	struct dw_img_range r;
	return dw_image_range(img, g, 0, &r) ? r.entry : DW_RULE_NONE;
}

bool dw_image_entry(const struct dw_image *img, uint32_t rule, struct dw_img_entry *ret, const char **ret_text)
{
	if (rule >= img->h.entries.n)
		return false;
	memcpy(ret, img->base + img->h.entries.off + (size_t)rule * sizeof(*ret), sizeof(*ret));
	if ((uint64_t)ret->text_off + ret->text_n > img->h.texts.n)
		return false;
	*ret_text = (const char *)img->base + img->h.texts.off + ret->text_off;
	return true;
}

bool dw_image_regex(const struct dw_image *img, uint32_t i, struct dw_img_regex *ret, const char **ret_pattern)
{
	if (i >= img->h.regexes.n)
		return false;
	memcpy(ret, img->base + img->h.regexes.off + (size_t)i * sizeof(*ret), sizeof(*ret));
	if ((uint64_t)ret->key_off + ret->key_n > img->h.keys.n || ret->list >= DW_LIST__COUNT)
		return false;
	*ret_pattern = (const char *)img->base + img->h.keys.off + ret->key_off;
	return true;
}
