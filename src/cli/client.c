/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/text.h"
#include "cli/where.h"

#define CONNECT_TIMEOUT_S 15L

struct client {
	struct where where;
	CURL *spare; /* of an earlier request, with its connection */
};

struct transfer {
	struct client *client;
	struct client_request rq;
	CURL *easy;
	struct curl_slist *headers;
	char *url, *body;
	char *text; /* of the answer, where no sink takes it */
	size_t text_n, text_cap;
	int64_t moved_ms; /* when something moved last */
	curl_off_t sent;
	bool silent;           /* nothing did for too long */
	struct dw_err own_err; /* of a sink, a source, or of memory */
	bool own;
	bool enough; /* the sink has what it wants */
	char curl_text[CURL_ERROR_SIZE];
};

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "talking to the server");
}

int client_open(const struct client_where *where, struct client **ret, struct dw_err *err)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(c);
		return no_memory(err);
	}
	if (where_find(where, &c->where, err) < 0) {
		free(c);
		return -1;
	}
	*ret = c;
	return 0;
}

void client_close(struct client *c)
{
	curl_easy_cleanup(c->spare);
	where_done(&c->where);
	free(c);
	curl_global_cleanup();
}

char *client_path(const char *id, const char *fmt, ...)
{
	dw_autofree char *rest = NULL;
	char *out;
	va_list ap;

	va_start(ap, fmt);
	const int n = vasprintf(&rest, fmt, ap);
	va_end(ap);
	if (n < 0) {
		rest = NULL;
		return NULL;
	}
	return asprintf(&out, "/sandboxes/%s%s", id, rest) < 0 ? NULL : out;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool good(const struct transfer *t)
{
	long status = 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

static bool keep(struct transfer *t, const char *p, size_t n, size_t max)
{
	if (n > max - t->text_n) {
		dw_err_set(&t->own_err, DW_ERR_INTERNAL, "bad_answer", "the server's answer is too long");
		t->own = true;
		return false;
	}
	if (t->text_n + n + 1 > t->text_cap) {
		const size_t cap = DW_MAX(2 * t->text_cap, t->text_n + n + 1);
		char *more = realloc(t->text, cap);
		if (!more) {
			no_memory(&t->own_err);
			t->own = true;
			return false;
		}
		t->text = more;
		t->text_cap = cap;
	}
	memcpy(t->text + t->text_n, p, n);
	t->text_n += n;
	t->text[t->text_n] = '\0';
	return true;
}

static size_t take_body(char *p, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	const size_t n = size * count;
	bool ok = true;

	if (!good(t)) {
		/* Enough for a sentence; the rest of a longer one is not waited for. */
		ok = n <= CLIENT_ERROR_MAX - t->text_n && keep(t, p, n, CLIENT_ERROR_MAX);
	} else if (t->rq.sink) {
		const int r = t->rq.sink(t->rq.arg, p, n, &t->own_err);
		t->own = r < 0;
		t->enough = r > 0;
		ok = r == 0;
	} else {
		ok = keep(t, p, n, CLIENT_ANSWER_MAX);
	}
	/* A reader of ours that was slow was no silence of the server. */
	t->moved_ms = now_ms();
	return ok ? n : CURL_WRITEFUNC_ERROR;
}

static size_t give_body(char *p, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	ssize_t n;

	do {
		n = read(t->rq.upload_fd, p, size * count);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		dw_err_errno(&t->own_err, errno, "reading the file");
		t->own = true;
		return CURL_READFUNC_ABORT;
	}
	t->moved_ms = now_ms();
	return (size_t)n;
}

static int watch(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct transfer *t = arg;

	if (up != t->sent) {
		t->sent = up;
		t->moved_ms = now_ms();
		if (t->rq.moved)
			t->rq.moved(t->rq.arg, up);
	}
	if (t->rq.stop && *t->rq.stop) {
		dw_err_set(&t->own_err, DW_ERR_INTERNAL, "interrupted", "interrupted");
		t->own = true;
		return 1;
	}
	if (t->rq.patient || now_ms() - t->moved_ms < CLIENT_SILENCE_S * 1000)
		return 0;
	t->silent = true;
	return 1;
}

static bool add_header(struct transfer *t, const char *text)
{
	struct curl_slist *more = curl_slist_append(t->headers, text);
	if (more)
		t->headers = more;
	return more != NULL;
}

static bool add_headers(struct transfer *t)
{
	static const char bearer[] = "Authorization: Bearer ";
	char key[sizeof(bearer) + WHERE_KEY_MAX];
	bool ok = true;

	if (*t->client->where.key) {
		snprintf(key, sizeof(key), "%s%s", bearer, t->client->where.key);
		ok = add_header(t, key);
		explicit_bzero(key, sizeof(key));
	}
	const char *type = t->body        ? "Content-Type: application/json"
			   : t->rq.upload ? "Content-Type: application/octet-stream"
					  : "Content-Type:";
	return ok && add_header(t, type) && add_header(t, "Expect:") &&
	       add_header(t, t->rq.events ? "Accept: text/event-stream" : "Accept: */*");
}

static bool set_body(struct transfer *t)
{
	CURL *e = t->easy;

	if (t->rq.upload)
		return curl_easy_setopt(e, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
		       curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->rq.upload_size) == CURLE_OK &&
		       curl_easy_setopt(e, CURLOPT_READFUNCTION, give_body) == CURLE_OK &&
		       curl_easy_setopt(e, CURLOPT_READDATA, t) == CURLE_OK;
	/* A POST without a body says so by its length. */
	if (t->body || strcmp(t->rq.method, "POST") == 0)
		return curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(t->body ? strlen(t->body) : 0)) ==
			       CURLE_OK &&
		       curl_easy_setopt(e, CURLOPT_POSTFIELDS, t->body ? t->body : "") == CURLE_OK;
	return true;
}

static bool set_up(struct transfer *t)
{
	CURL *e = t->easy;

	curl_easy_reset(e);
	return add_headers(t) && set_body(t) && curl_easy_setopt(e, CURLOPT_URL, t->url) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, t->rq.method) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_USERAGENT, "declaw/" DECLAW_VERSION) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)t->rq.most_s) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEDATA, t) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, watch) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_XFERINFODATA, t) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_text) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_PRIVATE, t) == CURLE_OK;
}

int transfer_new(struct client *c, const struct client_request *rq, struct transfer **ret, struct dw_err *err)
{
	DW_AUTO(transfer_free) struct transfer *t = calloc(1, sizeof(*t));

	if (!t)
		return no_memory(err);
	t->client = c;
	t->rq = *rq;
	t->moved_ms = now_ms();
	t->easy = c->spare ? DW_TAKE(c->spare) : curl_easy_init();
	if (asprintf(&t->url, "%s%s", c->where.url, rq->path) < 0)
		t->url = NULL;
	if (rq->body)
		t->body = json_dumps(rq->body, JSON_COMPACT);
	if (!t->easy || !t->url || (rq->body && !t->body) || !set_up(t))
		return no_memory(err);
	*ret = DW_TAKE(t);
	return 0;
}

CURL *transfer_easy(struct transfer *t)
{
	return t->easy;
}

void transfer_free(struct transfer *t)
{
	curl_slist_free_all(t->headers);
	if (t->easy && !t->client->spare)
		t->client->spare = DW_TAKE(t->easy);
	curl_easy_cleanup(t->easy);
	free(t->url);
	free(t->body);
	free(t->text);
	free(t);
}

static enum dw_err_kind kind_of(long status, const char *code)
{
	/* What a file's mode forbids inside has nothing to do with the key. */
	if (code && strcmp(code, "permission_denied") == 0)
		return DW_ERR_UNPROCESSABLE;
	switch (status) {
	case 401:
		return DW_ERR_UNAUTHORIZED;
	case 403:
		return DW_ERR_FORBIDDEN;
	case 404:
		return DW_ERR_NOT_FOUND;
	case 405:
		return DW_ERR_METHOD;
	case 409:
		return DW_ERR_CONFLICT;
	case 410:
		return DW_ERR_GONE;
	default:
		return status < 500 ? DW_ERR_UNPROCESSABLE : DW_ERR_UNAVAILABLE;
	}
}

/* The server's own sentence, and its code. */
static int refused(const struct transfer *t, long status, struct dw_err *err)
{
	json_t *j = t->text_n ? json_loadb(t->text, t->text_n, JSON_ALLOW_NUL, NULL) : NULL;
	const json_t *m = json_object_get(j, "message"), *c = json_object_get(j, "code");
	dw_autofree char *message =
		json_string_length(m) ? cli_escape(json_string_value(m), json_string_length(m)) : NULL;
	dw_autofree char *code = json_string_length(c) ? cli_escape(json_string_value(c), json_string_length(c)) : NULL;

	json_decref(j);
	if (code && strcmp(code, "route_not_found") == 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, code,
				  "the server at %s cannot do this: it has no such request", t->client->where.url);
	if (message)
		return dw_err_set(err, kind_of(status, code), code ? code : "http_error", "%s", message);
	return dw_err_set(err, kind_of(status, code), "http_error",
			  "the server answered with HTTP status %ld and no reason", status);
}

static int broken(const struct transfer *t, CURLcode code, struct dw_err *err)
{
	const char *why = *t->curl_text ? t->curl_text : curl_easy_strerror(code);
	dw_autofree char *shown = cli_escape(why, strlen(why));
	const char *url = t->client->where.url;

	if (t->own) {
		*err = t->own_err;
		return -1;
	}
	if (t->silent)
		return dw_err_set(err, DW_ERR_UNAVAILABLE, "no_answer", "the server at %s was silent for %u seconds",
				  url, CLIENT_SILENCE_S);
	if (code == CURLE_OUT_OF_MEMORY)
		return no_memory(err);
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
		return dw_err_set(err, DW_ERR_UNAVAILABLE, "no_server", "no server at %s: %s", url, shown ? shown : "");
	return dw_err_set(err, DW_ERR_UNAVAILABLE, "connection_broken",
			  "the connection to %s broke before the answer was complete: %s", url, shown ? shown : "");
}

static int parse(const struct transfer *t, json_t **ret, struct dw_err *err)
{
	json_t *j = t->text_n ? json_loadb(t->text, t->text_n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

	if (!json_is_object(j) && !json_is_array(j)) {
		json_decref(j);
		return dw_err_set(err, DW_ERR_INTERNAL, "bad_answer",
				  "what answered at %s is no declaw server: its answer is no JSON",
				  t->client->where.url);
	}
	*ret = j;
	return 0;
}

int transfer_end(struct transfer *take, CURLcode code, json_t **ret, struct dw_err *err)
{
	DW_AUTO(transfer_free) struct transfer *t = take;
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	/* An upload may be refused, and its connection closed, while it is on its way: the answer counts. */
	if (status >= 300 && !t->own && !t->silent)
		return refused(t, status, err);
	if (t->enough)
		return 0;
	if (code != CURLE_OK || status < 200)
		return broken(t, code, err);
	return ret ? parse(t, ret, err) : 0;
}

int client_do(struct client *c, const struct client_request *rq, json_t **ret, struct dw_err *err)
{
	struct transfer *t = NULL;

	if (transfer_new(c, rq, &t, err) < 0)
		return -1;
	return transfer_end(t, curl_easy_perform(t->easy), ret, err);
}

int client_json(struct client *c, const char *method, const char *path, json_t *body_take, json_t **ret,
		struct dw_err *err)
{
	const struct client_request rq = { .method = method, .path = path, .body = body_take };
	const int r = client_do(c, &rq, ret, err);

	json_decref(body_take);
	return r;
}
