/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream names, through libunbound: a forwarding cache in a thread of this process.
 *
 * The thread is the only place where bytes of the resolvers are read before they are checked here again: the answer
 * packet is parsed by wire/dns.h, which takes only what is on the chain from the queried name. Nothing libunbound
 * says about a result (canonical name, data) is used.
 *
 * Every question has a deadline of our own, for libunbound's patience is sized for servers that are far away. A
 * question that is cancelled or late is forgotten, not taken back (libunbound keeps a cancelled one as long anyway):
 * its struct lives until the thread is done with it, and counts against the bound meanwhile.
 *
 * What is switched off: the hosts file and resolv.conf (never read unless asked to), DNSSEC validation (it needs a
 * root key and clock of our own; the resolvers named by the operator are trusted), the built-in local zones that
 * would answer for names an operator may have (test., home.arpa.), and the filter for private addresses: which answer
 * is usable is for the policy to say, and only the gate knows it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unbound.h>

#include "gate/resolver.h"
#include "wire/dns.h"

/* Questions at libunbound, the forgotten ones included; a few KiB each. Several sandboxes' worth of their own limit. */
#define RESOLVE_MAX 16384u

#define CLASS_IN 1

struct gate_resolver {
	struct gate *g;
	struct ub_ctx *ctx; /* NULL: no resolver is configured, everything fails */
	struct dw_watch watch;
	uint32_t outstanding;
	struct gate_resolve *all; /* at libunbound */
	/* Of the result being delivered. */
	struct dw_dns_answer answer;
	struct dw_dns_https https[DW_DNS_HTTPS_MAX];
};

struct gate_resolve {
	struct gate_resolve *next, **link; /* of all at libunbound */
	struct gate *g;
	void (*cb)(void *arg, const struct gate_resolve_result *r); /* NULL: nobody waits any more */
	void *arg;
	struct dw_timer deadline;
	struct dw_defer fail_later;
	bool upstream; /* libunbound holds a pointer to this */
	uint16_t qtype;
	char name[DW_HOST_SIZE];
};

struct setting {
	const char *key, *value;
};

static const struct setting settings[] = {
	{ "module-config:", "iterator" },
	{ "do-not-query-localhost:", "no" }, /* the machine's own stub resolver is a common upstream */
	{ "do-ip4:", "yes" },
	{ "do-ip6:", "yes" },
	/* Sockets to the resolvers at a time (GATE_RESOLVE_SLOTS). The library's 16 would let one slow zone hold up everybody. */
	{ "outgoing-range:", "4096" },
	{ "outgoing-num-tcp:", "64" },
	{ "num-queries-per-thread:", "8192" },
	{ "msg-cache-size:", "16m" },
	{ "rrset-cache-size:", "32m" },
	{ "cache-min-ttl:", "0" },
	{ "cache-max-ttl:", "3600" },
	{ "cache-max-negative-ttl:", "60" },
	{ "harden-glue:", "yes" },
	{ "harden-short-bufsize:", "yes" },
	{ "harden-referral-path:", "no" },
	{ "qname-minimisation:", "no" }, /* the resolver does that; to a forwarder it would only repeat questions */
	{ "serve-expired:", "no" },
	{ "prefetch:", "no" },
	{ "edns-buffer-size:", "1232" },
	/*
	 * What libunbound remembers of a resolver's time-outs is forgotten after a second. It remembers per resolver,
	 * not per name: a sandbox that asks for names whose servers never answer would otherwise make it give the
	 * resolver up, for all sandboxes and for minutes (measured; a low infra-cache-max-rtt makes that worse).
	 * Tries are bounded by number instead, which takes about 6 s; the price is that a dead one of two resolvers
	 * is tried now and then.
	 */
	{ "infra-host-ttl:", "1" },
	{ "infra-keep-probing:", "yes" },
	{ "outbound-msg-retry:", "10" },
	{ "use-syslog:", "no" },
	{ "verbosity:", "0" },
};

static int settle(struct dw_err *err, int r, const char *what, const char *value)
{
	if (r == 0)
		return 0;
	return dw_err_set(err, DW_ERR_INTERNAL, "internal", "resolver: %s %s: %s", what, value, ub_strerror(r));
}

static int configure(const struct gate *g, struct ub_ctx *ctx, struct dw_err *err)
{
	static const char *const forward_instead[] = { "test.", "home.arpa." };
	char server[DW_ADDR_STRLEN + 8];
	char text[DW_ADDR_STRLEN];

	for (size_t i = 0; i < DW_COUNT(settings); i++) {
		if (settle(err, ub_ctx_set_option(ctx, settings[i].key, settings[i].value), settings[i].key,
			   settings[i].value) < 0)
			return -1;
	}
	for (size_t i = 0; i < g->config.resolver_n; i++) {
		snprintf(server, sizeof(server), "%s@%u", dw_addr_format(&g->config.resolver[i].addr, text),
			 g->config.resolver[i].port);
		if (settle(err, ub_ctx_set_fwd(ctx, server), "server", server) < 0)
			return -1;
	}
	if (settle(err, ub_ctx_async(ctx, 1), "thread", "") < 0)
		return -1;
	for (size_t i = 0; i < DW_COUNT(forward_instead); i++) {
		if (settle(err, ub_ctx_zone_remove(ctx, forward_instead[i]), "zone", forward_instead[i]) < 0)
			return -1;
	}
	return 0;
}

static void deliver(struct gate_resolve *r, const struct gate_resolve_result *result)
{
	void (*cb)(void *, const struct gate_resolve_result *) = r->cb;

	r->cb = NULL;
	dw_timer_del(&r->g->loop, &r->deadline);
	if (cb)
		cb(r->arg, result);
}

static const struct gate_resolve_result failed = { .status = GATE_RESOLVE_FAILED, .rcode = DW_DNS_SERVFAIL };

static bool read_answer(struct gate_resolver *rs, const struct gate_resolve *r, const struct ub_result *u,
			struct gate_resolve_result *ret)
{
	size_t n = u->answer_len > 0 ? (size_t)u->answer_len : 0;
	struct gate_resolve_result res = { .status = GATE_RESOLVE_OK };

	if (!u->answer_packet || u->bogus)
		return false;
	if (r->qtype == DW_DNS_HTTPS) {
		res.https = rs->https;
		if (dw_dns_https_parse(u->answer_packet, n, r->name, rs->https, &res.https_n, &res.ttl, &res.rcode) !=
		    DW_PARSE_OK)
			return false;
	} else {
		if (dw_dns_answer_parse(u->answer_packet, n, r->name, r->qtype, &rs->answer) != DW_PARSE_OK ||
		    rs->answer.truncated)
			return false;
		res.answer = &rs->answer;
		res.rcode = rs->answer.rcode;
		res.ttl = rs->answer.ttl;
	}
	if (res.rcode != DW_DNS_NOERROR && res.rcode != DW_DNS_NXDOMAIN)
		return false;
	*ret = res;
	return true;
}

static void resolve_link(struct gate_resolver *rs, struct gate_resolve *r)
{
	r->upstream = true;
	r->next = rs->all;
	r->link = &rs->all;
	if (r->next)
		r->next->link = &r->next;
	rs->all = r;
	rs->outstanding++;
}

static void resolve_unlink(struct gate_resolver *rs, struct gate_resolve *r)
{
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	r->upstream = false;
	rs->outstanding--;
}

/* From ub_process, that is, from the loop. */
static void on_answer(void *arg, int error, struct ub_result *u)
{
	struct gate_resolve *r = arg;
	struct gate_resolver *rs = r->g->resolver;
	struct gate_resolve_result result;

	resolve_unlink(rs, r);
	if (r->cb) {
		if (error == 0 && u && read_answer(rs, r, u, &result))
			deliver(r, &result);
		else
			deliver(r, &failed);
	}
	ub_resolve_free(u);
	free(r);
}

static void on_deadline(void *arg)
{
	deliver(arg, &failed);
}

static void on_fail_later(void *arg)
{
	struct gate_resolve *r = arg;

	deliver(r, &failed);
	free(r);
}

struct gate_resolve *gate_resolve_start(struct gate *g, const char *name, uint16_t qtype,
					void (*cb)(void *arg, const struct gate_resolve_result *r), void *arg)
{
	struct gate_resolver *rs = g->resolver;
	struct gate_resolve *r;

	if (rs->outstanding >= RESOLVE_MAX || strlen(name) >= sizeof(r->name))
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->g = g;
	r->cb = cb;
	r->arg = arg;
	r->qtype = qtype;
	snprintf(r->name, sizeof(r->name), "%s", name);
	if (!rs->ctx) {
		dw_defer(&g->loop, &r->fail_later, on_fail_later, r);
		return r;
	}
	if (dw_timer_set(&g->loop, &r->deadline, g->loop.now_ms + GATE_DNS_TIMEOUT_MS, on_deadline, r) < 0) {
		free(r);
		return NULL;
	}
	if (ub_resolve_async(rs->ctx, r->name, qtype, CLASS_IN, r, on_answer, NULL) != 0) {
		dw_timer_del(&g->loop, &r->deadline);
		free(r);
		return NULL;
	}
	resolve_link(rs, r);
	return r;
}

uint32_t gate_resolves_outstanding(const struct gate *g)
{
	return g->resolver->outstanding;
}

void gate_resolve_cancel(struct gate_resolve *r)
{
	r->cb = NULL;
	dw_timer_del(&r->g->loop, &r->deadline);
	/* Upstream or deferred: whoever comes with the result frees it. */
	dw_assert(r->upstream || r->fail_later.queued);
}

static void on_unbound(void *arg, uint32_t events)
{
	struct gate_resolver *rs = arg;

	/* An error here is a broken pipe to the thread: nothing would resolve any more, so a fresh gate is better. */
	if (ub_process(rs->ctx) != 0 || events & (EPOLLERR | EPOLLHUP)) {
		fprintf(stderr, "declaw-gate: the resolver thread is gone\n");
		rs->g->loop.stop = true;
	}
}

int gate_resolver_init(struct gate *g, struct dw_err *err)
{
	struct gate_resolver *rs = calloc(1, sizeof(*rs));
	int r;

	if (!rs)
		return dw_err_errno(err, ENOMEM, "resolver");
	rs->g = g;
	g->resolver = rs;
	/* Without a server to forward to libunbound would ask the root servers: then there is no libunbound. */
	if (g->config.resolver_n == 0)
		return 0;
	rs->ctx = ub_ctx_create();
	if (!rs->ctx)
		return dw_err_errno(err, errno, "resolver");
	if (configure(g, rs->ctx, err) < 0)
		return -1;
	r = dw_watch_add(&g->loop, &rs->watch, ub_fd(rs->ctx), EPOLLIN, on_unbound, rs);
	if (r < 0)
		return dw_err_errno(err, -r, "resolver");
	return 0;
}

void gate_resolver_done(struct gate *g)
{
	struct gate_resolver *rs = g->resolver;

	if (!rs)
		return;
	if (rs->ctx) {
		dw_watch_del(&g->loop, &rs->watch);
		ub_ctx_delete(rs->ctx);
	}
	while (rs->all) {
		struct gate_resolve *r = rs->all;

		dw_timer_del(&g->loop, &r->deadline);
		resolve_unlink(rs, r);
		free(r);
	}
	free(rs);
	g->resolver = NULL;
}
