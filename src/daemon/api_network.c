/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/api.h"

#include <errno.h>
#include <string.h>

#include "daemon/network_spec.h"

static int read_verdict(const struct http_request *rq, bool *ret_deny_only, struct dw_err *err)
{
	const char *verdict = NULL;
	if (http_query(rq, "verdict", &verdict, err) < 0)
		return -1;
	*ret_deny_only = verdict && strcmp(verdict, "deny") == 0;
	if (verdict && !*ret_deny_only)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "verdict must be \"deny\" when it is given");
	return 0;
}

/* Also of a sandbox that was killed: that is when people look. */
int api_network_log(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	uint64_t limit = DAEMON_LOG_LIMIT_DEFAULT;
	bool deny_only;
	auto_record struct record r = { 0 };
	json_t *rows = NULL;
	if (http_query_number(rq, "limit", DAEMON_LOG_LIMIT_MAX, true, &limit, err) < 0 ||
	    read_verdict(rq, &deny_only, err) < 0 || manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	/* What happened before this request is in its answer. */
	gatectl_barrier(rq->app->gate);
	store_log_flush(rq->app->store);
	if (store_log_list(rq->app->store, rq->id, (unsigned)limit, deny_only, &rows, err) < 0)
		return -1;
	rp->json = json_pack("{so}", "decisions", rows);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "reading the network log");
}

/* The whole policy, in place of the old one; the answer comes when it is in force. */
int api_network_put(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	dw_autoclose int fd = -1;
	uint64_t generation = 0;
	if (network_spec_compile(rq->json, rq->app->options.default_allow, &fd, err) < 0 ||
	    manager_set_network(rq->app->manager, rq->id, rq->json, &fd, &generation, err) < 0)
		return -1;
	rp->json = json_pack("{so? sI}", "network", json_deep_copy(rq->json), "generation", (json_int_t)generation);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "changing the policy");
}
