/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision: may this flow leave, by which rule, and if not, why not. Pure: no clock, no I/O, no globals.
 *
 * A policy is compiled once, by whoever accepts it, into one position-independent block of bytes (the "image"). Whoever
 * enforces it maps that block and asks; so handing a policy over costs the same for 1 and for 10,000 entries, and a
 * decision costs the same too (hash tables and per-length prefix tables, no lists to walk).
 *
 * Meaning of the two lists (the product's documented rules, read strictly):
 *  - an entry is `host`, `*.host` (any depth, not the apex), `~regex` (PCRE2, must match the whole canonical name),
 *    an IPv4/IPv6 address or CIDR, each optionally with `:port` or `:port-port` (IPv6 with a port is `[addr]:port`),
 *    or everything: `*`, `0.0.0.0/0`, `::/0` (`*:443` = everything on that port). `0.0.0.0/0` means both families.
 *  - allow_out present (also when empty): what no entry names is denied. absent: the server's default decides, after
 *    deny_out.
 *  - an "everything" entry sets the default of its list and does not outrank narrower entries of the other list; of
 *    narrower entries, allow beats deny. Everything in both lists: allow.
 *  - the floor beats every entry. Private ranges open only by an allow entry whose prefix lies inside one private block
 *    (so never by "everything"), or by an operator exception.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"
#include "policy/host.h"

/* Limits, each a refusal with code "invalid_network_entry" or "network_policy_too_large". */
#define DW_POLICY_MAX_ENTRIES  100000u /* both lists together */
#define DW_POLICY_MAX_REGEX    64u     /* they are tried one by one */
#define DW_POLICY_REGEX_MAXLEN 1000u
#define DW_POLICY_ENTRY_MAXLEN 1024u

enum dw_proto {
	DW_PROTO_NONE = 0,
	DW_PROTO_TCP,
	DW_PROTO_UDP,
	DW_PROTO_ICMP,
	DW_PROTO_DNS, /* a query: the port is 0 */
	DW_PROTO_OTHER,
};

enum dw_verdict {
	DW_DENY = 0,
	DW_ALLOW,         /* as it is */
	DW_ALLOW_BY_NAME, /* because of a pin: the flow must prove its name as it starts (policy_decide_name_on_flow) */
};

/* What the address decision says about looking at the first bytes of the flow. */
enum dw_inspect {
	DW_INSPECT_STRICT = 0, /* name-pinned: TLS and HTTP must name an allowed host; 443 is TLS, 80 is HTTP */
	DW_INSPECT_DENY_NAMES, /*
				* allowed by "everything" or the default, but deny_out has names: refuse only those, where
				* seen (dw_decide_name says deny). A narrower address entry beats them: INSPECT_NONE.
				*/
	DW_INSPECT_NONE,       /* splice at once */
	DW_INSPECT_OBSERVE, /* the policy only observes: look as in STRICT, note what that would have refused, let it pass */
};

/* One reason for one refusal, the same word in DNS texts, HTTP bodies, records and explanations. */
enum dw_reason {
	DW_REASON_NONE = 0,
	/* allowed */
	DW_REASON_ALLOW_ENTRY,   /* an allow_out entry (rule) */
	DW_REASON_ALLOW_NAME,    /* a pin of a name that an allow_out entry (rule) covers */
	DW_REASON_ALLOW_DEFAULT, /* nothing denies it and the default is allow */
	DW_REASON_OBSERVED, /* it would have been refused (dw_decision.would says why), but the policy only observes */
	/* refused by the floor */
	DW_REASON_FLOOR_METADATA, /* cloud metadata services */
	DW_REASON_FLOOR_LINK_LOCAL,
	DW_REASON_FLOOR_LOOPBACK,
	DW_REASON_FLOOR_HOST,     /* an address of the server's own machine */
	DW_REASON_FLOOR_SANDBOX,  /* the sandboxes' own range, the gateway included */
	DW_REASON_FLOOR_RESERVED, /* unspecified, multicast, broadcast, class E */
	DW_REASON_FLOOR_EMBEDDED, /* NAT64, 6to4, Teredo, IPv4-compatible: an IPv4 address in disguise */
	/* refused by the policy */
	DW_REASON_NOT_IN_ALLOW_OUT,
	DW_REASON_DENY_ENTRY,
	DW_REASON_DENY_DEFAULT,
	DW_REASON_PRIVATE_ADDRESS,
	DW_REASON_NO_POLICY, /* nothing is attached for this source */
	/* refused names (DNS) */
	DW_REASON_NAME_NOT_ALLOWED,
	DW_REASON_NAME_MALFORMED,
	DW_REASON_PRIVATE_ANSWER, /* the name resolved to addresses that only an address entry could open */
	DW_REASON_PIN_LIMIT,
	DW_REASON_RESOLVER_FAILED,
	/* refused as the flow started */
	DW_REASON_SNI_MISSING,
	DW_REASON_SNI_NOT_ALLOWED, /* the policy has no entry for this name and port */
	DW_REASON_SNI_MISMATCH,    /* allowed name, but not resolved to this address by this sandbox */
	DW_REASON_ECH,
	DW_REASON_TLS_MALFORMED,
	DW_REASON_TLS_REQUIRED,  /* port 443 of a name that does not speak TLS */
	DW_REASON_HTTP_REQUIRED, /* port 80 of a name that does not speak HTTP */
	DW_REASON_HTTP_MALFORMED,
	DW_REASON_HOST_MISSING,
	DW_REASON_HOST_NOT_ALLOWED,
	DW_REASON_HOST_MISMATCH,
	DW_REASON_HTTP_METHOD,  /* CONNECT */
	DW_REASON_HTTP_UPGRADE, /* an Upgrade the gate cannot follow */
	DW_REASON_UNDECIDED,    /* the first bytes never became decidable in time or size */
	DW_REASON_NAME_GONE,    /* the pinned name resolves to nothing dialable now */
	/* refused for another reason */
	DW_REASON_PROTOCOL_UNSUPPORTED,
	DW_REASON_DNS_MALFORMED,
	DW_REASON_LIMIT_FLOWS,
	DW_REASON_GATE_RESOURCES,
	DW_REASON_PROXY_HEADER,    /* a PROXY protocol header, behind which a server would look for a name again */
	DW_REASON_QUIC_REQUIRED,   /* UDP port 443 of a name that does not speak QUIC version 1 or 2 */
	DW_REASON_QUIC_MALFORMED,  /* an Initial that can be read in two ways, or whose hello never became complete */
	DW_REASON_LIMIT_FLOW_RATE, /* new flows per second */
	DW_REASON_LIMIT_HALF_OPEN, /* flows without an answer or a verdict yet */
	DW_REASON_LIMIT_DNS_RATE,  /* queries per second, or waiting at one time */
	DW_REASON_LIMIT_DNS_NAMES, /* different names under wildcards per minute */
	DW_REASON_LIMIT_BYTES,     /* the byte quota is spent */
	DW_REASON__COUNT,
};

/* Stable snake_case word of a reason ("not_in_allow_out"); never NULL. */
const char *dw_reason_name(enum dw_reason reason);

#define DW_RULE_NONE UINT32_MAX

struct dw_decision {
	enum dw_verdict verdict;
	enum dw_reason reason;
	enum dw_inspect inspect; /* only for verdicts other than deny */
	uint32_t rule;           /* index for dw_policy_rule_text, or DW_RULE_NONE */
	enum dw_reason would;    /* with OBSERVED: the reason of the refusal that did not happen; else NONE */
};

/* The lists as a client wrote them. Borrowed for the call. */
struct dw_policy_spec {
	const char *const *allow;
	size_t allow_n;
	bool allow_present; /* allow_out was given, maybe empty */
	const char *const *deny;
	size_t deny_n;
	bool default_allow; /* the server's default where allow_out is absent and deny_out has no "everything" */
	bool reject;        /* "blocked": "reject": refused flows are answered (RST, ICMP) instead of dropped */
	bool observe;       /* "mode": "observe": see dw_decide_observed; allow_out counts as present */
	bool allow_ech;     /* "allow_ech": true: a hello with ECH is judged by its outer name instead of refused */
};

/*
 * Checks every entry and builds the image: malloc'ed, *ret_len bytes, the caller frees. Returns 0, or -1 with err:
 * kind INVALID, code "invalid_network_entry", a message that quotes the entry (escaped, shortened), says what is wrong
 * with it and names the list: `network.allow_out[3]: "a b": ...`. Regexes: no back-references, look-around, recursion or
 * nested unbounded quantifiers; they are also tried against hostile names under a match limit.
 */
int DW_MUST_USE dw_policy_compile(const struct dw_policy_spec *spec, void **ret_image, size_t *ret_len,
				  struct dw_err *err);

/* An opened image: the bytes plus what cannot live in them (compiled regexes). Immutable; free with dw_policy_close. */
struct dw_policy;

/*
 * Borrows image (8-byte aligned, as malloc and mmap give it) until dw_policy_close. Checks magic, version and every
 * section's bounds; -1 with err when off. What open does not check the decisions check as they go: a damaged image can give
 * a wrong answer, never an access outside it.
 */
int DW_MUST_USE dw_policy_open(const void *image, size_t len, struct dw_policy **ret, struct dw_err *err);
void dw_policy_close(struct dw_policy *p);
DW_DEFINE_CLEANUP(struct dw_policy *, dw_policy_close)

/* Whether a rule is a `*.host` or `~regex` entry, under which names without number can be asked for. */
bool dw_policy_rule_is_pattern(const struct dw_policy *p, uint32_t rule);

/* The switches of the spec. A NULL policy has none of them on. */
bool dw_policy_rejects(const struct dw_policy *p);
bool dw_policy_allows_ech(const struct dw_policy *p);
bool dw_policy_observes(const struct dw_policy *p);
/* Whether deny_out has names, so that a flow which something wide allows can be refused for what it shows. */
bool dw_policy_denies_names(const struct dw_policy *p);

/* The entry as written, prefixed by its list: "allow_out[0] api.github.com". "" for DW_RULE_NONE. NUL-terminated. */
const char *dw_policy_rule_text(const struct dw_policy *p, uint32_t rule, char *buf, size_t size);

/*
 * What no policy can open, and what the operator excepted. Built by the gate from the machine it runs on.
 * host/host_n: the addresses of the machine. exceptions: see dw_floor_check.
 */
struct dw_floor {
	const struct dw_addr *host;
	size_t host_n;
	const struct dw_prefix *exceptions; /* --allow-private */
	size_t exceptions_n;
};

enum dw_addr_class {
	DW_CLASS_RESERVED =
		0, /* 0/8, 240/4, multicast, broadcast, ::, ff00::/8, 100::/64, 3fff::/20... never global unicast */
	DW_CLASS_PUBLIC,
	DW_CLASS_PRIVATE, /* RFC 1918, ULA, CGNAT, benchmarking, documentation, 192.0.0.0/24, site-local */
	DW_CLASS_LOOPBACK,
	DW_CLASS_LINK_LOCAL,
	DW_CLASS_METADATA, /* 169.254.169.254 and the others of EC-104 class: 100.100.100.200, 168.63.129.16, 192.0.0.192, fd00:ec2::254 */
	DW_CLASS_EMBEDDED, /* 64:ff9b::/96, 64:ff9b:1::/48, 2002::/16, 2001::/32, ::/96 other than :: and ::1 */
	DW_CLASS_SANDBOX,  /* core/netplan.h */
};
enum dw_addr_class dw_addr_classify(const struct dw_addr *a);

/*
 * The floor's word on an address: DW_REASON_NONE (not below the floor), or the FLOOR_* reason. An operator exception
 * lifts FLOOR_LINK_LOCAL and FLOOR_METADATA when its prefix lies inside that block, FLOOR_HOST only when it is that very address
 * (/32, /128); it never lifts loopback, sandbox, reserved or embedded.
 */
enum dw_reason dw_floor_check(const struct dw_floor *floor, const struct dw_addr *a);

/* Private and not excepted by the operator. */
bool dw_floor_is_private(const struct dw_floor *floor, const struct dw_addr *a);

struct dw_pins; /* policy/pins.h */

/*
 * May a flow to dst:port start? Total: every input gives a decision. policy NULL = deny, NO_POLICY. pins may be NULL.
 * Order: floor; an allow entry for the address and port; a pin whose name an allow entry covers on this port
 * (ALLOW_BY_NAME, STRICT; never for a private address that is not excepted, since a name does not open one); a deny entry
 * for the address, or a pin of this address whose name deny_out names; private; then "everything" in allow_out; allow_out
 * present = NOT_IN_ALLOW_OUT; "everything" in deny_out = DENY_ENTRY; else the default. Of an address's pins the DW_PINS_WALK_MAX
 * that were asked for last count.
 * TCP and UDP are judged alike (whether UDP is relayed at all is the caller's matter); any other proto is
 * PROTOCOL_UNSUPPORTED where the floor has no word. An IPv4-mapped dst is judged as IPv4.
 */
struct dw_decision dw_decide_flow(const struct dw_policy *policy, const struct dw_floor *floor, enum dw_proto proto,
				  const struct dw_addr *dst, uint16_t port, const struct dw_pins *pins);

/*
 * May this canonical name be resolved at all, that is, does dw_decide_name allow it on at least one port? Reasons when
 * not: DENY_ENTRY, NAME_NOT_ALLOWED (allow_out present), DENY_DEFAULT; NAME_MALFORMED when empty or over 253 bytes.
 */
struct dw_decision dw_decide_query(const struct dw_policy *policy, const char *name);

/*
 * Does the policy allow this canonical name on this port? (STRICT flows: SNI and Host.) reason NOT_IN_ALLOW_OUT,
 * DENY_ENTRY or DENY_DEFAULT when not (NAME_MALFORMED as above). The caller turns these into SNI_/HOST_NOT_ALLOWED.
 * inspect is STRICT when a narrow entry allows it.
 */
struct dw_decision dw_decide_name(const struct dw_policy *policy, const char *name, uint16_t port);

/*
 * Is this address usable as an answer for a name? (Not below the floor, and not private unless excepted or opened by an
 * address entry on some port.) Returns DW_REASON_NONE or why not.
 */
enum dw_reason dw_decide_answer(const struct dw_policy *policy, const struct dw_floor *floor, const struct dw_addr *a);

/*
 * What becomes of a decision under a policy that only observes: a refusal by the lists (of an address, a name, or what a
 * flow showed as it started) turns into ALLOW with reason OBSERVED, inspect OBSERVE and `would` set; the floor, private
 * addresses, malformed input, limits and failures stay refused, as they would under `allow_out: ["*"]`. STRICT becomes OBSERVE.
 * Under any other policy the decision comes back as it is. dst: the flow's destination, NULL for a name.
 */
struct dw_decision dw_decide_observed(const struct dw_policy *policy, const struct dw_floor *floor,
				      const struct dw_addr *dst, struct dw_decision d);

/*
 * One sentence for people: what was asked, which rule or the lack of which refused it, what to change. what is a
 * printable target such as "1.1.1.1:80/tcp" or a name. Returns buf.
 */
const char *dw_explain(const struct dw_policy *policy, const struct dw_decision *d, const char *what, char *buf,
		       size_t size);
