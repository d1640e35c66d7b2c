/* SPDX-License-Identifier: Apache-2.0 */
/* Directories and entries: listed, looked at, removed, renamed, made. The sandbox's agent resolves every path. */
#include "daemon/api.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "daemon/agent_file.h"

#define HEAD_SIZE (64u << 10) /* a listing up to this size is one piece, with its length */
#define DEPTH_MAX 4096u       /* more levels than a path can have */

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ .p = (const uint8_t *)s, .n = strlen(s) };
}

/* Opens the operation and sends the request; user as api_check_user leaves it. */
static int begin(struct http_request *rq, struct agent_op *op, enum dw_agentp_type type,
		 const struct dw_agentp_file_request *q, struct dw_err *err)
{
	if (agent_op_open(op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	return agent_file_request(op, type, q, err);
}

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "answering for the files");
}

static int query_target(struct http_request *rq, struct dw_agentp_file_request *q, struct dw_err *err)
{
	const char *path = NULL, *user = NULL;
	if (http_query(rq, "path", &path, err) < 0 || http_query(rq, "username", &user, err) < 0 ||
	    api_check_path(path, "path", err) < 0 || api_check_user(&user, "username", err) < 0)
		return -1;
	q->path = span_of(path);
	q->user = span_of(user);
	return 0;
}

static int body_path(const json_t *body, const char *key, struct dw_span *ret, struct dw_err *err)
{
	const char *path = NULL;
	if (jsonx_string(body, key, &path, err) < 0 || api_check_path(path, key, err) < 0)
		return -1;
	*ret = span_of(path);
	return 0;
}

static int body_user(const json_t *body, struct dw_span *ret, struct dw_err *err)
{
	const char *user = NULL;
	if (jsonx_string(body, "username", &user, err) < 0 || api_check_user(&user, "username", err) < 0)
		return -1;
	*ret = span_of(user);
	return 0;
}

/* A listing on its way to the client: JSON text, made entry by entry as the client takes it. */
struct listing {
	struct agent_op op;
	size_t entries;
	bool ended;
	char *text; /* that waits: text[at..n) */
	size_t at, n;
	char head[HEAD_SIZE];
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
	return text_take ? 0 : no_memory(err);
}

static int set_entry(struct listing *l, const struct dw_agentp_entry *e, struct dw_err *err)
{
	auto_json json_t *entry = agent_entry_json(e);
	dw_autofree char *text = entry ? json_dumps(entry, JSON_COMPACT) : NULL;
	char *whole = NULL;
	/* An honest agent has said that there are too many before the first. */
	if (++l->entries > DW_AGENTP_ENTRIES_MAX)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "too_many_entries", "the listing has too many entries");
	if (text && asprintf(&whole, "%s%s", l->entries == 1 ? "[" : ",", text) < 0)
		whole = NULL;
	return set_text(l, whole, err);
}

/* The next piece of text, after the last was taken. number as agent_file_entry's. */
static int next_text(struct listing *l, uint16_t *number, struct dw_err *err)
{
	struct dw_agentp_entry e;
	const int r = agent_file_entry(&l->op, &e, number, err);
	if (r < 0)
		return -1;
	if (r > 0)
		return set_entry(l, &e, err);
	l->ended = true;
	return set_text(l, strdup(l->entries ? "]" : "[]"), err);
}

/* Up to max bytes; fewer at the end. -1 with err. */
static ssize_t listing_read(struct listing *l, char *buf, size_t max, uint16_t *number, struct dw_err *err)
{
	size_t done = 0;
	while (done < max) {
		if (l->at == l->n && l->ended)
			break;
		if (l->at == l->n && next_text(l, number, err) < 0)
			return -1;
		const size_t n = DW_MIN(max - done, l->n - l->at);
		memcpy(buf + done, l->text + l->at, n);
		l->at += n;
		done += n;
	}
	return (ssize_t)done;
}

/* In the connection's own thread. After an error the client sees a broken answer, never a short list that looks whole. */
static ssize_t listing_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct listing *l = arg;
	struct dw_err err = { 0 };
	if (pos < HEAD_SIZE) {
		const size_t n = DW_MIN(max, HEAD_SIZE - (size_t)pos);
		memcpy(buf, l->head + pos, n);
		return (ssize_t)n;
	}
	const ssize_t n = listing_read(l, buf, max, NULL, &err);
	return n < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : n ? n : MHD_CONTENT_READER_END_OF_STREAM;
}

static int reply_listing(struct listing *l_take, size_t head_n, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(listing_free) struct listing *l = l_take;
	if (head_n < HEAD_SIZE) {
		rp->text = strndup(l->head, head_n);
		return rp->text ? 0 : no_memory(err);
	}
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HEAD_SIZE, listing_next, l, listing_free);
	if (!rp->response)
		return no_memory(err);
	DW_IGNORE(DW_TAKE(l)); /* the response's now */
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}

int api_file_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	uint64_t depth = 1;
	uint16_t number = 0;
	if (query_target(rq, &q, err) < 0 || http_query_number(rq, "depth", DEPTH_MAX, true, &depth, err) < 0)
		return -1;
	q.depth = (uint32_t)depth;
	DW_AUTO(listing_free) struct listing *l = calloc(1, sizeof(*l));
	if (!l)
		return no_memory(err);
	if (begin(rq, &l->op, DW_AGENTP_FILE_LIST, &q, err) < 0)
		return -1;
	/* Looking through a large tree for nobody is work that helps nobody. */
	l->op.client_fd = http_client_fd(rq);
	const ssize_t n = listing_read(l, l->head, HEAD_SIZE, &number, err);
	if (n < 0 && number == ENOENT) {
		rp->json = json_array();
		return rp->json ? 0 : no_memory(err);
	}
	return n < 0 ? -1 : reply_listing(DW_TAKE(l), (size_t)n, rp, err);
}

/* The one entry that the request is answered with. */
static int read_entry(struct agent_op *op, json_t **ret, uint16_t *number, struct dw_err *err)
{
	struct dw_agentp_entry e;
	const int r = agent_file_entry(op, &e, number, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return agent_op_lost(op, AGENT_LOST, err);
	*ret = agent_entry_json(&e);
	return *ret ? 0 : no_memory(err);
}

int api_file_info(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	auto_agent_op struct agent_op op = { .fd = -1 };
	if (query_target(rq, &q, err) < 0 || begin(rq, &op, DW_AGENTP_FILE_INFO, &q, err) < 0)
		return -1;
	return read_entry(&op, &rp->json, NULL, err);
}

int api_file_exists(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	auto_agent_op struct agent_op op = { .fd = -1 };
	auto_json json_t *entry = NULL;
	uint16_t number = 0;
	if (query_target(rq, &q, err) < 0 || begin(rq, &op, DW_AGENTP_FILE_INFO, &q, err) < 0)
		return -1;
	/* Below a file there is nothing either. */
	if (read_entry(&op, &entry, &number, err) < 0 && number != ENOENT && number != ENOTDIR)
		return -1;
	rp->json = json_pack("{sb}", "exists", entry != NULL);
	return rp->json ? 0 : no_memory(err);
}

/* -1 for what is no hexadecimal digit. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	const char lower = (char)(c | 0x20);
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* In place: %xx and nothing else. False for a NUL among it. */
static bool percent_decode(char *text)
{
	char *out = text;
	for (const char *p = text; *p; p++) {
		const int high = *p == '%' ? hex_value(p[1]) : -1, low = high >= 0 ? hex_value(p[2]) : -1;
		if (low < 0) {
			*out++ = *p;
			continue;
		}
		*out = (char)(high << 4 | low);
		if (!*out++)
			return false;
		p += 2;
	}
	*out = '\0';
	return true;
}

int api_raw_target(const char *query, char **ret_path, char **ret_user, struct dw_err *err)
{
	const char *path = strncmp(query, "path=", 5) == 0 ? query : strstr(query, "&path="), *user = NULL;
	if (!path)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path is missing");
	path = strchr(path, '=') + 1;
	for (const char *p = path; (p = strstr(p, "&username=")); p++)
		user = p;
	if (!user)
		return dw_err_set(
			err, DW_ERR_INVALID, "invalid_path",
			"username is missing: what follows a \"#\" in path never arrived, so nothing was removed; "
			"percent-encode the path");
	dw_autofree char *path_text = strndup(path, (size_t)(user - path));
	dw_autofree char *user_text = strdup(user + strlen("&username="));
	if (!path_text || !user_text)
		return no_memory(err);
	if (!percent_decode(path_text) || !percent_decode(user_text))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path must not hold a NUL character");
	*ret_path = DW_TAKE(path_text);
	*ret_user = DW_TAKE(user_text);
	return 0;
}

/*
 * One published client puts the path into the query as it is, so a '&' in it would split it, and a '#' cuts off the rest: /a/b#c would
 * remove /a/b. It always sends the user behind the path, which shows where the path ends, or that it was cut.
 */
static int remove_target(struct http_request *rq, char **path, char **user, struct dw_agentp_file_request *q,
			 struct dw_err *err)
{
	const char *agent = http_header(rq, MHD_HTTP_HEADER_USER_AGENT);
	if (!agent || strncasecmp(agent, "python-httpx", 12) != 0)
		return query_target(rq, q, err);
	if (api_raw_target(rq->query ? rq->query : "", path, user, err) < 0)
		return -1;
	const char *name = *user;
	if (api_check_path(*path, "path", err) < 0 || api_check_user(&name, "username", err) < 0)
		return -1;
	q->path = span_of(*path);
	q->user = span_of(name);
	return 0;
}

int api_file_remove(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	dw_autofree char *path = NULL, *user = NULL;
	auto_agent_op struct agent_op op = { .fd = -1 };
	if (remove_target(rq, &path, &user, &q, err) < 0 || begin(rq, &op, DW_AGENTP_FILE_REMOVE, &q, err) < 0 ||
	    agent_file_end(&op, err) < 0)
		return -1;
	rp->json = json_object();
	return rp->json ? 0 : no_memory(err);
}

int api_file_rename(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	auto_agent_op struct agent_op op = { .fd = -1 };
	if (body_path(rq->json, "old_path", &q.path, err) < 0 || body_path(rq->json, "new_path", &q.to, err) < 0 ||
	    body_user(rq->json, &q.user, err) < 0 || begin(rq, &op, DW_AGENTP_FILE_RENAME, &q, err) < 0)
		return -1;
	return read_entry(&op, &rp->json, NULL, err);
}

int api_file_mkdir(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	auto_agent_op struct agent_op op = { .fd = -1 };
	bool made = false;
	if (body_path(rq->json, "path", &q.path, err) < 0 || body_user(rq->json, &q.user, err) < 0 ||
	    begin(rq, &op, DW_AGENTP_FILE_MKDIR, &q, err) < 0 || agent_file_made(&op, &made, err) < 0)
		return -1;
	rp->json = json_pack("{sb}", "created", made);
	return rp->json ? 0 : no_memory(err);
}
