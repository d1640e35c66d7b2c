/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes: uploads go to the disk as they come, and become a volume when all of them is there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/api.h"
#include "daemon/list_query.h"
#include "daemon/volumes.h"

static int reply_volume(const struct http_request *rq, struct http_reply *rp, const struct volume_row *v,
			const struct unpack_counts *counts, struct dw_err *err)
{
	rp->json = volume_to_json(v, volumes_max_bytes(rq->app->volumes));
	if (!rp->json)
		return dw_err_errno(err, ENOMEM, "describing the volume");
	if (counts && counts->dropped) {
		json_t *d = json_pack("{sI sI sI sI}", "links", (json_int_t)counts->dropped_links, "special",
				      (json_int_t)counts->dropped_kinds, "paths", (json_int_t)counts->dropped_paths,
				      "conflicts", (json_int_t)counts->dropped_conflicts);
		if (json_object_set_new(rp->json, "dropped", d) < 0)
			return dw_err_errno(err, ENOMEM, "describing the volume");
	}
	return 0;
}

int api_volume_made(const struct http_request *rq, struct http_reply *rp, const struct volume_row *v,
		    const struct unpack_counts *counts, struct dw_err *err)
{
	rp->status = 201;
	return reply_volume(rq, rp, v, counts, err);
}

static int upload_begin(struct http_request *rq, struct dw_err *err)
{
	const char *name = NULL;
	struct volume_draft *d = NULL;
	if (http_query(rq, "name", &name, err) < 0 ||
	    volume_draft_new(rq->app->volumes, rq->caller.owner, name, &d, err) < 0)
		return -1;
	rq->stream = d;
	return 0;
}

static int upload_data(struct http_request *rq, const void *p, size_t n, struct dw_err *err)
{
	return volume_draft_write(rq->stream, p, n, err);
}

static void upload_abort(struct http_request *rq)
{
	volume_draft_free(rq->stream);
	rq->stream = NULL;
}

static uint64_t upload_limit(const struct http_request *rq)
{
	return volumes_max_bytes(rq->app->volumes);
}

const struct route_stream api_volume_upload_stream = {
	.begin = upload_begin,
	.data = upload_data,
	.abort = upload_abort,
	.limit = upload_limit,
};

int api_volume_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct volume_row v;
	struct unpack_counts counts;
	if (volume_draft_finish(rq->stream, &v, &counts, err) < 0)
		return -1;
	return api_volume_made(rq, rp, &v, &counts, err);
}

int api_volume_empty(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *name = NULL;
	struct volume_row v;
	struct unpack_counts counts;
	DW_AUTO(volume_draft_free) struct volume_draft *d = NULL;
	if (http_query(rq, "name", &name, err) < 0 ||
	    volume_draft_new(rq->app->volumes, rq->caller.owner, name, &d, err) < 0 ||
	    volume_draft_finish(d, &v, &counts, err) < 0)
		return -1;
	return api_volume_made(rq, rp, &v, &counts, err);
}

struct page {
	json_t *rows;
	uint64_t max_bytes;
};

static void add_row(void *arg, const struct volume_row *v)
{
	struct page *p = arg;
	json_array_append_new(p->rows, volume_to_json(v, p->max_bytes));
}

/* The clients' own lists know no pages: without a limit they get all that an owner can have. */
_Static_assert(DAEMON_VOLUMES_OWNER <= DAEMON_LIST_MAX, "all fit into one page");

static int read_page(const struct http_request *rq, struct list_query *q, struct dw_err *err)
{
	static const char *const known[] = { "limit", "offset", "next_token" };
	if (list_query_init(q, err) < 0)
		return -1;
	q->limit = DAEMON_LIST_MAX;
	for (size_t i = 0; i < DW_COUNT(known); i++) {
		const char *value = NULL;
		if (http_query(rq, known[i], &value, err) < 0 || (value && list_query_add(q, known[i], value, err) < 0))
			return -1;
	}
	return 0;
}

int api_volume_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_list_query struct list_query q = { 0 };
	auto_json json_t *rows = json_array();
	struct page p = { .rows = rows, .max_bytes = volumes_max_bytes(rq->app->volumes) };
	uint64_t total = 0;
	char token[LIST_TOKEN_SIZE];
	if (read_page(rq, &q, err) < 0 ||
	    store_volume_each(rq->app->store, rq->caller.owner, q.offset, q.limit, add_row, &p, &total, err) < 0)
		return -1;
	const uint64_t next = q.offset + json_array_size(rows);
	rp->json = json_pack("{sO ss? sI}", "volumes", rows, "next_token",
			     json_array_size(rows) && next < total ? list_token(next, token) : NULL, "total",
			     (json_int_t)total);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "listing volumes");
}

int api_volume_get(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct volume_row v;
	if (volume_get(rq->app->volumes, rq->id, rq->caller.owner, &v, err) < 0)
		return -1;
	return reply_volume(rq, rp, &v, NULL, err);
}

int api_volume_delete(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (volume_delete(rq->app->volumes, rq->app->manager, rq->id, rq->caller.owner, err) < 0)
		return -1;
	rq->after = volume_sweep;
	rq->after_arg = rq->app->volumes;
	rp->json = json_object();
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "deleting the volume");
}

int api_volume_download(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct volume_row v;
	char disposition[64];
	if (volume_get(rq->app->volumes, rq->id, rq->caller.owner, &v, err) < 0)
		return -1;
	dw_autoclose int fd = volume_archive(rq->app->volumes, &v, err);
	struct stat st;
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return dw_err_errno(err, errno, "reading the volume");
	rp->response = MHD_create_response_from_fd64((uint64_t)st.st_size, fd);
	if (!rp->response)
		return dw_err_errno(err, ENOMEM, "reading the volume");
	DW_IGNORE(DW_TAKE_FD(fd)); /* the response's now */
	snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s.tar.gz\"", v.id);
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/gzip");
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, disposition);
	return 0;
}

/* What there is not. In one place, so that each says so in the same way, and before a body is sent. */

int api_volume_ingest(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return dw_err_set(
		err, DW_ERR_UNPROCESSABLE, "unsupported_operation",
		"this server has no volumes of single files to ingest an archive into: POST /volumes makes one "
		"of the archive as a whole");
}

int api_volume_files(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct volume_row v;
	if (volume_get(rq->app->volumes, rq->id, rq->caller.owner, &v, err) < 0)
		return -1;
	return dw_err_set(
		err, DW_ERR_CONFLICT, "volume_not_file_granular",
		"the volume is of the tarball kind, and its files can not be reached one by one: download it, or "
		"attach it to a sandbox and commit what that has made of it");
}

int api_volume_locks(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct volume_row v;
	if (volume_get(rq->app->volumes, rq->id, rq->caller.owner, &v, err) < 0)
		return -1;
	/* Not 409, which would say that somebody else has the lock. */
	return dw_err_set(err, DW_ERR_UNPROCESSABLE, "unsupported_operation",
			  "this server has no locks on volumes: no volume is written by several sandboxes");
}

static int refuse_ingest(struct http_request *rq, struct dw_err *err)
{
	return api_volume_ingest(rq, NULL, err);
}

static int refuse_files(struct http_request *rq, struct dw_err *err)
{
	return api_volume_files(rq, NULL, err);
}

static int no_data(struct http_request *rq, const void *p, size_t n, struct dw_err *err)
{
	return 0;
}

static void no_abort(struct http_request *rq)
{
}

const struct route_stream api_volume_ingest_stream = {
	.begin = refuse_ingest,
	.data = no_data,
	.abort = no_abort,
	.limit = upload_limit,
};
const struct route_stream api_volume_files_stream = {
	.begin = refuse_files,
	.data = no_data,
	.abort = no_abort,
};
