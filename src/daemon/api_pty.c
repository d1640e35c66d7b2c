/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals. */
#include "daemon/api_process.h"

#include <errno.h>

#define COLS_DEFAULT 80
#define ROWS_DEFAULT 24

static int read_cells(const json_t *size, const char *key, uint16_t *ret, struct dw_err *err)
{
	int64_t v = *ret;
	bool present = false;
	if (jsonx_integer(size, key, &v, &present, err) < 0)
		return -1;
	if (v < 1 || v > DW_AGENTP_TTY_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "size.%s must be between 1 and %u", key,
				  DW_AGENTP_TTY_MAX);
	*ret = (uint16_t)v;
	return 0;
}

/* What is absent keeps its default. */
static int read_size(const json_t *body, bool required, uint16_t *cols, uint16_t *rows, struct dw_err *err)
{
	json_t *size = NULL;
	if (jsonx_object(body, "size", &size, err) < 0)
		return -1;
	if (!size && required)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "size must be an object with cols and rows");
	if (!size)
		return 0;
	return read_cells(size, "cols", cols, err) < 0 ? -1 : read_cells(size, "rows", rows, err);
}

int api_pty_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct agent_command c = { .cols = COLS_DEFAULT, .rows = ROWS_DEFAULT };
	struct proc_spec spec = { .kind = PROC_PTY, .command = &c };
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (api_read_pty(rq->json, &c, &spec.timeout_s, err) < 0 ||
	    read_size(rq->json, false, &c.cols, &c.rows, err) < 0 || api_process_start(rq, &spec, &p, err) < 0)
		return -1;
	rp->json = json_pack("{sI}", "pid", (json_int_t)proc_pid(p));
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "starting the terminal");
}

int api_pty_stream(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (api_process_find(rq, PROC_PTY, &p, err) < 0)
		return -1;
	return api_stream_process(rq, rp, p, PROC_PTY, 0, err);
}

int api_pty_stdin(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_input(rq, rp, PROC_PTY, err);
}

int api_pty_resize(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	uint16_t cols = 0, rows = 0;
	uint8_t payload[8];
	if (read_size(rq->json, true, &cols, &rows, err) < 0 || api_process_find(rq, PROC_PTY, &p, err) < 0)
		return -1;
	const size_t n = dw_agentp_resize_build(cols, rows, payload, sizeof(payload));
	if (proc_control(p, DW_AGENTP_RESIZE, payload, n, err) < 0)
		return -1;
	rp->json = json_object();
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "resizing the terminal");
}

int api_pty_kill(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_end(rq, rp, PROC_PTY, err);
}
