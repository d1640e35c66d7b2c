/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/watchers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "e2b/rpc_files.h"
#include "e2b/target.h"
#include "e2b/watch_answer.h"

#define WATCHERS_MAX     1024u   /* an operation with an agent each */
#define WATCHERS_SANDBOX 16u     /* of its operations: others need some, too */
#define WATCHERS_IDLE_MS 3600000 /* somebody who asks at all asks more often */
#define WATCHERS_TAKE_MS 1000    /* for one answer: an entry is an operation of its own, as slow as the sandbox likes */
#define ID_RANDOM        20
#define MORE_MS          2 /* between what has happened and the agent's word of it */

struct watcher {
	struct watcher *next;
	unsigned refs;    /* under the table's lock */
	int64_t asked_ms; /* the same */
	char id[sizeof("watch-") + ID_RANDOM];
	char sandbox[ROUTE_ID_SIZE];

	pthread_mutex_t lock; /* of what follows: one call at a time */
	struct agent_op op;
	struct rpc_watched what;
	bool with_entry, over;
	struct dw_err why; /* it is over */
};

struct watchers {
	pthread_mutex_t lock;
	struct watcher *first;
	unsigned n;
};

int watchers_new(struct watchers **ret, struct dw_err *err)
{
	struct watchers *all = calloc(1, sizeof(*all));
	if (!all)
		return dw_err_errno(err, ENOMEM, "starting");
	pthread_mutex_init(&all->lock, NULL);
	*ret = all;
	return 0;
}

static void watcher_free(struct watcher *w)
{
	agent_op_close(&w->op);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
DW_DEFINE_CLEANUP(struct watcher *, watcher_free)

void watchers_free(struct watchers *all)
{
	if (!all)
		return;
	for (struct watcher *w = all->first, *next; w; w = next) {
		next = w->next;
		watcher_free(w);
	}
	pthread_mutex_destroy(&all->lock);
	free(all);
}

/* Takes the watcher at *at out of the table, whose lock is held. Returns it when nobody uses it. */
static struct watcher *unlist(struct watchers *all, struct watcher **at)
{
	struct watcher *w = *at;
	*at = w->next;
	all->n--;
	return --w->refs ? NULL : w;
}

static void unref(struct watchers *all, struct watcher *w)
{
	pthread_mutex_lock(&all->lock);
	const bool last = --w->refs == 0;
	pthread_mutex_unlock(&all->lock);
	if (last)
		watcher_free(w);
}

/* Those that nobody asks for, and those of sandboxes that have ended. */
static void sweep(struct watchers *all)
{
	const int64_t now = clock_mono_ms();
	struct watcher *gone = NULL;
	pthread_mutex_lock(&all->lock);
	for (struct watcher **at = &all->first; *at;) {
		struct watcher *w = *at;
		if (now - w->asked_ms < WATCHERS_IDLE_MS && sandbox_state(w->op.sandbox) != RECORD_KILLED) {
			at = &w->next;
			continue;
		}
		w = unlist(all, at);
		if (w) {
			w->next = gone;
			gone = w;
		}
	}
	pthread_mutex_unlock(&all->lock);
	for (struct watcher *next; gone; gone = next) {
		next = gone->next;
		watcher_free(gone);
	}
}

/* Into the table. False when that is full. */
static bool enlist(struct watchers *all, struct watcher *w)
{
	unsigned same = 0;
	pthread_mutex_lock(&all->lock);
	for (const struct watcher *o = all->first; o; o = o->next)
		same += strcmp(o->sandbox, w->sandbox) == 0;
	const bool room = all->n < WATCHERS_MAX && same < WATCHERS_SANDBOX;
	if (room) {
		w->refs = 1;
		w->asked_ms = clock_mono_ms();
		w->next = all->first;
		all->first = w;
		all->n++;
	}
	pthread_mutex_unlock(&all->lock);
	return room;
}

int e2b_watcher_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct connect_call call;
	DW_AUTO(watcher_free) struct watcher *w = calloc(1, sizeof(*w));
	if (!w)
		return dw_err_errno(err, ENOMEM, "watching the directory");
	pthread_mutex_init(&w->lock, NULL);
	sweep(rq->app->watchers);
	if (rpc_watch_begin(rq, &w->op, &w->what, &call, err) < 0)
		return -1;
	/* It stays when this client has gone, and later ones are not this request. */
	w->op.client_fd = -1;
	w->with_entry = w->what.rq != NULL;
	snprintf(w->sandbox, sizeof(w->sandbox), "%s", rq->id);
	snprintf(w->id, sizeof(w->id), "watch-");
	random_token(w->id + strlen(w->id), ID_RANDOM);
	rp->json = json_pack("{ss}", "watcherId", w->id);
	if (!rp->json)
		return dw_err_errno(err, ENOMEM, "watching the directory");
	if (!enlist(rq->app->watchers, w)) {
		json_decref(DW_TAKE(rp->json));
		return dw_err_set(err, DW_ERR_LIMIT, "too_many_watchers",
				  "more than %u watchers of this sandbox, or more than %u in all: remove some",
				  WATCHERS_SANDBOX, WATCHERS_MAX);
	}
	DW_IGNORE(DW_TAKE(w)); /* the table's now */
	return 0;
}

static int read_id(struct http_request *rq, const char **ret, struct dw_err *err)
{
	struct connect_call call;
	*ret = "";
	if (connect_begin(rq, &call, err) < 0 || message_string(rq->json, "watcherId", ret, err) < 0)
		return -1;
	return e2b_check_running(rq, err);
}

static struct watcher **find(struct watchers *all, const char *sandbox, const char *id)
{
	struct watcher **at = &all->first;
	while (*at && (strcmp((*at)->id, id) != 0 || strcmp((*at)->sandbox, sandbox) != 0))
		at = &(*at)->next;
	return at;
}

/* One event, if there is one now: 1, 0, or -1 without memory. What ends the watch is noted in it. */
static int take_event(struct watcher *w, struct watch_answer *a)
{
	struct dw_agentp_frame f;
	struct dw_agentp_event e;
	struct rpc_event event;
	bool ok = true;
	w->op.deadline_ms = clock_mono_ms() + MORE_MS;
	switch (agent_op_next(&w->op, &f)) {
	case AGENT_OK:
		break;
	case AGENT_TIMEOUT:
	case AGENT_CANCELLED: /* the server stops, or nobody waits for the answer */
		return 0;
	case AGENT_LOST:
		w->over = true;
		DW_IGNORE(agent_op_lost(&w->op, AGENT_LOST, &w->why)); /* it fails by design: why is what counts */
		return 0;
	}
	if (f.type != DW_AGENTP_EVENT || dw_agentp_event_parse(f.payload, &e) != DW_PARSE_OK)
		e = (struct dw_agentp_event){ .what = DW_AGENTP_HAPPENED_NOTHING };
	switch (rpc_watch_event(&w->what, &e, &event, &w->why)) {
	case RPC_WATCH_EVENT:
		break;
	case RPC_WATCH_OVER:
		w->over = true;
		return 0;
	case RPC_WATCH_MEMORY:
		return -1;
	}
	for (unsigned i = 0; i < event.n; i++)
		ok &= watch_answer_add(a, event.message[i]);
	return ok ? 1 : -1;
}

/* Whoever is gone leaves the rest for the next call. */
static bool is_wanted(const struct watcher *w)
{
	struct pollfd client = { .fd = w->op.client_fd, .events = POLLRDHUP };
	return poll(&client, 1, 0) <= 0;
}

static int take_events(struct watcher *w, struct watch_answer *a, struct dw_err *err)
{
	const int64_t until = clock_mono_ms() + WATCHERS_TAKE_MS;
	int r = 1;
	if (watch_answer_begin(a, w->op.sandbox, err) < 0)
		return -1;
	while (r > 0 && !w->over && !watch_answer_full(a) && clock_mono_ms() < until && is_wanted(w))
		r = take_event(w, a);
	if (r < 0)
		return dw_err_errno(err, ENOMEM, "watching the directory");
	/* What came before the end is told first. */
	if (w->over && !a->events) {
		*err = w->why;
		return -1;
	}
	return 0;
}

/* For one client at a time: others would wait without an end of their own. */
static int take_alone(struct watcher *w, struct http_request *rq, struct watch_answer *a, struct dw_err *err)
{
	if (pthread_mutex_trylock(&w->lock))
		return dw_err_set(err, DW_ERR_CONFLICT, "watcher_busy",
				  "another call takes the events of this watcher: ask again when it has been answered");
	w->what.rq = w->with_entry ? rq : NULL;
	w->op.client_fd = http_client_fd(rq);
	const int r = take_events(w, a, err);
	w->what.rq = NULL;
	w->op.client_fd = -1;
	pthread_mutex_unlock(&w->lock);
	return r;
}

int e2b_watcher_events(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct watchers *all = rq->app->watchers;
	auto_watch_answer struct watch_answer answer = { 0 };
	const char *id;
	if (read_id(rq, &id, err) < 0)
		return -1;
	pthread_mutex_lock(&all->lock);
	struct watcher *w = *find(all, rq->id, id);
	if (w) {
		w->refs++;
		w->asked_ms = clock_mono_ms();
	}
	pthread_mutex_unlock(&all->lock);
	if (!w)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "watcher_not_found", "there is no such watcher");
	const int r = take_alone(w, rq, &answer, err);
	unref(all, w);
	if (r < 0)
		return -1;
	rp->response = watch_answer_response(&answer);
	return rp->response ? 0 : dw_err_errno(err, ENOMEM, "watching the directory");
}

int e2b_watcher_remove(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct watchers *all = rq->app->watchers;
	struct watcher *gone = NULL;
	const char *id;
	if (read_id(rq, &id, err) < 0)
		return -1;
	pthread_mutex_lock(&all->lock);
	struct watcher **at = find(all, rq->id, id);
	const bool found = *at != NULL;
	if (found)
		gone = unlist(all, at);
	pthread_mutex_unlock(&all->lock);
	if (gone)
		watcher_free(gone);
	if (!found)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "watcher_not_found", "there is no such watcher");
	rp->json = json_object();
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "removing the watcher");
}
