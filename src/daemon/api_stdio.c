/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are talked to over their standard streams. */
#include "daemon/api_process.h"

#include <errno.h>

int api_stdio_start(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct agent_command c = { .with_stdin = true };
	struct proc_spec spec = { .kind = PROC_STDIO, .command = &c };
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (api_read_command(rq->json, &c, &spec.timeout_s, err) < 0 || api_process_start(rq, &spec, &p, err) < 0)
		return -1;
	rp->json = json_pack("{ss}", "cmd_id", proc_id(p));
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "starting the process");
}

int api_stdio_stream(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	const char *text = NULL;
	uint64_t after = 0;
	if (http_query(rq, "last_entry_id", &text, err) < 0)
		return -1;
	if (text && !jsonx_uint(text, INT64_MAX, &after))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "last_entry_id must be a whole number");
	if (api_process_find(rq, PROC_STDIO, &p, err) < 0)
		return -1;
	return api_stream_process(rq, rp, p, PROC_STDIO, after, err);
}

int api_stdio_stdin(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_input(rq, rp, PROC_STDIO, err);
}

int api_stdio_stdin_close(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_input_end(rq, rp, PROC_STDIO, err);
}

int api_stdio_kill(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_end(rq, rp, PROC_STDIO, err);
}
