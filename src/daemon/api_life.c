/* SPDX-License-Identifier: Apache-2.0 */
/* Pausing, resuming, and what a sandbox uses. */
#include "daemon/api.h"

#include <errno.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/timestamp.h"

int api_pause(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (manager_pause(rq->app->manager, rq->id, err) < 0)
		return -1;
	rp->json = json_object();
	return 0;
}

int api_resume(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (manager_resume(rq->app->manager, rq->id, err) < 0)
		return -1;
	/* It was here all the time: one node, and no snapshot that it came back from. */
	rp->json = json_pack("{sb ss ss sn}", "resumed", 1, "sandbox_id", rq->id, "node_id", "local", "snapshot_id");
	return 0;
}

static int read_time(const struct http_request *rq, const char *key, int64_t *ret_us, struct dw_err *err)
{
	const char *text = NULL;
	if (http_query(rq, key, &text, err) < 0)
		return -1;
	if (text && !timestamp_parse(text, ret_us))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "%s must be a time, such as 2026-01-15T10:30:00Z", key);
	return 0;
}

/* Of something that is not negative. */
static double hundredths(double v)
{
	return (double)(int64_t)(v * 100 + 0.5) / 100;
}

static json_t *sample_json(const struct metrics_sample *s)
{
	char at[CLOCK_ISO_SIZE];
	return json_pack("{ss sf sf sf}", "timestamp", clock_iso(s->at_us, at), "cpu_usage_percent",
			 hundredths((double)s->cpu_percent), "memory_usage_mb", hundredths(s->memory_kb / 1024.0),
			 "disk_usage_mb", hundredths(s->disk_kb / 1024.0));
}

int api_metrics(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	int64_t start = 0, end = INT64_MAX;
	dw_autofree struct metrics_sample *all = NULL;
	size_t n = 0;
	if (read_time(rq, "start", &start, err) < 0 || read_time(rq, "end", &end, err) < 0 ||
	    manager_metrics(rq->app->manager, rq->id, &all, &n, err) < 0)
		return -1;
	/* One published client reads nothing but a single object: the newest. */
	static const char go[] = "Go-http-client";
	const char *agent = http_header(rq, "User-Agent");
	if (agent && strncmp(agent, go, sizeof(go) - 1) == 0) {
		rp->json = sample_json(&all[n - 1]);
	} else {
		rp->json = json_array();
		for (size_t i = 0; i < n && rp->json; i++)
			if (all[i].at_us >= start && all[i].at_us <= end &&
			    json_array_append_new(rp->json, sample_json(&all[i])) < 0)
				return dw_err_errno(err, ENOMEM, "describing the metrics");
	}
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the metrics");
}
