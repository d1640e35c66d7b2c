/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of a sandbox as E2B's clients reach them: by the host "<port>-<id>.<domain>", or by the headers E2b-Sandbox-Id and
 * E2b-Sandbox-Port. Theirs are open to anybody who knows the name, unless allowPublicTraffic is false. Here a port is never anybody's: the
 * sandbox's traffic token opens it, and where there is public traffic the API key of its owner, as on our own routes.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/port_head.h"
#include "daemon/token.h"
#include "e2b/api.h"
#include "e2b/target.h"

#define PREFIX "/e2b"

struct asked {
	char port[8], id[RECORD_ID_SIZE];
	bool by_header;
};

static bool is_envd(const char *port)
{
	char envd[8];
	snprintf(envd, sizeof(envd), "%u", E2B_ENVD_PORT);
	return strcmp(port, envd) == 0;
}

/* "3000-sbx-abc.example.com" */
static bool read_host(const char *host, struct asked *ret)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	const size_t digits = strspn(host, "0123456789");
	const char *id = host + digits + 1;
	if (!digits || digits >= sizeof(ret->port) || host[digits] != '-' ||
	    strncmp(id, RECORD_ID_PREFIX, sizeof(RECORD_ID_PREFIX) - 1) != 0)
		return false;
	const size_t n = strspn(id, letters);
	if (id[n] != '.' || n >= sizeof(ret->id))
		return false;
	snprintf(ret->port, sizeof(ret->port), "%.*s", (int)digits, host);
	snprintf(ret->id, sizeof(ret->id), "%.*s", (int)n, id);
	return true;
}

/* Whether the request is about a port, and not about envd, which is no server inside. */
static bool read_asked(const struct http_request *rq, struct asked *ret)
{
	const char *port = http_header(rq, "E2b-Sandbox-Port"), *id = http_header(rq, "E2b-Sandbox-Id");
	const char *host = http_header(rq, MHD_HTTP_HEADER_HOST);
	*ret = (struct asked){ 0 };
	if (port && id) {
		ret->by_header = true;
		/* What is too long is none, and is refused as that. */
		snprintf(ret->port, sizeof(ret->port), "%s", strlen(port) < sizeof(ret->port) ? port : "");
		snprintf(ret->id, sizeof(ret->id), "%s", strlen(id) < sizeof(ret->id) ? id : "");
	} else if (!host || !read_host(host, ret)) {
		return false;
	}
	return !is_envd(ret->port);
}

bool e2b_port_is_asked(const struct http_request *rq)
{
	struct asked a;
	return read_asked(rq, &a);
}

static bool has_token(const struct http_request *rq, const char *id)
{
	return token_check(rq->app, TOKEN_TRAFFIC, id, http_header(rq, "e2b-traffic-access-token"));
}

/* Authorization is what the server inside may want to see. */
static bool has_owners_key(struct http_request *rq, const char *id)
{
	struct caller caller;
	struct dw_err ignored = { 0 };
	const char *key = http_header(rq, "X-API-Key");
	return key && keys_check(rq->app->keys, NULL, key, &caller) &&
	       manager_check_owner(rq->app->manager, id, caller.owner, &ignored) == 0;
}

int e2b_port_admit(struct http_request *rq, struct dw_err *err)
{
	struct asked a;
	/* It was asked for, or this table would not have been chosen. */
	if (!read_asked(rq, &a) || (!has_token(rq, a.id) && !has_owners_key(rq, a.id)))
		return dw_err_set(
			err, DW_ERR_FORBIDDEN, "traffic_token_missing",
			"ports of a sandbox want its trafficAccessToken in the header e2b-traffic-access-token, or "
			"the API key of its owner in X-API-Key");
	return e2b_take_sandbox(rq, a.id, err);
}

static int port_begin(struct http_request *rq, struct dw_err *err)
{
	struct asked a;
	struct api_port_where where = { .target = rq->target ? rq->target : "", .prefix = "" };
	if (!read_asked(rq, &a))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_request", "the request names no port");
	const size_t n = sizeof(PREFIX) - 1;
	if (a.by_header && strncmp(where.target, PREFIX, n) == 0 && strchr("/?", where.target[n])) {
		where.target += n;
		where.prefix = PREFIX;
	}
	where.with_token = has_token(rq, a.id);
	if (port_number(a.port, &where.port, err) < 0)
		return -1;
	return api_port_begin(rq, &where, err);
}

const struct route_stream e2b_port_stream = { .begin = port_begin, .data = api_port_data, .abort = api_port_abort };
