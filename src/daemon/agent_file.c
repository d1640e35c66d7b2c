/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories in a sandbox: what the agent is asked, and what it answers. */
#include "daemon/agent_file.h"

#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/bounds.h"
#include "daemon/utf8.h"

/* The end of the year 9999: times beyond it have no RFC 3339 form. */
#define ISO_END_US INT64_C(253402300800000000)

/* Each step gets its own time, so that a large file may take long but a stuck one may not. */
static void renew(struct agent_op *op)
{
	op->deadline_ms = clock_mono_ms() + clock_bound_ms("DECLAW_TEST_OP_STALL_MS", DAEMON_OP_STALL_MS);
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

/* A running sandbox whose file operation stalls is alive, as far as anybody can tell: the client may try again. */
static int failed(struct agent_op *op, enum agent_status st, struct dw_err *err)
{
	if (st == AGENT_TIMEOUT && sandbox_state(op->sandbox) == RECORD_RUNNING)
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

int agent_file_request(struct agent_op *op, enum dw_agentp_type type, const struct dw_agentp_file_request *q,
		       struct dw_err *err)
{
	uint8_t buf[2 * DAEMON_PATH_MAX + DAEMON_USER_MAX + 64];
	const size_t n = dw_agentp_file_request_build(type, q, buf, sizeof(buf));
	if (!n)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path is too long");
	renew(op);
	const enum agent_status st = agent_op_send(op, type, buf, n);
	return st == AGENT_OK ? 0 : agent_op_lost(op, st, err);
}

/* The next frame, unless it is an error. */
static int next_frame(struct agent_op *op, struct dw_agentp_frame *ret, uint16_t *ret_number, struct dw_err *err)
{
	struct dw_span message;
	renew(op);
	const enum agent_status st = agent_op_next(op, ret);
	if (st != AGENT_OK)
		return failed(op, st, err);
	if (ret->type != DW_AGENTP_ERROR)
		return 0;
	uint16_t number;
	if (ret_number && dw_agentp_error_parse(ret->payload, &number, &message) == DW_PARSE_OK)
		*ret_number = number;
	return agent_op_error(op, ret->payload, AGENT_FILE, err);
}

int agent_file_entry(struct agent_op *op, struct dw_agentp_entry *ret, uint16_t *ret_number, struct dw_err *err)
{
	struct dw_agentp_frame f;
	if (next_frame(op, &f, ret_number, err) < 0)
		return -1;
	if (f.type == DW_AGENTP_END && f.payload.n == 0)
		return 0;
	if (f.type != DW_AGENTP_ENTRY || dw_agentp_entry_parse(f.payload, ret) != DW_PARSE_OK)
		return failed(op, AGENT_LOST, err);
	return 1;
}

int agent_file_end(struct agent_op *op, struct dw_err *err)
{
	struct dw_agentp_frame f;
	if (next_frame(op, &f, NULL, err) < 0)
		return -1;
	return f.type == DW_AGENTP_END && f.payload.n == 0 ? 0 : failed(op, AGENT_LOST, err);
}

int agent_file_made(struct agent_op *op, bool *ret_made, struct dw_err *err)
{
	struct dw_agentp_frame f;
	if (next_frame(op, &f, NULL, err) < 0)
		return -1;
	if (f.type != DW_AGENTP_MADE || dw_agentp_made_parse(f.payload, ret_made) != DW_PARSE_OK)
		return failed(op, AGENT_LOST, err);
	return 0;
}

int agent_file_event(struct agent_op *op, struct dw_agentp_event *ret, struct dw_err *err)
{
	struct dw_agentp_frame f;
	if (next_frame(op, &f, NULL, err) < 0)
		return -1;
	if (f.type != DW_AGENTP_EVENT || dw_agentp_event_parse(f.payload, ret) != DW_PARSE_OK)
		return failed(op, AGENT_LOST, err);
	return 0;
}

json_t *agent_text_json(struct dw_span s)
{
	size_t n;
	dw_autofree char *text = utf8_replace(s.p, s.n, &n);
	return text ? json_stringn(text, n) : NULL;
}

struct dw_span agent_path_name(struct dw_span path)
{
	const uint8_t *slash = path.n > 1 ? memrchr(path.p, '/', path.n) : NULL;
	const size_t skip = slash ? (size_t)(slash - path.p) + 1 : 0;
	return (struct dw_span){ .p = path.p + skip, .n = path.n - skip };
}

json_t *agent_entry_json(const struct dw_agentp_entry *e)
{
	char mode[8] = "", modified[CLOCK_ISO_SIZE] = "";
	if (e->known)
		snprintf(mode, sizeof(mode), "%04o", (unsigned)e->mode & 07777u);
	if (e->known && e->modified_us >= 0 && e->modified_us < ISO_END_US)
		clock_iso(e->modified_us, modified);
	json_t *owner = e->known ? agent_text_json(e->owner) : json_null();
	json_t *group = e->known ? agent_text_json(e->group) : json_null();
	/* A hostile size above what JSON readers take is still a number. */
	const json_int_t size = (json_int_t)DW_MIN(e->size, (uint64_t)INT64_MAX);
	json_t *j = json_pack("{so so ss sI ss? ss? so so}", "name", agent_text_json(agent_path_name(e->path)), "path",
			      agent_text_json(e->path), "type", e->dir ? "dir" : "file", "size", size, "mode",
			      mode[0] ? mode : NULL, "modified", modified[0] ? modified : NULL, "owner", owner, "group",
			      group);
	if (j && e->link && json_object_set_new(j, "symlink_target", agent_text_json(e->target)) < 0)
		json_decref(DW_TAKE(j));
	return j;
}
