/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /files: a form with files, or one file's bytes, either perhaps compressed. They go to the sandbox as they come; what is held is one
 * buffer, and the names of what was written.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "daemon/agent_file.h"
#include "e2b/api.h"
#include "e2b/files.h"
#include "e2b/multipart.h"
#include "e2b/path.h"

#define INFLATED_PIECE (32u << 10)
#define GZIP_WINDOW    (MAX_WBITS + 16) /* a gzip header, and no other */

struct upload {
	struct files_query q;
	struct agent_op op;       /* of the file that is being written */
	char path[E2B_PATH_SIZE]; /* its, as the agent was told */
	json_t *written;          /* the answer */
	json_t *given;            /* paths of a form's parts so far */
	bool form, gzip, unpacked;
	struct multipart parts;
	z_stream z;
	uint64_t inflated;
};

static int bad(struct dw_err *err, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_upload", "the upload is malformed: %s", what);
}

static int begin_file(struct http_request *rq, struct upload *u, const char *path, struct dw_err *err)
{
	if (json_array_size(u->written) >= DAEMON_BATCH_FILES)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_upload", "one upload must not have more than %u files",
				  DAEMON_BATCH_FILES);
	if (e2b_path(path, "path", u->path, err) < 0)
		return -1;
	if (agent_op_open(&u->op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	return agent_file_start(&u->op, DW_AGENTP_FILE_WRITE, u->q.user, u->path, err);
}

/* Where a relative path has led: absolute, as text; NULL with err. */
static json_t *ask_path(struct http_request *rq, struct upload *u, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	const struct dw_agentp_file_request q = {
		.user = { .p = (const uint8_t *)u->q.user, .n = strlen(u->q.user) },
		.path = { .p = (const uint8_t *)u->path, .n = strlen(u->path) },
	};
	struct dw_agentp_entry e;
	if (agent_op_open(&op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0 ||
	    agent_file_request(&op, DW_AGENTP_FILE_INFO, &q, err) < 0)
		return NULL;
	const int r = agent_file_entry(&op, &e, NULL, err);
	/* Its file was there a moment ago. */
	if (r == 0)
		DW_IGNORE(dw_err_set(err, DW_ERR_NOT_FOUND, "not_found", "\"%.200s\" is not there any more", u->path));
	return r == 1 ? agent_text_json(e.path) : NULL;
}

static int end_file(struct http_request *rq, struct upload *u, struct dw_err *err)
{
	uint64_t size;
	if (agent_file_finish(&u->op, &size, err) < 0)
		return -1;
	agent_op_close(&u->op);
	const struct dw_span given = { .p = (const uint8_t *)u->path, .n = strlen(u->path) };
	auto_json json_t *path = NULL;
	if (u->path[0] == '/') {
		path = agent_text_json(given);
	} else {
		path = ask_path(rq, u, err);
		if (!path && err->kind)
			return -1;
	}
	json_t *row =
		json_pack("{so sO ss}", "name", agent_text_json(agent_path_name(given)), "path", path, "type", "file");
	return row && json_array_append_new(u->written, row) == 0 ? 0 : dw_err_errno(err, ENOMEM, "writing the file");
}

static int begin_part(struct http_request *rq, struct upload *u, struct dw_err *err)
{
	const struct multipart *m = &u->parts;
	const char *path = u->q.path ? u->q.path : m->has_filename ? m->filename : NULL;
	if (strcmp(m->name, "file") != 0)
		return bad(err, "every part must be named \"file\"");
	if (!path)
		return bad(err, "a part has no filename, and the query no path");
	if (json_object_get(u->given, path))
		return bad(err, "two files have the same path");
	if (json_object_set_new_nocheck(u->given, path, json_true()) < 0)
		return dw_err_errno(err, ENOMEM, "writing the file");
	return begin_file(rq, u, path, err);
}

static int take_form(struct http_request *rq, struct upload *u, struct dw_span in, struct dw_err *err)
{
	struct dw_span bytes;
	for (;;) {
		int r = 0;
		switch (multipart_next(&u->parts, &in, &bytes)) {
		case MULTIPART_BAD:
			return bad(err, u->parts.why);
		case MULTIPART_MORE:
			return 0;
		case MULTIPART_PART:
			r = begin_part(rq, u, err);
			break;
		case MULTIPART_DATA:
			r = agent_file_send(&u->op, bytes.p, bytes.n, err);
			break;
		case MULTIPART_PART_END:
			r = end_file(rq, u, err);
			break;
		}
		if (r < 0)
			return -1;
	}
}

static int take_plain(struct http_request *rq, struct upload *u, const void *p, size_t n, struct dw_err *err)
{
	if (u->form)
		return take_form(rq, u, (struct dw_span){ .p = p, .n = n }, err);
	return agent_file_send(&u->op, p, n, err);
}

/* What it unpacks to is bounded as an upload is that comes without compression. */
static int take_gzip(struct http_request *rq, struct upload *u, const void *p, size_t n, struct dw_err *err)
{
	uint8_t out[INFLATED_PIECE];
	u->z.next_in = (Bytef *)(uintptr_t)p;
	u->z.avail_in = (uInt)n;
	do {
		if (u->unpacked)
			return bad(err, "something follows the compressed bytes");
		u->z.next_out = out;
		u->z.avail_out = sizeof(out);
		const int r = inflate(&u->z, Z_NO_FLUSH);
		if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
			return bad(err, "it is not gzip, as its Content-Encoding says");
		u->unpacked = r == Z_STREAM_END;
		const size_t got = sizeof(out) - u->z.avail_out;
		u->inflated += got;
		if (u->inflated > DAEMON_RAW_MAX)
			return dw_err_set(err, DW_ERR_TOO_LARGE, "body_too_large",
					  "the request body is larger than %u MiB when it is unpacked",
					  DAEMON_RAW_MAX >> 20);
		if (got && take_plain(rq, u, out, got, err) < 0)
			return -1;
	} while (u->z.avail_in || (!u->unpacked && u->z.avail_out == 0));
	return 0;
}

static int upload_data(struct http_request *rq, const void *p, size_t n, struct dw_err *err)
{
	struct upload *u = rq->stream;
	return u->gzip ? take_gzip(rq, u, p, n, err) : take_plain(rq, u, p, n, err);
}

static enum MHD_Result find_metadata(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
	static const char prefix[] = "X-Metadata-";
	bool *found = arg;
	*found |= strncasecmp(key, prefix, sizeof(prefix) - 1) == 0;
	return MHD_YES;
}

static int read_encoding(const struct http_request *rq, struct upload *u, struct dw_err *err)
{
	bool metadata = false;
	MHD_get_connection_values(rq->conn, MHD_HEADER_KIND, find_metadata, &metadata);
	if (metadata)
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
				  "files have no metadata on this server (X-Metadata-* headers)");
	const char *encoding = http_header(rq, MHD_HTTP_HEADER_CONTENT_ENCODING);
	u->gzip = encoding && strcasecmp(encoding, "gzip") == 0;
	if (encoding && !u->gzip && strcasecmp(encoding, "identity") != 0)
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_encoding",
				  "Content-Encoding must be gzip, or not there");
	if (u->gzip && inflateInit2(&u->z, GZIP_WINDOW) != Z_OK) {
		u->gzip = false;
		return dw_err_errno(err, ENOMEM, "writing the file");
	}
	return 0;
}

static int upload_begin(struct http_request *rq, struct dw_err *err)
{
	static const char raw[] = "application/octet-stream";
	const char *type = http_header(rq, MHD_HTTP_HEADER_CONTENT_TYPE);
	struct upload *u = calloc(1, sizeof(*u));
	rq->stream = u;
	if (u) {
		u->written = json_array();
		u->given = json_object();
	}
	if (!u || !u->written || !u->given)
		return dw_err_errno(err, ENOMEM, "writing the file");
	if (files_query_read(rq, &u->q, err) < 0 || read_encoding(rq, u, err) < 0)
		return -1;
	const size_t n = type ? strcspn(type, "; \t") : 0;
	if (n == sizeof(raw) - 1 && strncasecmp(type, raw, n) == 0) {
		if (!u->q.path)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path must name a file");
		return begin_file(rq, u, u->q.path, err);
	}
	u->form = true;
	if (!multipart_init(&u->parts, type))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_upload",
				  "Content-Type must be multipart/form-data with a boundary, or %s", raw);
	return 0;
}

static void upload_abort(struct http_request *rq)
{
	struct upload *u = rq->stream;
	rq->stream = NULL;
	agent_op_close(&u->op);
	if (u->gzip)
		inflateEnd(&u->z);
	json_decref(u->written);
	json_decref(u->given);
	free(u);
}

const struct route_stream e2b_upload_stream = {
	.begin = upload_begin,
	.data = upload_data,
	.abort = upload_abort,
};

int e2b_file_write(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct upload *u = rq->stream;
	if (u->gzip && !u->unpacked)
		return bad(err, "the compressed bytes have no end");
	if (u->form && !multipart_is_whole(&u->parts))
		return bad(err, "its last boundary is missing");
	if (!u->form && end_file(rq, u, err) < 0)
		return -1;
	if (!json_array_size(u->written))
		return bad(err, "it has no file");
	rp->json = DW_TAKE(u->written);
	return 0;
}
