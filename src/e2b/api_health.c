/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/api.h"

#include <errno.h>

#include "e2b/target.h"

/* Asking is no use of the sandbox: one that would wake up when it is used stays paused. */
int e2b_health(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (e2b_target(rq, err) < 0 || manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	if (r.state != RECORD_RUNNING)
		return dw_err_set(err, DW_ERR_GONE, "sandbox_not_running", "the sandbox %s is %s", rq->id,
				  record_state_name(r.state));
	rp->status = MHD_HTTP_NO_CONTENT;
	rp->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	return rp->response ? 0 : dw_err_errno(err, ENOMEM, "answering");
}
