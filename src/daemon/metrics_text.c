/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics_text.h"

#include <stdio.h>

#include "daemon/routes.h"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *f, const char *name, const char *type, const char *help, unsigned long long value)
{
	head(f, name, type, help);
	fprintf(f, "%s %llu\n", name, value);
}

/* Which requests a series is about. r: NULL for those that no route took. */
static void labels(FILE *f, const struct route *r)
{
	fprintf(f, "method=\"%s\",route=\"%s\"", r ? r->method : "other", r ? r->pattern : "none");
}

static unsigned long long total(const struct request_count *c)
{
	unsigned long long sum = 0;
	for (size_t i = 0; i < REQUEST_CLASSES; i++)
		sum += atomic_load(&c->by_class[i]);
	return sum;
}

/* What is known of the route with a number; NULL for one that was never asked for: it makes no series. */
static const struct request_count *counted(struct app *app, size_t at)
{
	const struct request_count *c = &app->requests.route[at];
	return total(c) ? c : NULL;
}

static void requests(FILE *f, struct app *app)
{
	static const char *const classes[REQUEST_CLASSES] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
	head(f, "declaw_http_requests_total", "counter",
	     "Requests by route and class of status; none: the client left before there was one.");
	for (size_t at = 0; at <= REQUEST_ROUTES; at++) {
		const struct request_count *c = counted(app, at);
		for (size_t i = 0; c && i < REQUEST_CLASSES; i++) {
			const unsigned long long v = atomic_load(&c->by_class[i]);
			if (!v)
				continue;
			fputs("declaw_http_requests_total{", f);
			labels(f, route_at(&app->routes, at));
			fprintf(f, ",code=\"%s\"} %llu\n", classes[i], v);
		}
	}
}

static void duration(FILE *f, const struct request_count *c, const struct route *r)
{
	static const char name[] = "declaw_http_request_duration_seconds";
	unsigned long long sum = 0;
	for (size_t i = 0; i <= REQUEST_BUCKETS; i++) {
		sum += atomic_load(&c->by_duration[i]);
		fprintf(f, "%s_bucket{", name);
		labels(f, r);
		fprintf(f, ",le=\"%s\"} %llu\n", i < REQUEST_BUCKETS ? request_bucket_names[i] : "+Inf", sum);
	}
	const unsigned long long us = atomic_load(&c->duration_us);
	fprintf(f, "%s_sum{", name);
	labels(f, r);
	fprintf(f, "} %llu.%06llu\n%s_count{", us / 1000000, us % 1000000, name);
	labels(f, r);
	/* From the buckets, so that it is the last one's number even while requests end. */
	fprintf(f, "} %llu\n", sum);
}

static void durations(FILE *f, struct app *app)
{
	head(f, "declaw_http_request_duration_seconds", "histogram",
	     "From a request's head to the end of its answer, streams included.");
	for (size_t at = 0; at <= REQUEST_ROUTES; at++) {
		const struct request_count *c = counted(app, at);
		if (c)
			duration(f, c, route_at(&app->routes, at));
	}
}

static void sandboxes(FILE *f, struct app *app)
{
	struct manager_counts c;
	manager_counts(app->manager, &c);
	head(f, "declaw_sandboxes", "gauge", "Sandboxes that are alive, by state.");
	fprintf(f, "declaw_sandboxes{state=\"running\"} %u\ndeclaw_sandboxes{state=\"paused\"} %u\n", c.running,
		c.paused);
	one(f, "declaw_sandboxes_created_total", "counter", "Sandboxes made.", c.created);
	one(f, "declaw_sandboxes_ended_total", "counter", "Sandboxes that ended: killed, timed out, or by themselves.",
	    c.ended);
}

char *metrics_text(struct app *app, size_t *ret_n)
{
	char *text = NULL;
	size_t log_bytes;
	uint64_t log_dropped;
	FILE *f = open_memstream(&text, ret_n);
	if (!f)
		return NULL;
	store_log_counts(app->store, &log_bytes, &log_dropped);
	head(f, "declaw_build_info", "gauge", "Always 1; the label tells the version.");
	fprintf(f, "declaw_build_info{version=\"%s\"} 1\n", DECLAW_VERSION);
	sandboxes(f, app);
	one(f, "declaw_gate_up", "gauge", "Whether the gate, the only way out of sandboxes, runs.",
	    gatectl_is_up(app->gate));
	one(f, "declaw_gate_restarts_total", "counter", "Gates that were started after the first.",
	    atomic_load(&app->gate_restarts));
	one(f, "declaw_log_queue_bytes", "gauge", "Network decisions that wait to be written.", log_bytes);
	one(f, "declaw_log_dropped_total", "counter", "Network decisions that did not fit into the queue.",
	    log_dropped);
	one(f, "declaw_http_requests_active", "gauge", "Requests under way, this one included.",
	    atomic_load(&app->requests.active));
	requests(f, app);
	durations(f, app);
	const int failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
