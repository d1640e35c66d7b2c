/* SPDX-License-Identifier: Apache-2.0 */
/* Files, always as a stream: the daemon never holds more of one than a buffer, and never resolves a path of the sandbox. */
#include "daemon/api.h"

#include <errno.h>
#include <string.h>

#include "daemon/agentc.h"
#include "daemon/utf8.h"

static const char text_type[] = "text/plain; charset=utf-8";
static const char binary_type[] = "application/octet-stream";

int api_check_path(const char *path, const char *field, struct dw_err *err)
{
	if (!path || !*path || strlen(path) > DAEMON_PATH_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "%s must have 1 to %u bytes", field,
				  DAEMON_PATH_MAX);
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "%s must not have a \"..\" component",
					  field);
		p += n + (p[n] == '/');
	}
	return 0;
}

static int query_target(const struct http_request *rq, const char **path, const char **user, struct dw_err *err)
{
	*path = *user = NULL;
	if (http_query(rq, "path", path, err) < 0 || http_query(rq, "username", user, err) < 0 ||
	    api_check_path(*path, "path", err) < 0)
		return -1;
	return api_check_user(user, "username", err);
}

/* A file on its way to the client. */
struct download {
	struct agent_op op;
	char head[DW_AGENTP_CHUNK]; /* read ahead, to know what it is before the answer begins */
	size_t head_n, head_at;
	struct dw_span rest; /* of the present frame, in op's buffer */
	bool ended;
};

static void download_free(void *arg)
{
	struct download *d = arg;
	agent_op_close(&d->op);
	free(d);
}
DW_DEFINE_CLEANUP(struct download *, download_free)

/* Reads ahead until the head is full or the file has ended. */
static int fill_head(struct download *d, struct dw_err *err)
{
	while (d->head_n < sizeof(d->head)) {
		int r = agent_file_next(&d->op, &d->rest, err);
		if (r <= 0) {
			d->ended = r == 0;
			return r;
		}
		size_t n = DW_MIN(d->rest.n, sizeof(d->head) - d->head_n);
		memcpy(d->head + d->head_n, d->rest.p, n);
		d->head_n += n;
		d->rest.p += n;
		d->rest.n -= n;
	}
	return 0;
}

/* libmicrohttpd asks for the next bytes, in the connection's own thread. */
static ssize_t download_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct download *d = arg;
	if (d->head_at < d->head_n) {
		size_t n = DW_MIN(max, d->head_n - d->head_at);
		memcpy(buf, d->head + d->head_at, n);
		d->head_at += n;
		return (ssize_t)n;
	}
	struct dw_err err = { 0 };
	int r = d->rest.n ? 1 : agent_file_next(&d->op, &d->rest, &err);
	if (r <= 0)
		/* After an error the client sees a broken transfer, never a short file that looks whole. */
		return r == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
	size_t n = DW_MIN(max, d->rest.n);
	memcpy(buf, d->rest.p, n);
	d->rest.p += n;
	d->rest.n -= n;
	return (ssize_t)n;
}

static struct MHD_Response *download_response(struct download *d_take)
{
	DW_AUTO(download_free) struct download *d = d_take;
	const char *type;
	struct MHD_Response *r;
	if (d->ended) {
		type = utf8_valid_prefix(d->head, d->head_n) == d->head_n ? text_type : binary_type;
		r = MHD_create_response_from_buffer(d->head_n, d->head, MHD_RESPMEM_MUST_COPY);
	} else {
		type = utf8_valid_start(d->head, d->head_n) ? text_type : binary_type;
		r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, DW_AGENTP_CHUNK, download_next, d,
						      download_free);
		if (r)
			DW_IGNORE(DW_TAKE(d)); /* the response's now */
	}
	if (r)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return r;
}

int api_file_download(const struct http_request *rq, const char *user, const char *path, struct MHD_Response **ret,
		      struct dw_err *err)
{
	DW_AUTO(download_free) struct download *d = calloc(1, sizeof(*d));
	if (!d)
		return dw_err_errno(err, ENOMEM, "reading the file");
	if (agent_op_open(&d->op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0 ||
	    agent_file_start(&d->op, DW_AGENTP_FILE_READ, user, path, err) < 0 || fill_head(d, err) < 0)
		return -1;
	*ret = download_response(DW_TAKE(d));
	return *ret ? 0 : dw_err_errno(err, ENOMEM, "reading the file");
}

int api_file_read(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *path, *user;
	if (query_target(rq, &path, &user, err) < 0)
		return -1;
	return api_file_download(rq, user, path, &rp->response, err);
}

static int reply_written(struct http_reply *rp, const char *path, uint64_t size, struct dw_err *err)
{
	size_t n;
	/* A name of a file need not be text; the answer must be. */
	dw_autofree char *text = utf8_replace(path, strlen(path), &n);
	rp->json = text ? json_pack("{ss sI}", "path", text, "size", (json_int_t)size) : NULL;
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "writing the file");
}

int api_file_write(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *path = NULL, *user = NULL;
	const json_t *data = json_object_get(rq->json, "data");
	auto_agent_op struct agent_op op = { .fd = -1 };
	uint64_t size;
	if (jsonx_string(rq->json, "path", &path, err) < 0 || jsonx_string(rq->json, "username", &user, err) < 0 ||
	    api_check_path(path, "path", err) < 0 || api_check_user(&user, "username", err) < 0)
		return -1;
	/* Unlike every other string, this one may hold NUL characters. */
	if (!json_is_string(data))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "data must be a string");
	if (agent_op_open(&op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0 ||
	    agent_file_start(&op, DW_AGENTP_FILE_WRITE, user, path, err) < 0 ||
	    agent_file_send(&op, json_string_value(data), json_string_length(data), err) < 0 ||
	    agent_file_finish(&op, &size, err) < 0)
		return -1;
	return reply_written(rp, path, size, err);
}

/* One file of a batch. */
struct batch_file {
	const char *path, *user;
	const json_t *data;
};

static int read_batch_file(const json_t *v, const char *user, struct batch_file *ret, struct dw_err *err)
{
	*ret = (struct batch_file){ .user = user, .data = json_object_get(v, "data") };
	if (!json_is_object(v))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "it must be an object");
	if (jsonx_string(v, "path", &ret->path, err) < 0 || jsonx_string(v, "username", &ret->user, err) < 0 ||
	    api_check_path(ret->path, "path", err) < 0 || api_check_user(&ret->user, "username", err) < 0)
		return -1;
	if (!json_is_string(ret->data))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "data must be a string");
	return 0;
}

static int write_batch_file(struct http_request *rq, const struct batch_file *f, json_t *written, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	struct http_reply one = { 0 };
	uint64_t size;
	if (agent_op_open(&op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0 ||
	    agent_file_start(&op, DW_AGENTP_FILE_WRITE, f->user, f->path, err) < 0 ||
	    agent_file_send(&op, json_string_value(f->data), json_string_length(f->data), err) < 0 ||
	    agent_file_finish(&op, &size, err) < 0 || reply_written(&one, f->path, size, err) < 0)
		return -1;
	return json_array_append_new(written, one.json) == 0 ? 0 : dw_err_errno(err, ENOMEM, "writing the files");
}

int api_file_batch(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	json_t *files = NULL;
	const char *user = NULL;
	auto_json json_t *written = json_array();
	struct batch_file f;
	if (jsonx_array(rq->json, "files", &files, err) < 0 || jsonx_string(rq->json, "username", &user, err) < 0)
		return -1;
	const size_t n = json_array_size(files);
	if (!files || n > DAEMON_BATCH_FILES)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "files must be an array of at most %u files",
				  DAEMON_BATCH_FILES);
	/* All are read before the first is written: a mistake in the request leaves nothing half done. */
	for (size_t i = 0; i < n; i++)
		if (read_batch_file(json_array_get(files, i), user, &f, err) < 0)
			return dw_err_wrap(err, "files[%zu], and nothing was written", i);
	for (size_t i = 0; i < n; i++)
		if (read_batch_file(json_array_get(files, i), user, &f, err) < 0 ||
		    write_batch_file(rq, &f, written, err) < 0)
			return dw_err_wrap(err, "files[%zu] was not written, the %zu before it were", i, i);
	/* An empty batch too is an operation in the sandbox: it has to be there. */
	struct sandbox *s;
	if (manager_enter(rq->app->manager, rq->id, &s, err) < 0)
		return -1;
	manager_leave(s);
	rp->json = DW_TAKE(written);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "writing the files");
}

static int upload_begin(struct http_request *rq, struct dw_err *err)
{
	const char *path, *user;
	if (query_target(rq, &path, &user, err) < 0)
		return -1;
	struct agent_op *op = calloc(1, sizeof(*op));
	if (!op)
		return dw_err_errno(err, ENOMEM, "writing the file");
	rq->stream = op;
	if (agent_op_open(op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	return agent_file_start(op, DW_AGENTP_FILE_WRITE, user, path, err);
}

static int upload_data(struct http_request *rq, const void *p, size_t n, struct dw_err *err)
{
	return agent_file_send(rq->stream, p, n, err);
}

static void upload_abort(struct http_request *rq)
{
	agent_op_close(rq->stream);
	free(rq->stream);
	rq->stream = NULL;
}

const struct route_stream api_file_upload_stream = {
	.begin = upload_begin,
	.data = upload_data,
	.abort = upload_abort,
};

int api_file_upload(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *path, *user;
	uint64_t size;
	if (query_target(rq, &path, &user, err) < 0 || agent_file_finish(rq->stream, &size, err) < 0)
		return -1;
	return reply_written(rp, path, size, err);
}
