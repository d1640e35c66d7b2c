/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a port inside a sandbox, by way of its agent: bytes both ways, each as fast as the other side takes them. What
 * comes is hostile.
 */
#pragma once

#include "daemon/agentc.h"

struct port_conn {
	struct agent_op op;
	atomic_uint *all; /* counts of open ones; NULL = not counted */
	bool deaf;        /* nothing more is taken inside */
	bool ended;       /* nothing more comes from inside */
	bool broken;      /* likewise, and it may have been cut */
	int64_t moved_ms; /* when something was taken inside */
	uint8_t *early;   /* came while something was being sent: early[early_at..early_n) */
	size_t early_at, early_n;
};

/* For a struct that is all zero. Closed by port_conn_close also when this fails. BAD_GATEWAY, GATEWAY_TIMEOUT, LIMIT, and as agent_op_open. */
int DW_MUST_USE port_conn_open(struct port_conn *c, struct manager *m, atomic_uint *all, const char *id, uint16_t port,
			       int client_fd, int stop_fd, struct dw_err *err);
/* The connection inside is reset if it has not ended. Harmless twice. */
void port_conn_close(struct port_conn *c);

/* Sends all, and meanwhile takes what comes. Drops it when nobody inside takes anything any more: the answer says why. */
int DW_MUST_USE port_conn_send(struct port_conn *c, const void *data, size_t n, struct dw_err *err);
/* The next bytes, valid until the next call: OK, with none at the end. TIMEOUT: until_ms (clock_mono_ms) has come first. */
enum agent_status port_conn_next(struct port_conn *c, int64_t until_ms, struct dw_span *ret);
/* The same without waiting. */
enum agent_status port_conn_poll(struct port_conn *c, struct dw_span *ret);
