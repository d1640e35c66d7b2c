/* SPDX-License-Identifier: Apache-2.0 */
/* Section B: answers. What an allowed name's answer may open, and that what is wanted works. The scripts are in far_dns.c. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

#define MANY 300

static const char *scripted(const struct eg_run *r, enum eg_which arm, const char *script, char buf[160])
{
	snprintf(buf, 160, "%s.%s.%s", r->nonce[arm], script, r->config->wild);
	return buf;
}

/* A hello with this name to where the name leads. */
static enum eg_client hello_to(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, const char *name)
{
	const struct eg_hello h = { .sni = name, .sni_n = strlen(name), .nonce = r->nonce[arm] };
	struct eg_buf b = { 0 };

	eg_tls_hello(&b, &h);
	const enum eg_client what = eg_tcp_send(r, arm, to, 443, &b);
	eg_free(&b);
	return what;
}

static void works(struct eg_run *r, const char *name)
{
	struct eg_addr a[4];

	if (eg_resolve(r, name, a, EG_COUNT(a)) == 0) {
		eg_note(r, EG_CONTROL, EG_REJECTED, 0, eg_now_ms());
		return;
	}
	hello_to(r, EG_CONTROL, &a[0], name);
}

static void many_addresses(struct eg_run *r)
{
	struct eg_addr a[MANY];
	char name[160];
	const size_t n = eg_resolve(r, scripted(r, EG_CONTROL, "many", name), a, MANY);

	if (n != MANY)
		eg_note(r, EG_CONTROL, EG_REJECTED, 0, eg_now_ms());
	eg_remark(r, EG_CONTROL, "%zu addresses", n);
	/* every twentieth and the last: the rest is the same code again */
	for (size_t i = 0; i < n; i += 20)
		hello_to(r, EG_CONTROL, &a[i], name);
	if (n)
		hello_to(r, EG_CONTROL, &a[n - 1], name);
}

static void over_tcp(struct eg_run *r)
{
	struct eg_addr a[MANY];
	char name[160];
	const uint64_t start = eg_now_ms();
	const size_t n = eg_resolve(r, scripted(r, EG_CONTROL, "many", name), a, MANY); /* UDP, truncated, TCP */

	eg_note(r, EG_CONTROL, n == MANY ? EG_ANSWERED : EG_REJECTED, 0, start);
}

static void chain(struct eg_run *r)
{
	char name[160];

	works(r, scripted(r, EG_CONTROL, "chain", name));
}

/* An answer names two owners: only the asked one's address is of use. */
static void other_owners(struct eg_run *r, const char *script)
{
	struct eg_addr a[4];
	char name[160];

	const size_t n = eg_resolve(r, scripted(r, EG_CONTROL, script, name), a, EG_COUNT(a));
	for (size_t i = 0; i < n; i++) {
		if (eg_addr_equal(&a[i], eg_at(r, EG_A2)))
			eg_note(r, EG_DENIED, EG_ANSWERED, 0, eg_now_ms());
	}
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
	works(r, name);
}

static void foreign_owner(struct eg_run *r)
{
	other_owners(r, "foreign");
}

static void glue(struct eg_run *r)
{
	other_owners(r, "glue");
}

static void race(struct eg_run *r)
{
	char name[200];
	struct eg_addr a[4];

	for (unsigned i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "r%u.%s.%s", i, r->nonce[EG_CONTROL], r->config->wild);
		if (eg_resolve(r, name, a, EG_COUNT(a)) == 0)
			eg_note(r, EG_CONTROL, EG_REJECTED, 0, eg_now_ms());
		else
			eg_connect(r, EG_CONTROL, &a[0], eg_port(r));
	}
}

static void after_ttl(struct eg_run *r)
{
	struct eg_addr a[4];
	char name[160];

	if (eg_resolve(r, scripted(r, EG_CONTROL, "brief", name), a, EG_COUNT(a)) == 0) {
		eg_note(r, EG_CONTROL, EG_REJECTED, 0, eg_now_ms());
		return;
	}
	nanosleep(&(struct timespec){ .tv_sec = 2, .tv_nsec = 500000000 }, NULL);
	hello_to(r, EG_CONTROL, &a[0], name);
}

static void odd_ttls(struct eg_run *r)
{
	char name[160];

	works(r, scripted(r, EG_CONTROL, "zero", name));
	works(r, scripted(r, EG_CONTROL, "huge", name));
}

static void private_answers(struct eg_run *r)
{
	static const char *const scripts[] = { "private", "metadata", "loop", "mapped" };
	const struct eg_addr *to[] = { eg_at(r, EG_PRIVATE), eg_at(r, EG_METADATA) };
	struct eg_addr a[4];
	char name[160];

	for (size_t i = 0; i < EG_COUNT(scripts); i++) {
		const uint64_t start = eg_now_ms();
		if (!r->six && strcmp(scripts[i], "mapped") == 0)
			continue; /* only an AAAA record can hold one */
		/* the question may be asked, so it bears the control's nonce; the answer must not arrive */
		snprintf(name, sizeof(name), "%s.%s.%s", r->nonce[EG_CONTROL], scripts[i], r->config->wild);
		eg_aim_name(r, name);
		eg_note(r, EG_DENIED, eg_resolve(r, name, a, EG_COUNT(a)) ? EG_ANSWERED : EG_REJECTED, 0, start);
	}
	for (size_t i = 0; i < EG_COUNT(to); i++)
		eg_connect(r, EG_DENIED, to[i], eg_port(r));
	works(r, scripted(r, EG_CONTROL, "a", name));
}

static void rebinding(struct eg_run *r)
{
	struct eg_addr a[4];
	char name[160];

	scripted(r, EG_CONTROL, "turn", name);
	for (unsigned i = 0; i < 20; i++) {
		const uint64_t start = eg_now_ms();
		const size_t n = eg_resolve(r, name, a, EG_COUNT(a));
		for (size_t k = 0; k < n; k++) {
			if (eg_addr_equal(&a[k], eg_at(r, EG_PRIVATE)))
				eg_note(r, EG_DENIED, EG_ANSWERED, 0, start);
		}
		if (n && i < 4)
			hello_to(r, EG_CONTROL, &a[0], name);
		if (i % 8 == 0)
			eg_connect(r, EG_DENIED, eg_at(r, EG_PRIVATE), eg_port(r));
	}
	works(r, scripted(r, EG_CONTROL, "a", name));
}

/* The hints of an HTTPS record are addresses nobody judged, and its ECH key hides the name. */
static void https_record(struct eg_run *r)
{
	uint8_t reply[4096];
	struct eg_buf b = { 0 };
	char name[160];
	const struct eg_query q = { .name = scripted(r, EG_CONTROL, "https", name), .type = 65, .id = 7 };
	const uint64_t start = eg_now_ms();
	int error;

	eg_dns_query(&b, &q);
	const int n = eg_exchange(r, eg_at(r, EG_RESOLVER), true, &b, reply, sizeof(reply), &error);
	eg_free(&b);
	if (n < 0) {
		eg_note(r, EG_DENIED, eg_of_errno(error), error, start);
	} else {
		const struct eg_addr *a2 = r->config->at[EG_A2];
		const bool ech = memmem(reply, (size_t)n, "ECHcnfig", 8), hint4 = memmem(reply, (size_t)n, a2[0].b, 4),
			   hint6 = a2[1].family && memmem(reply, (size_t)n, a2[1].b, 16);
		eg_note(r, EG_DENIED, ech || hint4 || hint6 ? EG_ANSWERED : EG_STRIPPED, 0, start);
		eg_remark(r, EG_DENIED, "%s%s%s%u answers", ech ? "ech " : "", hint4 ? "ipv4hint " : "",
			  hint6 ? "ipv6hint " : "", n >= 12 ? reply[7] : 0u);
	}
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
	works(r, scripted(r, EG_CONTROL, "a", name));
}

/* Sockets of name services of the host. */
static void local_ipc(struct eg_run *r)
{
	static const char *const paths[] = { "/run/systemd/resolve/io.systemd.Resolve",
					     "/var/run/nscd/socket",
					     "/run/dbus/system_bus_socket",
					     "/run/avahi-daemon/socket",
					     "/var/run/docker.sock",
					     "/run/containerd/containerd.sock" };

	for (size_t i = 0; i < EG_COUNT(paths); i++) {
		struct sockaddr_un s = { .sun_family = AF_UNIX };
		const uint64_t start = eg_now_ms();
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		snprintf(s.sun_path, sizeof(s.sun_path), "%s", paths[i]);
		const bool open = fd >= 0 && connect(fd, (struct sockaddr *)&s, sizeof(s)) == 0;
		eg_note(r, EG_DENIED,
			open                    ? EG_CONNECTED
			: errno == ECONNREFUSED ? EG_REFUSED
						: EG_UNAVAILABLE,
			open ? 0 : errno, start);
		if (fd >= 0)
			close(fd);
	}
	eg_dns_name(r, EG_CONTROL, r->config->allowed);
}

const struct eg_case eg_cases_answers[] = {
	{ 43, 'B', "a truncated answer over TCP", over_tcp, EG_WORKS, NULL },
	{ 44, 'B', "a name with 300 addresses", many_addresses, EG_WORKS, NULL },
	{ 46, 'B', "a CNAME without its address", chain, EG_WORKS, NULL },
	{ 47, 'B', "foreign owners in the answer section", foreign_owner, 0, "flow_policy" },
	{ 48, 'B', "addresses in the additional section", glue, 0, "flow_policy" },
	{ 49, 'B', "resolve and connect at once", race, EG_WORKS, NULL },
	{ 52, 'B', "an address older than its TTL", after_ttl, EG_WORKS, NULL },
	{ 54, 'B', "TTL 0 and 2^31", odd_ttls, EG_WORKS, NULL },
	{ 58, 'B', "private, metadata, loopback and mapped answers", private_answers, 0,
	  "floor private answer_filter" },
	{ 59, 'B', "alternating public and private answers, TTL 0", rebinding, 0, "private answer_filter" },
	{ 63, 'B', "sockets of name services and container daemons", local_ipc, EG_NO_RECORD | EG_ONCE, NULL },
	{ 68, 'B', "hints and ECH keys in HTTPS records", https_record, 0, "flow_policy https_records" },
	{ 0 },
};
