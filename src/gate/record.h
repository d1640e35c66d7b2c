/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the decision records. */
#pragma once

#include "gate/gate.h"

/* Untrusted text as printable ASCII: other bytes and backslashes as \xNN; cut with "..." to fit (size >= 8). */
void gate_record_escape(const char *s, char *out, size_t size);

/* "A", "HTTPS", ..., or "TYPE1234" in buf. */
const char *gate_record_qtype(uint16_t qtype, char buf[static 16]);

/* For tests: ends all windows (their events are sent) and frees. */
void gate_records_done(struct gate *g);
