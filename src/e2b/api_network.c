/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/api.h"

#include <errno.h>

#include "e2b/network_map.h"

struct put {
	const struct http_request *rq;
};

static int make_put(void *arg, const json_t *now, json_t **ret_network, char **ret_text, struct network_spec *ret_spec,
		    struct dw_err *err)
{
	struct put *p = arg;
	auto_json json_t *network = NULL;
	if (network_map_update(p->rq->json, now, p->rq->app->options.default_allow, &network, err) < 0 ||
	    network_spec_compile(network, false, ret_spec, err) < 0)
		return -1;
	*ret_network = DW_TAKE(network);
	return 0;
}

/* All of it, in the place of what there was; 204 when it is in force. Theirs can be changed only while the sandbox runs. */
int e2b_network_put(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	struct put p = { .rq = rq };
	struct manager_change change = { .make = make_put, .arg = &p };
	struct manager_changed changed;
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	if (r.state == RECORD_PAUSED)
		return dw_err_set(err, DW_ERR_CONFLICT, "sandbox_paused",
				  "the sandbox %s is paused: connect to it first", rq->id);
	if (manager_change_network(rq->app->manager, rq->id, &change, &changed, err) < 0)
		return -1;
	free(changed.text);
	rq->after = manager_old_free;
	rq->after_arg = changed.old;
	rp->status = MHD_HTTP_NO_CONTENT;
	rp->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	return rp->response ? 0 : dw_err_errno(err, ENOMEM, "answering");
}
