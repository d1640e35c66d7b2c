/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons in words: the stable one for programs, the sentence for people. */
#include <assert.h>
#include <stdio.h>

#include "policy/policy.h"

struct reason {
	const char *name;
	const char *because; /* goes after "<what> was refused: " or "<what> is allowed: " */
	const char *change;  /* what to do about it; NULL: nothing */
};

#define ADD_ENTRY  "add the host name, address or CIDR to network.allow_out to open it"
#define ASK_SERVER "no policy can open it"

/* clang-format off */
static const struct reason reasons[] = {
	[DW_REASON_NONE] = { "none", "no reason was recorded", NULL },
	[DW_REASON_ALLOW_ENTRY] = { "allow_entry", "an allow_out entry covers it", NULL },
	[DW_REASON_ALLOW_NAME] = { "allow_name", "its address was resolved from a name that an allow_out entry covers", NULL },
	[DW_REASON_ALLOW_DEFAULT] = { "allow_default", "no entry denies it and the default is to allow", NULL },
	[DW_REASON_OBSERVED] = { "observed", "the policy only observes", NULL },
	[DW_REASON_FLOOR_METADATA] = { "floor_metadata", "it is a cloud metadata service", ASK_SERVER },
	[DW_REASON_FLOOR_LINK_LOCAL] = { "floor_link_local", "it is a link-local address", ASK_SERVER },
	[DW_REASON_FLOOR_LOOPBACK] = { "floor_loopback", "it is a loopback address of the server", ASK_SERVER },
	[DW_REASON_FLOOR_HOST] = { "floor_host", "it is an address of the server's own machine", ASK_SERVER },
	[DW_REASON_FLOOR_SANDBOX] = { "floor_sandbox", "it belongs to the sandboxes' own network", ASK_SERVER },
	[DW_REASON_FLOOR_RESERVED] = { "floor_reserved", "it is an unspecified, multicast, broadcast or reserved address", ASK_SERVER },
	[DW_REASON_FLOOR_EMBEDDED] = { "floor_embedded", "it is an IPv6 address with an IPv4 address inside", "use the IPv4 address" },
	[DW_REASON_NOT_IN_ALLOW_OUT] = { "not_in_allow_out", "no entry of allow_out covers it", ADD_ENTRY },
	[DW_REASON_DENY_ENTRY] = { "deny_entry", "a deny_out entry covers it", "remove or narrow that entry, or add a narrower one to network.allow_out" },
	[DW_REASON_DENY_DEFAULT] = { "deny_default", "no entry allows it and the default is to deny", ADD_ENTRY },
	[DW_REASON_PRIVATE_ADDRESS] = { "private_address", "it is a private address, which only an address or CIDR entry inside the private range opens, for its port", "add the address, or a private CIDR around it, to network.allow_out" },
	[DW_REASON_NO_POLICY] = { "no_policy", "no policy is attached to where it came from", NULL },
	[DW_REASON_NAME_NOT_ALLOWED] = { "name_not_allowed", "no entry of allow_out covers the name, so it was not looked up", "add the name or a wildcard such as *.example.com to network.allow_out" },
	[DW_REASON_NAME_MALFORMED] = { "name_malformed", "it is not a valid host name", NULL },
	[DW_REASON_PRIVATE_ANSWER] = { "private_answer", "the name resolved to private addresses only, which a name cannot open", "add the address or CIDR itself to network.allow_out" },
	[DW_REASON_PIN_LIMIT] = { "pin_limit", "the sandbox has looked up more addresses than the gate remembers", "use a new sandbox" },
	[DW_REASON_RESOLVER_FAILED] = { "resolver_failed", "the server's resolver gave no answer", "try again, or check the name" },
	[DW_REASON_SNI_MISSING] = { "sni_missing", "the TLS hello names no server (SNI), and the address is open for names only", "have the client send SNI, or add the address to network.allow_out" },
	[DW_REASON_SNI_NOT_ALLOWED] = { "sni_not_allowed", "no entry of allow_out covers the server name (SNI) on this port", "add that name to network.allow_out" },
	[DW_REASON_SNI_MISMATCH] = { "sni_mismatch", "the server name (SNI) is allowed but was not resolved to this address in this sandbox", "look the name up and connect to an address it has" },
	[DW_REASON_ECH] = { "ech", "the TLS hello hides its server name (ECH)", "switch Encrypted Client Hello off in the client, or set allow_ech in the policy" },
	[DW_REASON_TLS_MALFORMED] = { "tls_malformed", "the TLS hello is malformed or names its server twice", NULL },
	[DW_REASON_TLS_REQUIRED] = { "tls_required", "port 443 of a name must speak TLS", "speak TLS, use another port, or add the address to network.allow_out" },
	[DW_REASON_HTTP_REQUIRED] = { "http_required", "port 80 of a name must speak HTTP", "speak HTTP, use another port, or add the address to network.allow_out" },
	[DW_REASON_HTTP_MALFORMED] = { "http_malformed", "the HTTP request is malformed or can be read in two ways", NULL },
	[DW_REASON_HOST_MISSING] = { "host_missing", "the HTTP request has no Host", "have the client send a Host header" },
	[DW_REASON_HOST_NOT_ALLOWED] = { "host_not_allowed", "no entry of allow_out covers the request's Host on this port", "add that name to network.allow_out" },
	[DW_REASON_HOST_MISMATCH] = { "host_mismatch", "the request's Host is allowed but was not resolved to this address in this sandbox", "look the name up and connect to an address it has" },
	[DW_REASON_HTTP_METHOD] = { "http_method", "CONNECT would open a tunnel that nothing judges", NULL },
	[DW_REASON_HTTP_UPGRADE] = { "http_upgrade", "the request upgrades to a protocol that the gate cannot follow", "use WebSocket or TLS instead" },
	[DW_REASON_UNDECIDED] = { "undecided", "its first bytes named no server in time or in size", NULL },
	[DW_REASON_NAME_GONE] = { "name_gone", "the name behind the address has no address now", "look the name up again" },
	[DW_REASON_PROTOCOL_UNSUPPORTED] = { "protocol_unsupported", "only TCP, UDP and DNS can leave a sandbox", NULL },
	[DW_REASON_DNS_MALFORMED] = { "dns_malformed", "the DNS query is malformed", NULL },
	[DW_REASON_LIMIT_FLOWS] = { "limit_flows", "the sandbox has as many connections as it may have (limits.flows)", "close some first, or raise the limit" },
	[DW_REASON_GATE_RESOURCES] = { "gate_resources", "the server is out of memory or descriptors for it", "try again later" },
	[DW_REASON_PROXY_HEADER] = { "proxy_header", "it starts with a PROXY protocol header, behind which the server may look for another name", "leave the header out, or add the address to network.allow_out" },
	[DW_REASON_QUIC_REQUIRED] = { "quic_required", "UDP port 443 of a name must speak QUIC version 1 or 2", "use TCP, another port, or add the address to network.allow_out" },
	[DW_REASON_QUIC_MALFORMED] = { "quic_malformed", "the QUIC Initial packet is malformed or its hello never became complete", NULL },
	[DW_REASON_LIMIT_FLOW_RATE] = { "limit_flow_rate", "the sandbox starts more connections in a second than it may (limits.flows_per_second)", "start fewer, or raise the limit" },
	[DW_REASON_LIMIT_HALF_OPEN] = { "limit_half_open", "the sandbox has as many unanswered connections as it may have (limits.half_open)", "wait for answers, or raise the limit" },
	[DW_REASON_LIMIT_DNS_RATE] = { "limit_dns_rate", "the sandbox asks for more names in a second, or at one time, than it may (limits.dns_per_second)", "ask less often, or raise the limit" },
	[DW_REASON_LIMIT_DNS_NAMES] = { "limit_dns_names", "the sandbox asked for more different names under wildcards in a minute than it may (limits.names_per_minute)", "add the names themselves to network.allow_out, or raise the limit" },
	[DW_REASON_LIMIT_BYTES] = { "limit_bytes", "the sandbox has sent and received as many bytes as it may (limits.bytes)", "raise the limit" },
};
/* clang-format on */
static_assert(DW_COUNT(reasons) == DW_REASON__COUNT, "a row per reason");

static const struct reason *row(enum dw_reason reason)
{
	unsigned i = (unsigned)reason;
	return i < DW_REASON__COUNT && reasons[i].name ? &reasons[i] : &reasons[DW_REASON_NONE];
}

const char *dw_reason_name(enum dw_reason reason)
{
	return row(reason)->name;
}

const char *dw_explain(const struct dw_policy *policy, const struct dw_decision *d, const char *what, char *buf,
		       size_t size)
{
	if (size == 0)
		return "";
	bool allowed = d->verdict != DW_DENY;
	bool observed = allowed && d->reason == DW_REASON_OBSERVED;
	const struct reason *r = row(observed ? d->would : d->reason);
	char rule[320];
	dw_policy_rule_text(policy, d->rule, rule, sizeof(rule));
	bool named = rule[0] != '\0';
	const char *change = allowed && !observed ? NULL : r->change;
	const char *verdict = observed  ? "is only observed and would have been refused"
			      : allowed ? "is allowed"
					: "was refused";
	snprintf(buf, size, "%s %s: %s%s%s%s%s%s.", what, verdict, r->because, named ? " (" : "", rule,
		 named ? ")" : "", change ? "; " : "", change ? change : "");
	return buf;
}
