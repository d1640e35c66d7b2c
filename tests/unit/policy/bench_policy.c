/* SPDX-License-Identifier: Apache-2.0 */
/* How long compiling, opening and deciding take, by number of entries. Run by hand; not a test. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "policy/pins.h"
#include "policy/policy.h"

#define ROUNDS 2000000u

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A third hosts, a third wildcards, a third addresses of both families and several lengths. */
static void entry_text(uint32_t i, char *s, size_t size)
{
	if (i % 3 == 0)
		snprintf(s, size, "host-%u.example-%u.com", i, i % 97);
	else if (i % 3 == 1)
		snprintf(s, size, "*.wild-%u.example-%u.org:443", i, i % 89);
	else if (i % 2)
		snprintf(s, size, "%u.%u.%u.0/%u", 20 + i / 65536 % 40, i / 256 % 256, i % 256, 24 + i % 4);
	else
		snprintf(s, size, "[2a00:%x:%x::/%u]:443", i / 256 % 256, i % 256, 48 + i % 3 * 8);
}

static void report(const char *what, double start, uint32_t rounds)
{
	printf("  %-28s %8.0f ns\n", what, (now() - start) / rounds * 1e9);
}

static struct dw_addr v4(uint32_t v)
{
	const uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
	return dw_addr_from4(b);
}

static uint32_t decide(const struct dw_policy *p, uint32_t n)
{
	uint32_t allowed = 0;
	char names[256][64];
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t k = i * 7919u % n / 3 * 3;
		snprintf(names[i], sizeof(names[i]), i % 2 ? "host-%u.example-%u.com" : "a.b.wild-%u.example-%u.org",
			 i % 2 ? k : k + 1, i % 2 ? k % 97 : (k + 1) % 89);
	}
	double start = now();
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct dw_addr a = v4(0x14000000u + i * 2654435761u % 0x28000000u);
		allowed += dw_decide_flow(p, NULL, DW_PROTO_TCP, &a, 443, NULL).verdict != DW_DENY;
	}
	report("flow, IPv4 (mostly refused)", start, ROUNDS);
	start = now();
	struct dw_addr six = { .family = DW_AF_6, .b = { 0x2a } };
	for (uint32_t i = 0; i < ROUNDS; i++) {
		six.b[3] = (uint8_t)(i >> 8);
		six.b[5] = (uint8_t)i;
		allowed += dw_decide_flow(p, NULL, DW_PROTO_TCP, &six, 443, NULL).verdict != DW_DENY;
	}
	report("flow, IPv6", start, ROUNDS);
	start = now();
	for (uint32_t i = 0; i < ROUNDS; i++)
		allowed += dw_decide_name(p, names[i % 256], 443).verdict != DW_DENY;
	report("name (mostly allowed)", start, ROUNDS);
	start = now();
	for (uint32_t i = 0; i < ROUNDS; i++)
		allowed += dw_decide_query(p, "no.such.name.example.net").verdict != DW_DENY;
	report("query (refused)", start, ROUNDS);
	DW_AUTO(dw_pins_free) struct dw_pins *pins = dw_pins_new();
	struct dw_addr a = v4(0x01010101);
	if (!dw_pins_add(pins, names[1], &a, 1))
		return 0;
	start = now();
	for (uint32_t i = 0; i < ROUNDS; i++)
		allowed += dw_decide_flow(p, NULL, DW_PROTO_TCP, &a, 443, pins).verdict != DW_DENY;
	report("flow by a pin (allowed)", start, ROUNDS);
	return allowed;
}

static int run(uint32_t n)
{
	dw_autofree char(*texts)[64] = calloc(n, sizeof(*texts));
	dw_autofree const char **entries = calloc(n, sizeof(*entries));
	if (!texts || !entries)
		return 1;
	for (uint32_t i = 0; i < n; i++) {
		entry_text(i, texts[i], sizeof(texts[i]));
		entries[i] = texts[i];
	}
	struct dw_policy_spec spec = { .allow = entries, .allow_n = n, .allow_present = true };
	dw_autofree void *image = NULL;
	size_t len = 0;
	struct dw_err err = { 0 };
	double start = now();
	if (dw_policy_compile(&spec, &image, &len, &err) != 0) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	printf("%u entries: compiled in %.0f us, %zu bytes\n", n, (now() - start) * 1e6, len);
	DW_AUTO(dw_policy_close) struct dw_policy *p = NULL;
	start = now();
	for (unsigned i = 0; i < 1000; i++) {
		dw_policy_close(p);
		p = NULL;
		if (dw_policy_open(image, len, &p, &err) != 0)
			return 1;
	}
	report("open", start, 1000);
	printf("  (%u allowed)\n", decide(p, n));
	return 0;
}

int main(void)
{
	static const uint32_t sizes[] = { 1, 100, 10000, 100000 };
	for (size_t i = 0; i < DW_COUNT(sizes); i++) {
		if (run(sizes[i]) != 0)
			return 1;
	}
	return 0;
}
