/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing a file in a sandbox, as a stream. */
#include "daemon/agentc.h"

#include <string.h>

#include "daemon/clock.h"
#include "daemon/bounds.h"

/* Each step gets its own time, so that a large file may take long but a stuck one may not. */
static void renew(struct agent_op *op)
{
	op->deadline_ms = clock_mono_ms() + DAEMON_OP_STALL_MS;
}

int agent_file_start(struct agent_op *op, enum dw_agentp_type type, const char *user, const char *path,
		     struct dw_err *err)
{
	uint8_t buf[DAEMON_PATH_MAX + DAEMON_USER_MAX + 64];
	const struct dw_span u = { .p = (const uint8_t *)user, .n = strlen(user) };
	const struct dw_span p = { .p = (const uint8_t *)path, .n = strlen(path) };
	size_t n = dw_agentp_file_build(u, p, buf, sizeof(buf));
	if (!n)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path is too long");
	renew(op);
	enum agent_status st = agent_op_send(op, type, buf, n);
	return st == AGENT_OK ? 0 : agent_op_lost(op, st, err);
}

/* A sandbox whose file operation stalls is alive, as far as anybody can tell: the client may try again. */
static int failed(struct agent_op *op, enum agent_status st, struct dw_err *err)
{
	if (st == AGENT_TIMEOUT)
		return dw_err_set(err, DW_ERR_TIMEOUT, "file_timeout", "the file operation did not move for %u s",
				  DAEMON_OP_STALL_MS / 1000);
	return agent_op_lost(op, st, err);
}

int agent_file_send(struct agent_op *op, const void *data, size_t n, struct dw_err *err)
{
	const uint8_t *p = data;
	while (n) {
		size_t chunk = DW_MIN(n, (size_t)DW_AGENTP_CHUNK);
		renew(op);
		enum agent_status st = agent_op_send(op, DW_AGENTP_DATA, p, chunk);
		if (st != AGENT_OK)
			return failed(op, st, err);
		p += chunk;
		n -= chunk;
	}
	return 0;
}

int agent_file_finish(struct agent_op *op, uint64_t *ret_size, struct dw_err *err)
{
	struct dw_agentp_frame f;
	renew(op);
	enum agent_status st = agent_op_send(op, DW_AGENTP_END, NULL, 0);
	if (st == AGENT_OK)
		st = agent_op_next(op, &f);
	if (st != AGENT_OK)
		return failed(op, st, err);
	if (f.type == DW_AGENTP_ERROR)
		return agent_op_error(op, f.payload, AGENT_FILE, err);
	struct dw_rd r = dw_rd_init(f.payload.p, f.payload.n, false);
	uint64_t high = dw_rd_u32(&r), low = dw_rd_u32(&r);
	if (f.type != DW_AGENTP_WROTE || !dw_rd_done(&r))
		return failed(op, AGENT_LOST, err);
	*ret_size = high << 32 | low;
	return 0;
}

int agent_file_next(struct agent_op *op, struct dw_span *ret, struct dw_err *err)
{
	struct dw_agentp_frame f;
	renew(op);
	enum agent_status st = agent_op_next(op, &f);
	if (st != AGENT_OK)
		return failed(op, st, err);
	if (f.type == DW_AGENTP_ERROR)
		return agent_op_error(op, f.payload, AGENT_FILE, err);
	if (f.type == DW_AGENTP_END && f.payload.n == 0)
		return 0;
	if (f.type != DW_AGENTP_DATA || f.payload.n == 0)
		return failed(op, AGENT_LOST, err);
	*ret = f.payload;
	return 1;
}
