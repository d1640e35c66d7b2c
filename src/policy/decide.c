/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions. "Narrow" entries are all but "everything". What a target meets, in this order:
 *
 *   floor > narrow allow > allowed pin > narrow deny > private > "everything" in allow_out > allow_out present >
 *   "everything" in deny_out > the server's default
 *
 * Names take the same order without the steps that are about addresses.
 */
#include <string.h>

#include "core/defence.h"
#include "policy/hash.h"
#include "policy/image.h"
#include "policy/pins.h"
#include "policy/regex.h"
#include "policy/special.h"

/* A name has at most 127 suffixes, itself, and the regexes. */
#define GROUPS_MAX (128 + DW_POLICY_MAX_REGEX)

struct groups {
	struct dw_img_group g[GROUPS_MAX];
	uint32_t n;
};

/* A set of ports, for the one question that is about all of them. */
struct port_set {
	uint64_t w[1024];
};

static struct dw_decision deny(enum dw_reason reason, uint32_t rule)
{
	return (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = rule };
}

static struct dw_decision allow(enum dw_verdict verdict, enum dw_reason reason, enum dw_inspect inspect, uint32_t rule)
{
	return (struct dw_decision){ .verdict = verdict, .reason = reason, .inspect = inspect, .rule = rule };
}

static bool has_flag(const struct dw_policy *p, uint32_t flag)
{
	return (p->img.h.flags & flag) != 0;
}

static const struct dw_img_list *list_of(const struct dw_policy *p, enum dw_list list)
{
	return &p->img.h.list[list];
}

/* The groups of a list's tables that cover a name: suffixes from short to long, then the name itself. */
static void table_groups(const struct dw_policy *p, enum dw_list list, const char *name, size_t n, struct groups *ret)
{
	const struct dw_img_list *l = list_of(p, list);
	ret->n = 0;
	if (l->names == 0 || l->slots.n == 0)
		return;
	uint64_t raw = l->seed;
	for (size_t i = n; i-- > 0; raw = dw_hash_step(raw, (uint8_t)name[i])) {
		size_t suffix_n = n - i - 1;
		if (name[i] != '.' || !dw_bit(l->suffix_lens, (unsigned)suffix_n))
			continue;
		uint64_t hash = dw_image_key_hash(DW_KEY_SUFFIX, raw);
		struct dw_img_group g = dw_image_find(&p->img, list, DW_KEY_SUFFIX, hash, name + i + 1, suffix_n);
		if (g.n > 0 && ret->n < GROUPS_MAX)
			ret->g[ret->n++] = g;
	}
	struct dw_img_group g = dw_image_find(&p->img, list, DW_KEY_HOST, dw_image_key_hash(DW_KEY_HOST, raw), name, n);
	if (g.n > 0 && ret->n < GROUPS_MAX)
		ret->g[ret->n++] = g;
}

/* A match that ran into a limit counts against the flow: as no match in allow_out, as a match in deny_out. */
static bool regex_covers(const struct dw_policy *p, uint32_t i, enum dw_list list, const char *name, size_t n)
{
	if (p->regex_list[i] != list)
		return false;
	enum dw_regex_result r = dw_regex_match(p->regex[i], name, n);
	return r == DW_REGEX_YES || (r == DW_REGEX_LIMIT && list == DW_LIST_DENY);
}

static void regex_groups(const struct dw_policy *p, enum dw_list list, const char *name, size_t n, struct groups *add)
{
	for (uint32_t i = 0; i < p->regex_n; i++) {
		if (add->n < GROUPS_MAX && regex_covers(p, i, list, name, n))
			add->g[add->n++] = p->regex_group[i];
	}
}

/* The narrow entry of a list that covers a name on a port: exact, then the longest wildcard, then regexes. */
static uint32_t name_rule(const struct dw_policy *p, enum dw_list list, const char *name, size_t n, uint16_t port)
{
	struct groups g;
	table_groups(p, list, name, n, &g);
	for (uint32_t i = g.n; i-- > 0;) {
		uint32_t rule = dw_image_rule_at(&p->img, g.g[i], port);
		if (rule != DW_RULE_NONE)
			return rule;
	}
	for (uint32_t i = 0; i < p->regex_n; i++) {
		uint32_t rule = dw_image_rule_at(&p->img, p->regex_group[i], port);
		if (rule != DW_RULE_NONE && regex_covers(p, i, list, name, n))
			return rule;
	}
	return DW_RULE_NONE;
}

/* Clears the bits of a from len on. */
static void mask_addr(uint8_t *b, size_t bytes, unsigned len)
{
	size_t whole = len / 8;
	if (whole >= bytes)
		return;
	b[whole] &= (uint8_t)(0xff00 >> (len % 8));
	memset(b + whole + 1, 0, bytes - whole - 1);
}

/*
 * The rule of the longest prefix of at least min_len that covers the address and (unless port is -1) the port. Lengths run
 * downwards, so that the key only ever loses bits.
 */
static uint32_t prefix_rule(const struct dw_policy *p, enum dw_list list, const struct dw_addr *a, unsigned min_len,
			    int port)
{
	const struct dw_img_list *l = list_of(p, list);
	bool is4 = a->family == DW_AF_4;
	const uint64_t *lens = is4 ? &l->prefix4_lens : l->prefix6_lens;
	enum dw_key_kind kind = is4 ? DW_KEY_PREFIX4 : DW_KEY_PREFIX6;
	if (is4 ? !lens[0] : !(lens[0] | lens[1] | lens[2]))
		return DW_RULE_NONE;
	size_t bytes = is4 ? 4 : 16;
	uint8_t key[17];
	memcpy(key, a->b, bytes);
	for (unsigned len = dw_addr_bits(a) + 1; len-- > min_len;) {
		if (!dw_bit(lens, len))
			continue;
		mask_addr(key, bytes, len);
		key[bytes] = (uint8_t)len;
		uint64_t hash = dw_image_key_hash(kind, dw_hash_bytes(l->seed, key, bytes + 1));
		struct dw_img_group g = dw_image_find(&p->img, list, kind, hash, key, bytes + 1);
		uint32_t rule = port < 0 ? dw_image_rule_any(&p->img, g) : dw_image_rule_at(&p->img, g, (uint16_t)port);
		if (rule != DW_RULE_NONE)
			return rule;
	}
	return DW_RULE_NONE;
}

/* A private address is opened only by prefixes inside its private block; excepted ones count as public. */
static unsigned min_allow_len(const struct dw_floor *floor, const struct dw_addr *a)
{
	return dw_floor_is_private(floor, a) ? dw_addr_block_of(a).len : 0;
}

/* The first pinned name of the address that the list covers on the port, of those that were asked for last. */
static uint32_t pinned_rule(const struct dw_policy *p, enum dw_list list, const struct dw_pins *pins,
			    const struct dw_addr *a, uint16_t port)
{
	if (!pins || list_of(p, list)->names == 0)
		return DW_RULE_NONE;
	struct dw_pin pin;
	uint32_t iter = 0;
	for (unsigned i = 0; i < DW_PINS_WALK_MAX && dw_pins_next(pins, a, &iter, &pin); i++) {
		uint32_t rule = name_rule(p, list, pin.name, strlen(pin.name), port);
		if (rule != DW_RULE_NONE)
			return rule;
	}
	return DW_RULE_NONE;
}

/* Allowed by something wide: names that deny_out lists are still refused where they show, and an observer wants to know them. */
static struct dw_decision allow_wide(const struct dw_policy *p, enum dw_reason reason, uint32_t rule)
{
	bool names = dw_policy_denies_names(p) || dw_policy_observes(p);
	return allow(DW_ALLOW, reason, names ? DW_INSPECT_DENY_NAMES : DW_INSPECT_NONE, rule);
}

/* What is left when no narrow entry spoke. */
static struct dw_decision decide_default(const struct dw_policy *p, uint16_t port)
{
	if (!dw_defended(DW_DEFENCE_FLOW_POLICY))
		return allow_wide(p, DW_REASON_ALLOW_DEFAULT, DW_RULE_NONE);
	uint32_t rule = dw_image_rule_at(&p->img, list_of(p, DW_LIST_ALLOW)->all, port);
	if (rule != DW_RULE_NONE)
		return allow_wide(p, DW_REASON_ALLOW_ENTRY, rule);
	if (has_flag(p, DW_IMAGE_ALLOW_PRESENT))
		return deny(DW_REASON_NOT_IN_ALLOW_OUT, DW_RULE_NONE);
	rule = dw_image_rule_at(&p->img, list_of(p, DW_LIST_DENY)->all, port);
	if (rule != DW_RULE_NONE)
		return deny(DW_REASON_DENY_ENTRY, rule);
	if (!has_flag(p, DW_IMAGE_DEFAULT_ALLOW))
		return deny(DW_REASON_DENY_DEFAULT, DW_RULE_NONE);
	return allow_wide(p, DW_REASON_ALLOW_DEFAULT, DW_RULE_NONE);
}

struct dw_decision dw_decide_flow(const struct dw_policy *policy, const struct dw_floor *floor, enum dw_proto proto,
				  const struct dw_addr *dst, uint16_t port, const struct dw_pins *pins)
{
	if (!policy)
		return deny(DW_REASON_NO_POLICY, DW_RULE_NONE);
	struct dw_addr a = dw_addr_normal(dst);
	enum dw_reason below = dw_floor_check(floor, &a);
	if (below != DW_REASON_NONE)
		return deny(below, DW_RULE_NONE);
	if (proto != DW_PROTO_TCP && proto != DW_PROTO_UDP)
		return deny(DW_REASON_PROTOCOL_UNSUPPORTED, DW_RULE_NONE);

	unsigned min_len = min_allow_len(floor, &a);
	uint32_t rule = prefix_rule(policy, DW_LIST_ALLOW, &a, min_len, port);
	if (rule != DW_RULE_NONE)
		return allow(DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_INSPECT_NONE, rule);
	/*
	 * A name never opens a private address: an answer may be private because an address entry opens one port of
	 * it, and the name must not open the others.
	 */
	bool private = min_len > 0;
	if (!private) {
		rule = pinned_rule(policy, DW_LIST_ALLOW, pins, &a, port);
		if (rule != DW_RULE_NONE)
			return allow(DW_ALLOW_BY_NAME, DW_REASON_ALLOW_NAME, DW_INSPECT_STRICT, rule);
	}
	rule = prefix_rule(policy, DW_LIST_DENY, &a, 0, port);
	if (rule == DW_RULE_NONE)
		rule = pinned_rule(policy, DW_LIST_DENY, pins, &a, port);
	if (rule != DW_RULE_NONE)
		return deny(DW_REASON_DENY_ENTRY, rule);
	if (private)
		return deny(DW_REASON_PRIVATE_ADDRESS, DW_RULE_NONE);
	return decide_default(policy, port);
}

struct dw_decision dw_decide_name(const struct dw_policy *policy, const char *name, uint16_t port)
{
	if (!policy)
		return deny(DW_REASON_NO_POLICY, DW_RULE_NONE);
	size_t n = strnlen(name, DW_HOST_SIZE);
	if (n == 0 || n > DW_HOST_MAX)
		return deny(DW_REASON_NAME_MALFORMED, DW_RULE_NONE);
	uint32_t rule = name_rule(policy, DW_LIST_ALLOW, name, n, port);
	if (rule != DW_RULE_NONE)
		return allow(DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_INSPECT_STRICT, rule);
	rule = name_rule(policy, DW_LIST_DENY, name, n, port);
	if (rule != DW_RULE_NONE)
		return deny(DW_REASON_DENY_ENTRY, rule);
	return decide_default(policy, port);
}

static void set_ports(struct port_set *s, unsigned lo, unsigned hi, bool to)
{
	for (unsigned w = lo / 64; w <= hi / 64; w++) {
		uint64_t mask = UINT64_MAX;
		if (w == lo / 64)
			mask &= UINT64_MAX << (lo % 64);
		if (w == hi / 64)
			mask &= UINT64_MAX >> (63 - hi % 64);
		s->w[w] = to ? s->w[w] | mask : s->w[w] & ~mask;
	}
}

static void set_group(const struct dw_policy *p, struct port_set *s, struct dw_img_group g, bool to)
{
	struct dw_img_range r;
	for (uint32_t i = 0; dw_image_range(&p->img, g, i, &r); i++) {
		if (r.lo <= r.hi)
			set_ports(s, r.lo, r.hi, to);
	}
}

/* Whether a name that narrow deny entries take some ports from is left with one that the wide rules allow. */
static bool any_port_left(const struct dw_policy *p, const struct groups *denied)
{
	struct port_set open = { 0 };
	bool by_allow = list_of(p, DW_LIST_ALLOW)->all.n > 0;
	if (by_allow) {
		set_group(p, &open, list_of(p, DW_LIST_ALLOW)->all, true);
	} else {
		set_ports(&open, 1, UINT16_MAX, true);
		set_group(p, &open, list_of(p, DW_LIST_DENY)->all, false);
	}
	for (uint32_t i = 0; i < denied->n; i++)
		set_group(p, &open, denied->g[i], false);
	open.w[0] &= ~UINT64_C(1); /* port 0 is no port */
	for (size_t i = 0; i < DW_COUNT(open.w); i++) {
		if (open.w[i])
			return true;
	}
	return false;
}

/* A name without a narrow allow entry: what the wide rules say of it on any port. */
static struct dw_decision query_default(const struct dw_policy *p, const struct groups *denied)
{
	const struct dw_img_list *allow_list = list_of(p, DW_LIST_ALLOW), *deny_list = list_of(p, DW_LIST_DENY);
	bool by_default =
		!has_flag(p, DW_IMAGE_ALLOW_PRESENT) && has_flag(p, DW_IMAGE_DEFAULT_ALLOW) && !deny_list->all_ports;
	bool open = allow_list->all.n > 0 || by_default;
	if (open && (denied->n == 0 || any_port_left(p, denied))) {
		uint32_t rule = dw_image_rule_any(&p->img, allow_list->all);
		return allow_wide(p, rule == DW_RULE_NONE ? DW_REASON_ALLOW_DEFAULT : DW_REASON_ALLOW_ENTRY, rule);
	}
	if (denied->n > 0)
		return deny(DW_REASON_DENY_ENTRY, dw_image_rule_any(&p->img, denied->g[0]));
	if (has_flag(p, DW_IMAGE_ALLOW_PRESENT))
		return deny(DW_REASON_NAME_NOT_ALLOWED, DW_RULE_NONE);
	if (deny_list->all.n > 0)
		return deny(DW_REASON_DENY_ENTRY, dw_image_rule_any(&p->img, deny_list->all));
	return deny(DW_REASON_DENY_DEFAULT, DW_RULE_NONE);
}

struct dw_decision dw_decide_query(const struct dw_policy *policy, const char *name)
{
	if (!policy)
		return deny(DW_REASON_NO_POLICY, DW_RULE_NONE);
	size_t n = strnlen(name, DW_HOST_SIZE);
	if (n == 0 || n > DW_HOST_MAX)
		return deny(DW_REASON_NAME_MALFORMED, DW_RULE_NONE);
	if (!dw_defended(DW_DEFENCE_DNS_POLICY))
		return allow_wide(policy, DW_REASON_ALLOW_DEFAULT, DW_RULE_NONE);
	struct groups g;
	table_groups(policy, DW_LIST_ALLOW, name, n, &g);
	if (g.n == 0)
		regex_groups(policy, DW_LIST_ALLOW, name, n, &g);
	if (g.n > 0) {
		uint32_t rule = dw_image_rule_any(&policy->img, g.g[g.n - 1]);
		return allow(DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_INSPECT_STRICT, rule);
	}
	table_groups(policy, DW_LIST_DENY, name, n, &g);
	regex_groups(policy, DW_LIST_DENY, name, n, &g);
	return query_default(policy, &g);
}

enum dw_reason dw_decide_answer(const struct dw_policy *policy, const struct dw_floor *floor,
				const struct dw_addr *addr)
{
	if (!policy)
		return DW_REASON_NO_POLICY;
	if (!dw_defended(DW_DEFENCE_ANSWER_FILTER))
		return DW_REASON_NONE;
	struct dw_addr a = dw_addr_normal(addr);
	enum dw_reason below = dw_floor_check(floor, &a);
	if (below != DW_REASON_NONE)
		return below;
	unsigned min_len = min_allow_len(floor, &a);
	if (min_len > 0 && prefix_rule(policy, DW_LIST_ALLOW, &a, min_len, -1) == DW_RULE_NONE)
		return DW_REASON_PRIVATE_ANSWER;
	return DW_REASON_NONE;
}

bool dw_policy_rejects(const struct dw_policy *p)
{
	return p && has_flag(p, DW_IMAGE_REJECT);
}

bool dw_policy_allows_ech(const struct dw_policy *p)
{
	return p && has_flag(p, DW_IMAGE_ALLOW_ECH);
}

bool dw_policy_denies_names(const struct dw_policy *p)
{
	return p && list_of(p, DW_LIST_DENY)->names > 0;
}

bool dw_policy_observes(const struct dw_policy *p)
{
	return p && has_flag(p, DW_IMAGE_OBSERVE);
}

/* What the lists refuse and a wide-open policy would not. */
static bool is_observable(enum dw_reason reason)
{
	static const enum dw_reason list[] = {
		DW_REASON_NOT_IN_ALLOW_OUT, DW_REASON_DENY_ENTRY,
		DW_REASON_DENY_DEFAULT,     DW_REASON_NAME_NOT_ALLOWED,
		DW_REASON_SNI_MISSING,      DW_REASON_SNI_NOT_ALLOWED,
		DW_REASON_SNI_MISMATCH,     DW_REASON_ECH,
		DW_REASON_TLS_MALFORMED,    DW_REASON_TLS_REQUIRED,
		DW_REASON_HTTP_REQUIRED,    DW_REASON_HTTP_MALFORMED,
		DW_REASON_HOST_MISSING,     DW_REASON_HOST_NOT_ALLOWED,
		DW_REASON_HOST_MISMATCH,    DW_REASON_HTTP_METHOD,
		DW_REASON_HTTP_UPGRADE,     DW_REASON_UNDECIDED,
		DW_REASON_PROXY_HEADER,     DW_REASON_QUIC_REQUIRED,
		DW_REASON_QUIC_MALFORMED,
	};

	for (size_t i = 0; i < DW_COUNT(list); i++) {
		if (list[i] == reason)
			return true;
	}
	return false;
}

struct dw_decision dw_decide_observed(const struct dw_policy *policy, const struct dw_floor *floor,
				      const struct dw_addr *dst, struct dw_decision d)
{
	if (!dw_policy_observes(policy))
		return d;
	if (d.verdict != DW_DENY) {
		if (d.inspect == DW_INSPECT_STRICT)
			d.inspect = DW_INSPECT_OBSERVE;
		return d;
	}
	if (!is_observable(d.reason))
		return d;
	if (dst && (dw_floor_check(floor, dst) != DW_REASON_NONE || dw_floor_is_private(floor, dst)))
		return deny(DW_REASON_PRIVATE_ADDRESS, d.rule);
	return (struct dw_decision){
		.verdict = DW_ALLOW,
		.reason = DW_REASON_OBSERVED,
		.inspect = DW_INSPECT_OBSERVE,
		.rule = d.rule,
		.would = d.reason,
	};
}
