/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_test.h"
#include "gate/resolver.h"
#include "wire/dns.h"

struct gate_resolve {
	struct gate_resolve *next;
	void (*cb)(void *arg, const struct gate_resolve_result *r);
	void *arg;
};

unsigned int fake_questions, fake_waiting, fake_cancelled;
char fake_last_name[256];
uint16_t fake_last_type;
bool fake_resolver_full;
uint32_t fake_others_waiting;

static struct gate_resolve *first;

struct gate_resolve *gate_resolve_start(struct gate *g, const char *name, uint16_t qtype,
					void (*cb)(void *arg, const struct gate_resolve_result *r), void *arg)
{
	struct gate_resolve **p = &first;
	struct gate_resolve *r;

	if (fake_resolver_full)
		return NULL;
	r = calloc(1, sizeof(*r));
	assert_non_null(r);
	r->cb = cb;
	r->arg = arg;
	while (*p)
		p = &(*p)->next;
	*p = r;
	fake_questions++;
	fake_waiting++;
	fake_last_type = qtype;
	snprintf(fake_last_name, sizeof(fake_last_name), "%s", name);
	return r;
}

uint32_t gate_resolves_outstanding(const struct gate *g)
{
	return fake_waiting + fake_others_waiting;
}

void gate_resolve_cancel(struct gate_resolve *r)
{
	struct gate_resolve **p = &first;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	free(r);
	fake_waiting--;
	fake_cancelled++;
}

static void deliver(const struct gate_resolve_result *result)
{
	struct gate_resolve *r = first;

	assert_non_null(r);
	first = r->next;
	fake_waiting--;
	r->cb(r->arg, result);
	free(r);
}

void fake_answer_many(uint32_t ttl, const struct dw_addr *addr, size_t n)
{
	static struct dw_dns_answer a;
	const struct gate_resolve_result result = { .status = GATE_RESOLVE_OK, .answer = &a, .ttl = ttl };

	a = (struct dw_dns_answer){ .ttl = ttl, .addr_n = n };
	memcpy(a.addr, addr, n * sizeof(*addr));
	deliver(&result);
}

void fake_answer(uint16_t rcode, uint32_t ttl, const char *const *addrs)
{
	static struct dw_dns_answer a;
	const struct gate_resolve_result result = {
		.status = GATE_RESOLVE_OK, .answer = &a, .ttl = ttl, .rcode = rcode
	};

	a = (struct dw_dns_answer){ .ttl = ttl, .rcode = rcode };
	for (; addrs && *addrs; addrs++)
		a.addr[a.addr_n++] = test_addr(*addrs);
	deliver(&result);
}

void fake_answer_https(uint32_t ttl, const void *rdata, size_t n)
{
	struct dw_dns_https h = { .priority = 1, .rdata_n = n };
	const struct gate_resolve_result result = { .status = GATE_RESOLVE_OK, .https = &h, .https_n = 1, .ttl = ttl };

	memcpy(h.rdata, rdata, n);
	deliver(&result);
}

void fake_answer_failed(void)
{
	const struct gate_resolve_result result = { .status = GATE_RESOLVE_FAILED };

	deliver(&result);
}
