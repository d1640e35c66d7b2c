/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of a directory, made into JSON one by one as the client takes them. */
#include "e2b/rpc_files.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX 4096u /* more levels than a path can have */

struct listing {
	struct agent_op op;
	size_t entries;
	bool ended;
	char *text; /* that waits: text[at..n) */
	size_t at, n;
};

static void listing_free(void *arg)
{
	struct listing *l = arg;
	agent_op_close(&l->op);
	free(l->text);
	free(l);
}
DW_DEFINE_CLEANUP(struct listing *, listing_free)

static int set_text(struct listing *l, char *text_take, struct dw_err *err)
{
	free(l->text);
	l->text = text_take;
	l->at = 0;
	l->n = text_take ? strlen(text_take) : 0;
	return text_take ? 0 : dw_err_errno(err, ENOMEM, "listing the directory");
}

static int set_entry(struct listing *l, const struct dw_agentp_entry *e, struct dw_err *err)
{
	auto_json json_t *entry = rpc_entry_json(e);
	dw_autofree char *text = entry ? json_dumps(entry, JSON_COMPACT) : NULL;
	char *whole = NULL;
	/* An honest agent has said that there are too many before the first. */
	if (++l->entries > DW_AGENTP_ENTRIES_MAX)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "too_many_entries", "the listing has too many entries");
	if (text && asprintf(&whole, "%s%s", l->entries == 1 ? "{\"entries\":[" : ",", text) < 0)
		whole = NULL;
	return set_text(l, whole, err);
}

/* The next piece of text, after the last was taken. */
static int next_text(struct listing *l, struct dw_err *err)
{
	struct dw_agentp_entry e;
	const int r = agent_file_entry(&l->op, &e, NULL, err);
	if (r < 0)
		return -1;
	if (r > 0)
		return set_entry(l, &e, err);
	l->ended = true;
	return set_text(l, strdup(l->entries ? "]}" : "{\"entries\":[]}"), err);
}

/* In the connection's own thread. After an error the client sees a broken answer, never a short list that looks whole. */
static ssize_t listing_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct listing *l = arg;
	struct dw_err err = { 0 };
	size_t done = 0;
	while (done < max && !(l->at == l->n && l->ended)) {
		if (l->at == l->n && next_text(l, &err) < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		const size_t n = DW_MIN(max - done, l->n - l->at);
		memcpy(buf + done, l->text + l->at, n);
		l->at += n;
		done += n;
	}
	return done ? (ssize_t)done : MHD_CONTENT_READER_END_OF_STREAM;
}

int e2b_file_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct rpc_path path;
	struct dw_agentp_file_request q = { .depth = 1 };
	DW_AUTO(listing_free) struct listing *l = calloc(1, sizeof(*l));
	if (!l)
		return dw_err_errno(err, ENOMEM, "listing the directory");
	if (rpc_path_read(rq, "path", &path, err) < 0 || message_uint32(rq->json, "depth", &q.depth, NULL, err) < 0)
		return -1;
	q.depth = DW_MIN(DW_MAX(q.depth, 1u), DEPTH_MAX);
	/* The first piece tells whether there is anything to list. */
	if (rpc_files_begin(rq, &path, DW_AGENTP_FILE_LIST, q, &l->op, err) < 0)
		return -1;
	/* Looking through a large tree for nobody is work that helps nobody. */
	l->op.client_fd = http_client_fd(rq);
	if (next_text(l, err) < 0)
		return -1;
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, listing_next, l, listing_free);
	if (!rp->response)
		return dw_err_errno(err, ENOMEM, "listing the directory");
	DW_IGNORE(DW_TAKE(l)); /* the response's now */
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}
