/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/gatectl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/gatectl_spawn.h"
#include "daemon/bounds.h"
#include "daemon/limits_spec.h"
#include "daemon/log.h"

#define BACKOFF_MAX_MS 1000
/* A life at least this long was a good one: the next start comes at once again. */
#define GOOD_LIFE_MS 10000

/* One call that waits for its answer; on the caller's stack, linked while it waits. */
struct call {
	struct call *next;
	uint64_t seq;
	json_t *reply; /* owned */
	bool done;     /* with reply NULL: this life of the gate has ended */
};

struct gatectl {
	struct gatectl_config config;
	pthread_t supervisor;
	bool supervised;
	pthread_mutex_t send; /* keeps the socket open while somebody sends; taken before lock */
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t change;
	struct gate_process process;
	uint64_t instance, next_seq;
	bool up, stop;
	struct call *calls;
};

static void init_sync(struct gatectl *g)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->change, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_init(&g->send, NULL);
}

static struct timespec deadline(unsigned ms)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return t;
}

/* Takes msg: from here on it is the caller's alone. */
static void answer(struct gatectl *g, json_t *msg_take)
{
	auto_json json_t *msg = msg_take;
	const json_t *seq = json_object_get(msg, "seq");
	pthread_mutex_lock(&g->lock);
	for (struct call *c = g->calls; c; c = c->next) {
		if (json_is_integer(seq) && (uint64_t)json_integer_value(seq) == c->seq && !c->done) {
			c->reply = DW_TAKE(msg);
			c->done = true;
			break;
		}
	}
	pthread_mutex_unlock(&g->lock);
	/* After the lock, which whoever wakes up needs. */
	pthread_cond_broadcast(&g->change);
}

/* Reads until this life of the gate ends. */
static void read_life(struct gatectl *g)
{
	for (;;) {
		auto_json json_t *msg = NULL;
		size_t bytes;
		int r = gate_process_recv(g->process.control, &msg, &bytes);
		if (r < 0)
			return;
		if (r == 0)
			continue;
		const char *event = jsonx_plain_string(json_object_get(msg, "event"));
		if (!event)
			answer(g, DW_TAKE(msg));
		else if (strcmp(event, "decision") == 0)
			g->config.on_decision(g->config.arg, DW_TAKE(msg), bytes);
	}
}

static void *reader_main(void *arg)
{
	read_life(arg);
	return NULL;
}

/* Nothing of this life will be answered any more. Ends the process and lets every caller go. */
static void end_life(struct gatectl *g)
{
	pthread_mutex_lock(&g->lock);
	g->up = false;
	for (struct call *c = g->calls; c; c = c->next)
		c->done = true;
	pthread_cond_broadcast(&g->change);
	pthread_mutex_unlock(&g->lock);
	pthread_mutex_lock(&g->send);
	gate_process_end(&g->process);
	pthread_mutex_unlock(&g->send);
	g->config.on_end(g->config.arg);
}

/* Sleeps before the next start; false when the daemon stops. */
static bool pause_for(struct gatectl *g, unsigned ms)
{
	struct timespec until = deadline(ms);
	pthread_mutex_lock(&g->lock);
	while (!g->stop && ms && pthread_cond_timedwait(&g->change, &g->lock, &until) != ETIMEDOUT)
		;
	bool go = !g->stop;
	pthread_mutex_unlock(&g->lock);
	return go;
}

static void set_up(struct gatectl *g, const struct gate_process *p)
{
	pthread_mutex_lock(&g->lock);
	g->process = *p;
	g->instance++;
	g->up = true;
	/* A stop that came while this life began could not end it. */
	if (g->stop)
		shutdown(p->control, SHUT_RDWR);
	pthread_cond_broadcast(&g->change);
	pthread_mutex_unlock(&g->lock);
}

/* Starts the next life; false when the daemon stops meanwhile. */
static bool respawn(struct gatectl *g, unsigned *backoff_ms)
{
	while (pause_for(g, *backoff_ms)) {
		struct gate_process p = { .control = -1 };
		struct dw_err err = { 0 };
		*backoff_ms = DW_MIN(*backoff_ms * 2 + 50, (unsigned)BACKOFF_MAX_MS);
		if (gate_process_start(&g->config, &p, &err) == 0) {
			set_up(g, &p);
			return true;
		}
		log_event(LOG_LEVEL_ERROR, "gate not started", "error", err.message, NULL);
	}
	return false;
}

/*
 * One life: a reader of its own, so that policies can be attached (which needs answers) while events are read. Returns how
 * long it lasted.
 */
static int64_t live(struct gatectl *g, bool again)
{
	const int64_t begun = clock_mono_ms();
	pthread_t reader;
	int e = pthread_create(&reader, NULL, reader_main, g);
	if (e == 0) {
		if (again)
			g->config.on_restart(g->config.arg);
		pthread_join(reader, NULL);
	}
	end_life(g);
	return clock_mono_ms() - begun;
}

static void *supervisor_main(void *arg)
{
	struct gatectl *g = arg;
	unsigned backoff_ms = 0;
	for (bool again = false;; again = true) {
		if (live(g, again) > GOOD_LIFE_MS)
			backoff_ms = 0;
		pthread_mutex_lock(&g->lock);
		bool stop = g->stop;
		pthread_mutex_unlock(&g->lock);
		if (stop)
			return NULL;
		log_event(LOG_LEVEL_ERROR, "gate ended, starting it again", "pause_ms", LOG_NUM(backoff_ms), NULL);
		if (!respawn(g, &backoff_ms))
			return NULL;
		log_event(LOG_LEVEL_INFO, "gate is up again", "pid", LOG_NUM(g->process.pid), NULL);
	}
}

int gatectl_start(const struct gatectl_config *config, struct gatectl **ret, struct dw_err *err)
{
	struct gatectl *g = calloc(1, sizeof(*g));
	if (!g)
		return dw_err_errno(err, ENOMEM, "starting the gate");
	g->config = *config;
	g->process.control = -1;
	init_sync(g);
	struct gate_process p;
	if (gate_process_start(&g->config, &p, err) < 0) {
		close(g->config.uplink_netns_fd);
		free(g);
		return -1;
	}
	set_up(g, &p);
	*ret = g;
	return 0;
}

int gatectl_supervise(struct gatectl *g, void *arg, struct dw_err *err)
{
	g->config.arg = arg;
	int e = pthread_create(&g->supervisor, NULL, supervisor_main, g);
	if (e)
		return dw_err_errno(err, e, "watching over the gate");
	g->supervised = true;
	return 0;
}

void gatectl_stop(struct gatectl *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_cond_broadcast(&g->change);
	/* The reader sees the end of the socket, and with it the supervisor. */
	if (g->up)
		shutdown(g->process.control, SHUT_RDWR);
	pthread_mutex_unlock(&g->lock);
	if (g->supervised)
		pthread_join(g->supervisor, NULL);
	gate_process_end(&g->process);
	close(g->config.uplink_netns_fd);
	free(g);
}

bool gatectl_is_up(struct gatectl *g)
{
	pthread_mutex_lock(&g->lock);
	bool up = g->up;
	pthread_mutex_unlock(&g->lock);
	return up;
}

uint64_t gatectl_instance(struct gatectl *g)
{
	pthread_mutex_lock(&g->lock);
	uint64_t instance = g->up ? g->instance : 0;
	pthread_mutex_unlock(&g->lock);
	return instance;
}

static int unavailable(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_UNAVAILABLE, "gate_unavailable", "the network gate is being started again");
}

/* Waits for a life of the gate and links c into it. -1 when there is none in time. */
static int enter(struct gatectl *g, struct call *c, unsigned wait_ms, uint64_t *ret_instance)
{
	struct timespec until = deadline(wait_ms);
	pthread_mutex_lock(&g->lock);
	while (!g->up && !g->stop && wait_ms && pthread_cond_timedwait(&g->change, &g->lock, &until) != ETIMEDOUT)
		;
	bool up = g->up && !g->stop;
	if (up) {
		c->seq = ++g->next_seq;
		c->next = g->calls;
		g->calls = c;
		*ret_instance = g->instance;
	}
	pthread_mutex_unlock(&g->lock);
	return up ? 0 : -1;
}

/* Waits for the answer and unlinks c. */
static void leave(struct gatectl *g, struct call *c, bool sent)
{
	struct timespec until = deadline(DAEMON_GATE_CALL_MS);
	pthread_mutex_lock(&g->lock);
	while (sent && !c->done && pthread_cond_timedwait(&g->change, &g->lock, &until) != ETIMEDOUT)
		;
	struct call **at = &g->calls;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	pthread_mutex_unlock(&g->lock);
}

/* A gate that does not answer is as good as dead, and whether it did what was asked nobody knows: end that life, so that
 * the supervisor starts another with what the daemon believes. */
static void give_up(struct gatectl *g, uint64_t instance)
{
	pthread_mutex_lock(&g->lock);
	bool same = g->up && g->instance == instance;
	pthread_mutex_unlock(&g->lock);
	if (!same)
		return;
	log_event(LOG_LEVEL_ERROR, "gate does not answer and is ended", NULL);
	pthread_mutex_lock(&g->send);
	if (g->process.control >= 0)
		shutdown(g->process.control, SHUT_RDWR);
	pthread_mutex_unlock(&g->send);
}

/* Takes msg. The reply is owned by the caller; -1 with UNAVAILABLE. */
static int call(struct gatectl *g, json_t *msg_take, int fd, unsigned wait_ms, json_t **ret, uint64_t *ret_instance,
		struct dw_err *err)
{
	auto_json json_t *msg = msg_take;
	struct call c = { 0 };
	if (!msg)
		return dw_err_errno(err, ENOMEM, "asking the gate");
	if (enter(g, &c, wait_ms, ret_instance) < 0)
		return unavailable(err);
	json_object_set_new(msg, "seq", json_integer((json_int_t)c.seq));
	pthread_mutex_lock(&g->send);
	bool sent = g->process.control >= 0 && gate_process_send(g->process.control, msg, fd) == 0;
	pthread_mutex_unlock(&g->send);
	leave(g, &c, sent);
	if (sent && !c.done)
		give_up(g, *ret_instance);
	if (!c.reply)
		return unavailable(err);
	*ret = c.reply;
	return 0;
}

/* 0 when ok; -1 with *ret_code (in reply) and err. */
static int check(const json_t *reply, const char **ret_code, struct dw_err *err)
{
	if (json_is_true(json_object_get(reply, "ok")))
		return 0;
	const char *code = jsonx_plain_string(json_object_get(reply, "code"));
	const char *message = jsonx_plain_string(json_object_get(reply, "message"));
	*ret_code = code ? code : "";
	return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the network gate refused: %.300s",
			  message ? message : "no reason given");
}

/* The members that attach and update share. */
static json_t *attach_message(const char *op, const struct gatectl_attach *a)
{
	json_t *limits = limits_spec_json(&a->limits);
	json_t *msg = json_pack("{ss ss sI}", "op", op, "sandbox", a->sandbox, "generation", (json_int_t)a->generation);
	if (msg && limits)
		json_object_set_new(msg, "limits", DW_TAKE(limits));
	json_decref(limits);
	return msg;
}

int gatectl_attach(struct gatectl *g, const struct gatectl_attach *a, uint64_t *ret_instance, struct dw_err *err)
{
	char text[DW_ADDR_STRLEN];
	json_t *msg = attach_message("attach", a);
	auto_json json_t *reply = NULL;
	const char *code = "";
	if (msg) {
		json_object_set_new(msg, "addr4", json_string(dw_addr_format(&a->addr4, text)));
		if (a->addr6.family != DW_AF_NONE)
			json_object_set_new(msg, "addr6", json_string(dw_addr_format(&a->addr6, text)));
	}
	if (call(g, msg, a->policy_fd, a->wait_ms, &reply, ret_instance, err) < 0)
		return -1;
	if (check(reply, &code, err) == 0 || strcmp(code, "exists") == 0)
		return 0;
	return -1;
}

int gatectl_update(struct gatectl *g, const struct gatectl_attach *a, struct dw_err *err)
{
	auto_json json_t *reply = NULL;
	const char *code = "";
	uint64_t instance;
	if (call(g, attach_message("update", a), a->policy_fd, a->wait_ms, &reply, &instance, err) < 0)
		return -1;
	if (check(reply, &code, err) == 0)
		return 0;
	if (strcmp(code, "not_found") == 0)
		err->kind = DW_ERR_NOT_FOUND;
	return -1;
}

int gatectl_query(struct gatectl *g, const char *sandbox, json_t **ret, struct dw_err *err)
{
	auto_json json_t *reply = NULL;
	const char *code = "";
	uint64_t instance;
	if (call(g, json_pack("{ss ss}", "op", "query", "sandbox", sandbox), -1, 0, &reply, &instance, err) < 0)
		return -1;
	if (check(reply, &code, err) < 0) {
		if (strcmp(code, "not_found") == 0)
			err->kind = DW_ERR_NOT_FOUND;
		return -1;
	}
	*ret = DW_TAKE(reply);
	return 0;
}

int gatectl_detach(struct gatectl *g, const char *sandbox, struct dw_err *err)
{
	auto_json json_t *reply = NULL;
	uint64_t instance;
	const char *code;
	struct dw_err gone = { 0 };
	if (call(g, json_pack("{ss ss}", "op", "detach", "sandbox", sandbox), -1, 0, &reply, &instance, &gone) < 0) {
		/* A gate that ended has forgotten everybody; one that does not answer is another matter. */
		if (gatectl_is_up(g)) {
			*err = gone;
			return -1;
		}
		return 0;
	}
	return check(reply, &code, err);
}

void gatectl_barrier(struct gatectl *g)
{
	auto_json json_t *reply = NULL;
	uint64_t instance;
	/* The answer itself does not matter: it stands behind every earlier event in the socket. */
	DW_IGNORE(call(g, json_pack("{ss}", "op", "status"), -1, 0, &reply, &instance, NULL));
}
