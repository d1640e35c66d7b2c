/* SPDX-License-Identifier: Apache-2.0 */
/* Decision records: record.c decides which of them become events of their own, record_text.c writes events. */
#pragma once

#include "gate/gate.h"

#define GATE_RECORD_NAME 320 /* a name as text: 253 characters and some escapes; hostile names are cut */

/* What is alike in the records that are counted together. */
struct gate_record_key {
	uint64_t instance; /* of the sandbox; 0: source says who */
	struct dw_addr source, addr;
	enum dw_proto proto;
	enum dw_verdict verdict;
	enum dw_reason reason, would;
	uint16_t port;
	bool closed; /* ends of flows */
	bool rest;   /* stands for all kinds over the bound: addr, port and name are unset */
	char name[GATE_RECORD_NAME];
};

struct gate_record_sums {
	uint64_t count, bytes_out, bytes_in, duration_ms;
	uint64_t flow; /* 0: of several, or of none */
	bool closed;
};

/* Untrusted text as printable ASCII: other bytes and backslashes as \xNN; cut with "..." to fit (size >= 8). */
void gate_record_escape(const char *s, char *out, size_t size);

/* "A", "HTTPS", ..., or "TYPE1234" in buf. */
const char *gate_record_qtype(uint16_t qtype, char buf[static 16]);

/* The JSON members that every event of this kind has, without braces. malloc'ed; NULL when memory is out. */
char *gate_record_common(const struct gate_record_key *k, const struct gate_sandbox *s, const struct dw_decision *d);

/* A whole event of *ret_n bytes. wall_us: since 1970. malloc'ed; NULL when memory is out. */
char *gate_record_event(const char *common, int64_t wall_us, const struct gate_record_sums *t, size_t *ret_n);

/* For tests: ends all windows (their events are sent) and frees. */
void gate_records_done(struct gate *g);
