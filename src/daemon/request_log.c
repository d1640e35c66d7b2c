/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request_log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/http.h"
#include "daemon/log.h"

static const int64_t bucket_us[REQUEST_BUCKETS] = {
	1000, 2500, 5000, 10000, 50000, 250000, 1000000, 5000000, 30000000, 300000000,
};
const char *const request_bucket_names[REQUEST_BUCKETS] = {
	"0.001", "0.0025", "0.005", "0.01", "0.05", "0.25", "1", "5", "30", "300",
};

/* Time that no clock change moves; a machine's sleep is nobody's waiting. */
static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A client's own id, so that its log and ours can be held together; only one that can do no harm in either. */
static bool id_ok(const char *id)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const size_t n = strlen(id);
	return n && n < REQUEST_ID_SIZE && strspn(id, plain) == n;
}

void request_begin(struct http_request *rq)
{
	const char *given = http_header(rq, "X-Request-Id");
	rq->begun_us = now_us();
	atomic_fetch_add(&rq->app->requests.active, 1);
	if (given && id_ok(given))
		snprintf(rq->request_id, sizeof(rq->request_id), "%s", given);
	else
		random_token(rq->request_id, 16);
}

static struct request_count *count_of(struct http_request *rq)
{
	const size_t at = rq->route ? route_number(&rq->app->routes, rq->route) : REQUEST_ROUTES;
	return &rq->app->requests.route[at < REQUEST_ROUTES ? at : REQUEST_ROUTES];
}

static void count(struct http_request *rq, int64_t took_us)
{
	struct request_count *c = count_of(rq);
	unsigned bucket = 0;
	while (bucket < REQUEST_BUCKETS && took_us > bucket_us[bucket])
		bucket++;
	atomic_fetch_add(&c->by_class[rq->status / 100 < REQUEST_CLASSES ? rq->status / 100 : 0], 1);
	atomic_fetch_add(&c->by_duration[bucket], 1);
	atomic_fetch_add(&c->duration_us, (unsigned long long)took_us);
}

/* Anybody can cause lines of requests without a key, as fast as the network goes. */
static bool stranger_has_line(struct request_counts *r)
{
	const int64_t second = clock_mono_ms() / 1000;
	if (atomic_exchange(&r->log_second, second) != second)
		atomic_store(&r->log_lines, 0);
	return atomic_fetch_add(&r->log_lines, 1) < DAEMON_HTTP_LOG_LINES;
}

static bool wanted(struct http_request *rq)
{
	switch (rq->app->options.log_requests) {
	case OPTIONS_LOG_OFF:
		return false;
	case OPTIONS_LOG_ERRORS:
		if (rq->status && rq->status < 400)
			return false;
		break;
	case OPTIONS_LOG_ALL:
		break;
	}
	return rq->caller.key_id[0] || stranger_has_line(&rq->app->requests);
}

void request_end(struct http_request *rq)
{
	const int64_t took_us = now_us() - rq->begun_us;
	atomic_fetch_sub(&rq->app->requests.active, 1);
	count(rq, took_us);
	if (!wanted(rq))
		return;
	char ms[32];
	snprintf(ms, sizeof(ms), "%.1f", (double)took_us / 1000);
	log_event(LOG_LEVEL_INFO, "request", "method", rq->route ? rq->route->method : "-", "route",
		  rq->route ? rq->route->pattern : "-", "status", LOG_NUM(rq->status), "ms", ms, "key",
		  rq->caller.key_id[0] ? rq->caller.key_id : "-", "id", rq->id[0] ? rq->id : "-", "request",
		  rq->request_id, NULL);
}
