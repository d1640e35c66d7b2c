/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of sandboxes in pages. A page's token is the place of its last row, so what comes and goes between two pages neither hides a sandbox
 * nor shows it twice.
 */
#include "e2b/api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/list_query.h"
#include "daemon/timestamp.h"
#include "e2b/metadata_query.h"
#include "e2b/show.h"

#define LIMIT_DEFAULT 100u
#define LIMIT_MAX     100u

struct row {
	int64_t started_us;
	char id[RECORD_ID_SIZE];
	json_t *json;
};

struct list {
	struct list_query q; /* states and metadata */
	bool states, oldest_first;
	const char *template_name, *owner, *order;
	int64_t after_us; /* only those that started later; -1: all */
	uint64_t limit;
	struct row last; /* of the page before; id "": none */
	struct row *rows;
	size_t n, cap;
	bool failed;
	struct dw_err *err;
};

static void list_done(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		json_decref(l->rows[i].json);
	free(l->rows);
	list_query_done(&l->q);
}

static int order(const struct row *a, const struct row *b)
{
	if (a->started_us != b->started_us)
		return a->started_us < b->started_us ? -1 : 1;
	return strcmp(a->id, b->id);
}

static int by_start(const void *a, const void *b)
{
	return order(a, b);
}

static int by_start_down(const void *a, const void *b)
{
	return order(b, a);
}

static bool wanted(const struct list *l, const struct record *r)
{
	const struct row here = { .started_us = r->started_us };
	if (strcmp(r->owner, l->owner) != 0 || r->state == RECORD_KILLED)
		return false;
	if ((r->state == RECORD_RUNNING && !l->q.running) || (r->state == RECORD_PAUSED && !l->q.paused))
		return false;
	if (here.started_us <= l->after_us || (l->template_name && strcmp(r->template_name, l->template_name) != 0))
		return false;
	return list_query_matches(&l->q, r->doc->metadata);
}

/* Behind the page before, in this list's order. */
static bool is_behind(const struct list *l, const struct row *row)
{
	const int o = order(row, &l->last);
	return !l->last.id[0] || (l->oldest_first ? o > 0 : o < 0);
}

static void add_row(void *arg, const struct record *r)
{
	struct list *l = arg;
	struct row row = { .started_us = r->started_us };
	snprintf(row.id, sizeof(row.id), "%s", r->id);
	if (l->failed || !wanted(l, r) || !is_behind(l, &row))
		return;
	if (l->n == l->cap) {
		const size_t cap = l->cap ? 2 * l->cap : 64;
		struct row *grown = reallocarray(l->rows, cap, sizeof(*grown));
		l->failed = !grown;
		if (!grown)
			return;
		l->rows = grown;
		l->cap = cap;
	}
	row.json = show_listed(r);
	l->failed = !row.json;
	if (row.json)
		l->rows[l->n++] = row;
}

static int bad(struct dw_err *err, const char *key, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be %s", key, what);
}

/* "<microseconds>.<id>" */
static int read_token(const char *text, struct row *ret, struct dw_err *err)
{
	char digits[24] = "";
	const size_t n = strcspn(text, ".");
	uint64_t started = 0;
	if (n < sizeof(digits))
		snprintf(digits, sizeof(digits), "%.*s", (int)n, text);
	if (text[n] != '.' || !jsonx_uint(digits, INT64_MAX, &started) || !text[n + 1] ||
	    strlen(text + n + 1) >= sizeof(ret->id))
		return bad(err, "nextToken", "one that this server gave out");
	ret->started_us = (int64_t)started;
	snprintf(ret->id, sizeof(ret->id), "%s", text + n + 1);
	return 0;
}

static int add_word(struct list *l, const char *key, const char *value)
{
	struct dw_err *err = l->err;
	if (strcmp(key, "state") == 0) {
		l->states = true;
		if (strstr(value, "killed") || strstr(value, "all"))
			return bad(err, key, "running, paused or both");
		return list_query_add(&l->q, key, value, err);
	}
	if (strcmp(key, "metadata") == 0)
		return metadata_query_parse(value, l->q.metadata, err);
	if (strcmp(key, "startedAfter") == 0 && !timestamp_parse(value, &l->after_us))
		return bad(err, key, "a time, such as 2026-01-15T10:30:00Z");
	if (strcmp(key, "template") == 0)
		l->template_name = value;
	if (strcmp(key, "order") == 0) {
		l->oldest_first = strcmp(value, "asc") == 0;
		return l->oldest_first || strcmp(value, "desc") == 0 ? 0 : bad(err, key, "asc or desc");
	}
	if (strcmp(key, "limit") == 0 && (!jsonx_uint(value, UINT32_MAX, &l->limit) || !l->limit))
		return bad(err, key, "a whole number above 0");
	if (strcmp(key, "nextToken") == 0 && *value)
		return read_token(value, &l->last, err);
	return 0;
}

static enum MHD_Result add_parameter(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct list *l = arg;
	l->failed = add_word(l, key, value ? value : "") < 0;
	return l->failed ? MHD_NO : MHD_YES;
}

static int reply_page(struct list *l, struct http_reply *rp, struct dw_err *err)
{
	auto_json json_t *page = json_array();
	char token[RECORD_ID_SIZE + 24];
	if (l->n)
		qsort(l->rows, l->n, sizeof(*l->rows), l->oldest_first ? by_start : by_start_down);
	const size_t n = DW_MIN((size_t)DW_MIN(l->limit, (uint64_t)LIMIT_MAX), l->n);
	for (size_t i = 0; i < n; i++)
		if (json_array_append(page, l->rows[i].json) < 0)
			return dw_err_errno(err, ENOMEM, "listing sandboxes");
	rp->response = http_json_response(DW_TAKE(page));
	if (!rp->response)
		return dw_err_errno(err, ENOMEM, "listing sandboxes");
	if (n < l->n) {
		snprintf(token, sizeof(token), "%" PRId64 ".%s", l->rows[n - 1].started_us, l->rows[n - 1].id);
		MHD_add_response_header(rp->response, "x-next-token", token);
	}
	return 0;
}

/* paused: where the query names no state. */
static int list(struct http_request *rq, struct http_reply *rp, bool paused, struct dw_err *err)
{
	__attribute__((cleanup(list_done))) struct list l = {
		.owner = rq->caller.owner, .after_us = -1, .limit = LIMIT_DEFAULT, .err = err
	};
	if (list_query_init(&l.q, err) < 0)
		return -1;
	MHD_get_connection_values(rq->conn, MHD_GET_ARGUMENT_KIND, add_parameter, &l);
	if (l.failed)
		return -1;
	if (!l.states) {
		l.q.running = true;
		l.q.paused = paused;
	}
	if (manager_alive_each(rq->app->manager, add_row, &l, err) < 0)
		return -1;
	if (l.failed)
		return dw_err_errno(err, ENOMEM, "listing sandboxes");
	return reply_page(&l, rp, err);
}

int e2b_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return list(rq, rp, true, err);
}

int e2b_list_v1(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return list(rq, rp, false, err);
}
