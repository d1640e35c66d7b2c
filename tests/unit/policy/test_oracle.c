/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions against a reading of the rules that is as plain as can be: walk the lists, entry by entry. 20,000 random
 * policies and targets from a small world, so that they meet often.
 */
#include "rows.h"
#include "support.h"

#include "policy/entry.h"
#include "policy/special.h"

#define PAIRS    20000
#define NAMES    6
#define PER_LIST 5

static uint64_t random_state = 0x2545f4914f6cdd1d;

static uint32_t pick(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % n;
}

static const char *const hosts[NAMES] = { "a.test", "b.a.test", "c.b.a.test", "test", "x.test", "ba.test" };
static const char *const addrs[] = { "1.1.1.1",     "1.1.1.2",     "1.2.0.0", "10.0.0.1", "10.0.1.1",
				     "172.16.0.1",  "127.0.0.1",   "2606::1", "2606::2",  "fd12::1",
				     "169.254.1.1", "100.112.1.1", "8.8.8.8", "11.0.0.1", "192.0.0.192" };
static const char *const heads[] = { "a.test",       "b.a.test",       "*.a.test",       "*.test",       "*.b.a.test",
				     "~[ab]\\.test", "~.*\\.a\\.test", "1.1.1.1",        "1.1.1.0/24",   "1.0.0.0/8",
				     "10.0.0.0/8",   "10.0.0.0/24",    "10.0.0.0/7",     "172.16.0.1",   "[2606::1]",
				     "[2606::/16]",  "[fd12::/16]",    "[fc00::/7]",     "0.0.0.0/1",    "*",
				     "0.0.0.0/0",    "x.test",         "169.254.0.0/16", "192.0.0.0/24", "c.b.a.test" };
static const char *const tails[] = { "", "", "", ":80", ":443", ":79-81", ":1-65535", ":400-500", ":1-79" };

/* The oracle's view of a policy. */
struct world {
	char text[2][PER_LIST][48];
	struct dw_entry entry[2][PER_LIST];
	size_t n[2];
	bool present, def;
	const char *pinned[NAMES]; /* names pinned to the target */
	size_t pinned_n;
};

static bool covers_name(const struct dw_entry *e, const char *name)
{
	size_t n = strlen(name), h = strlen(e->host);
	if (e->kind == DW_ENTRY_HOST)
		return strcmp(e->host, name) == 0;
	if (e->kind == DW_ENTRY_SUFFIX)
		return n > h && name[n - h - 1] == '.' && strcmp(name + n - h, e->host) == 0;
	if (e->kind == DW_ENTRY_REGEX && e->regex[0] == '[') /* ~[ab]\.test */
		return strcmp(name, "a.test") == 0 || strcmp(name, "b.test") == 0;
	if (e->kind == DW_ENTRY_REGEX) /* ~.*\.a\.test */
		return n > 7 && strcmp(name + n - 7, ".a.test") == 0;
	return false;
}

static bool on_port(const struct dw_entry *e, unsigned port)
{
	return e->port_lo <= port && port <= e->port_hi;
}

static bool covers_addr(const struct dw_entry *e, const struct dw_addr *a, bool allow_private)
{
	if (e->kind != DW_ENTRY_PREFIX || !dw_prefix_contains(&e->prefix, a))
		return false;
	if (!allow_private || dw_addr_classify(a) != DW_CLASS_PRIVATE)
		return true;
	static const char *const blocks[] = { "10.0.0.0/8", "172.16.0.0/12", "fc00::/7", "192.0.0.0/24" };
	for (size_t i = 0; i < DW_COUNT(blocks); i++) {
		struct dw_prefix block = prefix(blocks[i]);
		if (dw_prefix_covers(&block, &e->prefix))
			return true;
	}
	return false;
}

static bool any_addr(const struct world *w, int list, const struct dw_addr *a, unsigned port)
{
	for (size_t i = 0; i < w->n[list]; i++) {
		if (on_port(&w->entry[list][i], port) && covers_addr(&w->entry[list][i], a, list == 0))
			return true;
	}
	return false;
}

static bool any_name(const struct world *w, int list, const char *name, unsigned port)
{
	for (size_t i = 0; i < w->n[list]; i++) {
		if (on_port(&w->entry[list][i], port) && covers_name(&w->entry[list][i], name))
			return true;
	}
	return false;
}

static bool any_all(const struct world *w, int list, unsigned port)
{
	for (size_t i = 0; i < w->n[list]; i++) {
		if (w->entry[list][i].kind == DW_ENTRY_ALL && on_port(&w->entry[list][i], port))
			return true;
	}
	return false;
}

static enum dw_reason wide(const struct world *w, unsigned port)
{
	if (any_all(w, 0, port))
		return DW_REASON_ALLOW_ENTRY;
	if (w->present)
		return DW_REASON_NOT_IN_ALLOW_OUT;
	if (any_all(w, 1, port))
		return DW_REASON_DENY_ENTRY;
	return w->def ? DW_REASON_ALLOW_DEFAULT : DW_REASON_DENY_DEFAULT;
}

static enum dw_reason oracle_flow(const struct world *w, const struct dw_addr *a, unsigned port)
{
	enum dw_reason below = dw_floor_check(NULL, a);
	if (below)
		return below;
	if (any_addr(w, 0, a, port))
		return DW_REASON_ALLOW_ENTRY;
	bool private = dw_addr_classify(a) == DW_CLASS_PRIVATE;
	for (size_t i = 0; i < w->pinned_n; i++) {
		if (!private && any_name(w, 0, w->pinned[i], port))
			return DW_REASON_ALLOW_NAME;
	}
	if (any_addr(w, 1, a, port))
		return DW_REASON_DENY_ENTRY;
	for (size_t i = 0; i < w->pinned_n; i++) {
		if (any_name(w, 1, w->pinned[i], port))
			return DW_REASON_DENY_ENTRY;
	}
	return private ? DW_REASON_PRIVATE_ADDRESS : wide(w, port);
}

static enum dw_reason oracle_name(const struct world *w, const char *name, unsigned port)
{
	if (any_name(w, 0, name, port))
		return DW_REASON_ALLOW_ENTRY;
	if (any_name(w, 1, name, port))
		return DW_REASON_DENY_ENTRY;
	return wide(w, port);
}

static bool is_allowed(enum dw_reason r)
{
	return r == DW_REASON_ALLOW_ENTRY || r == DW_REASON_ALLOW_DEFAULT || r == DW_REASON_ALLOW_NAME;
}

/* All ports that can differ in this world. */
static bool oracle_query(const struct world *w, const char *name)
{
	static const unsigned ports[] = { 1, 79, 80, 81, 82, 399, 400, 443, 500, 501, 65535 };
	for (size_t i = 0; i < DW_COUNT(ports); i++) {
		if (is_allowed(oracle_name(w, name, ports[i])))
			return true;
	}
	return false;
}

static void make_world(struct world *w, struct opened *o)
{
	const char *texts[2][PER_LIST];
	for (int list = 0; list < 2; list++) {
		w->n[list] = pick(PER_LIST + 1);
		for (size_t i = 0; i < w->n[list]; i++) {
			snprintf(w->text[list][i], sizeof(w->text[list][i]), "%s%s", heads[pick(DW_COUNT(heads))],
				 tails[pick(DW_COUNT(tails))]);
			const char *why = "";
			texts[list][i] = w->text[list][i];
			if (!dw_entry_parse(texts[list][i], strlen(texts[list][i]), &w->entry[list][i], &why))
				fail_msg("%s: %s", texts[list][i], why);
		}
	}
	w->present = pick(3) > 0;
	w->def = pick(2);
	if (!w->present)
		w->n[0] = 0;
	struct dw_policy_spec spec = { texts[0], w->n[0], w->present, texts[1], w->n[1], w->def };
	size_t len;
	struct dw_err err = { 0 };
	if (dw_policy_compile(&spec, &o->image, &len, &err) != 0 ||
	    dw_policy_open(o->image, len, &o->policy, &err) != 0)
		fail_msg("%s", err.message);
}

/* The named rule really covers the target: same list as the reason says, and the port fits. */
static void check_rule(const struct world *w, const struct dw_decision *d, unsigned port)
{
	if (d->rule == DW_RULE_NONE) {
		assert_true(d->reason != DW_REASON_ALLOW_ENTRY && d->reason != DW_REASON_ALLOW_NAME &&
			    d->reason != DW_REASON_DENY_ENTRY);
		return;
	}
	int list = d->rule < w->n[0] ? 0 : 1;
	assert_int_equal(list, d->reason == DW_REASON_DENY_ENTRY);
	assert_true(on_port(&w->entry[list][d->rule - (list ? w->n[0] : 0)], port));
}

static void compare(const struct world *w, const struct dw_decision *d, enum dw_reason want, const char *target,
		    unsigned port)
{
	if (d->reason == want && (d->verdict != DW_DENY) == is_allowed(want)) {
		check_rule(w, d, port);
		return;
	}
	for (int list = 0; list < 2; list++) {
		for (size_t i = 0; i < w->n[list]; i++)
			print_error("%s %s\n", list ? "deny" : "allow", w->text[list][i]);
	}
	fail_msg("%s port %u: %s; the oracle says %s", target, port, dw_reason_name(d->reason), dw_reason_name(want));
}

static void oracle(void **state)
{
	static const uint16_t ports[] = { 1, 79, 80, 81, 443, 450, 8080, 65535 };
	unsigned allowed = 0;
	for (unsigned i = 0; i < PAIRS; i++) {
		struct world w = { .n = { 0, 0 } };
		struct opened o = { NULL, NULL };
		make_world(&w, &o);
		const char *target = addrs[pick(DW_COUNT(addrs))];
		struct dw_addr a = addr(target);
		DW_AUTO(dw_pins_free) struct dw_pins *pins = dw_pins_new();
		for (unsigned j = pick(3); j > 0; j--) {
			w.pinned[w.pinned_n] = hosts[pick(NAMES)];
			assert_true(dw_pins_add(pins, w.pinned[w.pinned_n++], &a, 1));
		}
		uint16_t port = ports[pick(DW_COUNT(ports))];
		const char *name = hosts[pick(NAMES)];
		struct dw_decision d = dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &a, port, pins);
		compare(&w, &d, oracle_flow(&w, &a, port), target, port);
		allowed += d.verdict != DW_DENY;
		d = dw_decide_name(o.policy, name, port);
		compare(&w, &d, oracle_name(&w, name, port), name, port);
		d = dw_decide_query(o.policy, name);
		if ((d.verdict != DW_DENY) != oracle_query(&w, name))
			fail_msg("query %s", name);
		close_policy(&o);
	}
	/* The world is such that both answers are common; else the test would say little. */
	assert_in_range(allowed, PAIRS / 8, PAIRS * 7 / 8);
}

int main(void)
{
	static struct rows r;
	add_row(&r, "EC-025 20,000 random policies and targets", oracle, NULL);
	return run_rows("oracle", &r);
}
