/* SPDX-License-Identifier: Apache-2.0 */
/* A flow from accept() to its end: what its sockets' events do, and what it waits for next. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "gate/flow.h"
#include "gate/limits.h"

/* Enough to say whether buffers without a verdict matter; small hellos and heads stay below. */
#define SMALL_BUFFER 8192u
/* Of a watched client, in one go. */
#define WATCH_READS 16

static void on_client(void *arg, uint32_t events);

static uint32_t client_events(const struct gate_flow *f)
{
	uint32_t e = relay_wants_write(&f->down) ? EPOLLOUT : 0;
	bool read = false;

	switch (f->state) {
	case FLOW_INSPECT:
		read = !f->up.eof;
		break;
	case FLOW_HTTP:
		read = f->http.phase != HTTP_UPGRADE && relay_wants_read(&f->up);
		break;
	case FLOW_WATCH:
	case FLOW_RELAY:
		read = relay_wants_read(&f->up);
		break;
	case FLOW_CLOSING:
		read = !f->up.eof;
		break;
	case FLOW_DEAD:
	case FLOW_RESOLVING:
	case FLOW_DIALLING:
	case FLOW_ADMITTED:
	case FLOW__COUNT:
		break;
	}
	return e | (read ? EPOLLIN : 0);
}

static uint32_t server_events(const struct gate_flow *f)
{
	return (relay_wants_read(&f->down) ? EPOLLIN : 0) | (relay_wants_write(&f->up) ? EPOLLOUT : 0);
}

static int watch_side(struct gate_flow *f, struct flow_side *side, uint32_t events, void (*fn)(void *, uint32_t))
{
	struct dw_loop *l = &f->g->loop;

	if (side->fd < 0 || side->hup) {
		dw_watch_del(l, &side->watch);
		return 0;
	}
	if (side->watch.fd < 0)
		return dw_watch_add(l, &side->watch, side->fd, events, fn, f);
	return dw_watch_set(l, &side->watch, events);
}

/* A watched flow's buffer is the kernel's business as long as its bytes may go. */
static void count_held(struct gate_flow *f)
{
	const size_t held = f->state != FLOW_WATCH || f->tls_held != STARTTLS_NONE ? f->up.cap : 0;

	f->sandbox->tcp_held += held - f->held;
	f->held = held;
}

/* The one place where epoll interest comes from. */
static void flow_update(struct gate_flow *f)
{
	count_held(f);
	if (watch_side(f, &f->client, client_events(f), on_client) < 0 ||
	    watch_side(f, &f->server, server_events(f), flow_on_server) < 0)
		flow_abort(f);
}

bool flow_held_bytes_ok(struct gate_flow *f)
{
	count_held(f);
	return f->up.cap <= SMALL_BUFFER || f->sandbox->tcp_held <= FLOW_HELD_BYTES;
}

void flow_refuse(struct gate_flow *f, const struct inspect_result *r, const uint8_t *head, size_t head_n)
{
	const struct inspect in = flow_inspect(f);
	const bool untouched = f->up.bytes == 0 && !relay_pending(&f->up);

	flow_record(f, &r->decision, r->name);
	f->answer = inspect_answer_build(&in, r, head, head_n, &f->answer_n);
	relay_shut(&f->up);
	relay_open(&f->down);
	f->down.keep = f->answer != NULL;
	if (untouched) {
		/* The server has seen a connection and nothing on it. What it said by itself is not worth keeping. */
		flow_reset_server(f);
		relay_dir_done(&f->g->flows->pool, &f->down);
	}
	flow_set_state(f, FLOW_CLOSING);
	if (untouched)
		flow_deadline(f, FLOW_LINGER_MS);
}

uint32_t flow_inspect_ms(const struct gate_flow *f)
{
	return flow_observes(f) ? FLOW_OBSERVE_MS : GATE_INSPECT_TIMEOUT_MS;
}

static void let_pass(struct gate_flow *f, const struct inspect_result *r)
{
	/* On any port but this one a server may take a hello for nonsense and then be asked for TLS in its own words. */
	const bool is_all = f->key.dport == 443 || flow_observes(f);

	if (r->proto != INSPECT_PROTO_TLS || !is_all) {
		flow_watch(f);
	} else if (r->hello_n) {
		flow_watch_answer(f, r->hello_n);
	} else { /* an observer has told that it cannot be read */
		relay_open(&f->up);
		flow_set_state(f, FLOW_RELAY);
	}
}

/* Against the policy, or under one that only observes: what is no TLS may still become it. */
static void turn_away(struct gate_flow *f, const struct inspect_result *r)
{
	if (!flow_observe(f, r))
		flow_refuse(f, r, f->up.buf, f->up.n);
	else
		let_pass(f, r);
}

static void turn_away_for(struct gate_flow *f, enum dw_reason reason)
{
	const struct inspect_result r = {
		.decision = { .verdict = DW_DENY, .reason = reason, .rule = f->decision.rule },
		.proto = f->proto,
	};
	turn_away(f, &r);
}

static void inspect_now(struct gate_flow *f)
{
	const struct inspect in = flow_inspect(f);
	struct inspect_result r;

	switch (inspect_first(&in, f->up.buf, f->up.n, &f->guess, f->g->flows->scratch, &r)) {
	case INSPECT_MORE:
		if (f->up.eof || !relay_room(&f->up))
			turn_away_for(f, DW_REASON_UNDECIDED);
		else if (!flow_held_bytes_ok(f))
			turn_away_for(f, DW_REASON_GATE_RESOURCES);
		else if (!f->deadline.index)
			flow_deadline(f, flow_inspect_ms(f));
		return;
	case INSPECT_PASS:
		if (flow_prove(f, &r))
			let_pass(f, &r);
		else
			turn_away(f, &r);
		return;
	case INSPECT_HTTP:
		flow_set_state(f, FLOW_HTTP);
		http_advance(f);
		return;
	case INSPECT_REFUSE:
		turn_away(f, &r);
		return;
	}
}

/* A client that ends without a word has nothing to prove, and its end may be what the server waits for. */
static void client_ended(struct gate_flow *f)
{
	if (f->state == FLOW_HTTP) {
		http_eof(f);
	} else if (f->up.n) {
		inspect_now(f);
	} else {
		relay_open(&f->up);
		flow_set_state(f, FLOW_RELAY);
	}
}

static enum relay_result read_client(struct gate_flow *f)
{
	size_t n = 0;

	if (f->up.eof || relay_pending(&f->up) || (f->state == FLOW_HTTP && f->http.phase == HTTP_UPGRADE))
		return RELAY_OK;
	enum relay_result r = relay_read(&f->up, f->client.fd, &n);
	if (r != RELAY_OK)
		return r;
	if (n && f->state == FLOW_INSPECT)
		inspect_now(f);
	else if (n)
		http_advance(f);
	else if (f->up.eof)
		client_ended(f);
	return RELAY_OK;
}

/* What the server says is looked at once and passed on as it comes. Its end is looked at as no bytes. */
static enum relay_result read_server(struct gate_flow *f, void (*look)(struct gate_flow *f, const uint8_t *p, size_t n))
{
	struct relay_dir *d = &f->down;
	size_t n = 0;

	if (d->eof || relay_pending(d))
		return RELAY_OK;
	enum relay_result r = relay_read(d, f->server.fd, &n);
	d->ok = d->n;
	if (n || d->eof)
		look(f, n ? d->buf + d->n - n : NULL, n);
	return r;
}

/* Reads and sends in turn, so that a fast client does not cost a round of the loop for each buffer. */
static enum relay_result step_watch(struct gate_flow *f)
{
	enum relay_result r = RELAY_OK;

	for (int i = 0; i < WATCH_READS && r == RELAY_OK && f->state == FLOW_WATCH; i++) {
		size_t n = 0;
		if (f->up.eof || relay_pending(&f->up))
			break;
		r = relay_read(&f->up, f->client.fd, &n);
		if (r != RELAY_OK || (n == 0 && !f->up.eof))
			break;
		flow_watch_read(f);
		if (f->state == FLOW_WATCH)
			r = relay_pump(&f->g->flows->pool, &f->up, f->client.fd, f->server.fd);
	}
	return r;
}

static enum relay_result step_live(struct gate_flow *f)
{
	struct relay_pool *pool = &f->g->flows->pool;
	enum relay_result r = RELAY_OK;

	if (f->state == FLOW_WATCH)
		r = step_watch(f);
	if (f->state == FLOW_INSPECT || f->state == FLOW_HTTP)
		r = read_client(f);
	if (r == RELAY_OK && f->state == FLOW_HTTP && f->http.phase == HTTP_UPGRADE)
		r = read_server(f, http_response);
	if (r == RELAY_OK && f->state == FLOW_WATCH && f->answer_due)
		r = read_server(f, flow_watch_server);
	if (r != RELAY_OK || f->state == FLOW_CLOSING || f->state == FLOW_DEAD)
		return r;
	r = relay_pump(pool, &f->up, f->client.fd, f->server.fd);
	if (r == RELAY_OK)
		r = relay_pump(pool, &f->down, f->server.fd, f->client.fd);
	if (r == RELAY_OK && f->up.fin && f->down.fin)
		flow_end(f);
	return r;
}

/* What a refused client still sends is read and thrown away: unread bytes would turn the end into a reset. */
static enum relay_result discard_client(struct gate_flow *f)
{
	for (int i = 0; i < 4 && !f->up.eof; i++) {
		ssize_t n = recv(f->client.fd, f->g->flows->scratch, sizeof(f->g->flows->scratch), MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? RELAY_OK : RELAY_RESET;
		f->up.eof = n == 0;
	}
	return RELAY_OK;
}

static enum relay_result add_answer(struct gate_flow *f)
{
	flow_close_server(f);
	f->down.eof = true;
	f->down.keep = false;
	flow_deadline(f, FLOW_LINGER_MS);
	if (!f->answer)
		return RELAY_OK;
	enum relay_result r = relay_append(&f->down, f->answer, f->answer_n);
	free(f->answer);
	f->answer = NULL;
	return r;
}

static enum relay_result step_closing(struct gate_flow *f)
{
	struct relay_pool *pool = &f->g->flows->pool;
	enum relay_result r = RELAY_OK;

	if (f->server.fd >= 0) {
		r = relay_pump(pool, &f->up, f->client.fd, f->server.fd);
		if (r == RELAY_OK)
			r = relay_pump(pool, &f->down, f->server.fd, f->client.fd);
	}
	if (r == RELAY_OK && !f->down.fin && (f->server.fd < 0 || (f->down.eof && !relay_pending(&f->down)))) {
		if (f->server.fd >= 0 || !f->down.eof)
			r = add_answer(f);
		if (r == RELAY_OK)
			r = relay_pump(pool, &f->down, -1, f->client.fd);
	}
	if (r == RELAY_OK)
		r = discard_client(f);
	if (r == RELAY_OK && f->down.fin && f->up.eof)
		flow_end(f);
	return r;
}

static uint64_t progress(const struct gate_flow *f)
{
	return f->up.bytes + f->down.bytes + f->up.n + f->down.n + f->up.eof + f->down.eof;
}

void flow_run(struct gate_flow *f)
{
	uint64_t before;

	/* One flow may go over the quota by what it moves in one turn. Others with data in hand must not each do so after it. */
	if (!gate_limit_bytes(f->sandbox, 0, 0)) {
		flow_refuse_quota(f);
		return;
	}
	do {
		before = progress(f);
		enum relay_result r = f->state == FLOW_CLOSING ? step_closing(f) : step_live(f);
		if (r == RELAY_OK && f->state == FLOW_CLOSING)
			r = step_closing(f);
		if (r == RELAY_RESOURCES)
			flow_refuse_quietly(f, DW_REASON_GATE_RESOURCES);
		else if (r == RELAY_RESET)
			flow_abort(f);
		if (f->state != FLOW_DEAD && !flow_count(f))
			flow_refuse_quota(f);
		if (f->state == FLOW_DEAD)
			return;
		/* A side that is watched no longer has all it ever sends in the kernel: it must be read to its end. */
	} while ((f->client.hup || f->server.hup) && progress(f) != before);
	flow_update(f);
}

static void on_side(struct gate_flow *f, struct flow_side *side, uint32_t events)
{
	if (events & EPOLLHUP)
		side->hup = true;
	flow_run(f);
	/* What came before the reset has been passed on as far as the other side takes it. */
	if (f->state != FLOW_DEAD && events & EPOLLERR)
		flow_abort(f);
}

static void on_client(void *arg, uint32_t events)
{
	struct gate_flow *f = arg;

	if (f->state >= FLOW_INSPECT)
		on_side(f, &f->client, events);
}

void flow_on_server(void *arg, uint32_t events)
{
	struct gate_flow *f = arg;

	if (f->state == FLOW_DIALLING)
		flow_dial_event(f);
	else if (f->state >= FLOW_INSPECT)
		on_side(f, &f->server, events);
}

bool flow_count(struct gate_flow *f)
{
	const uint64_t out = f->up.bytes - f->counted_out, in = f->down.bytes - f->counted_in;

	f->counted_out = f->up.bytes;
	f->counted_in = f->down.bytes;
	return (!out && !in) || gate_limit_bytes(f->sandbox, out, in);
}

void flow_refuse_quota(struct gate_flow *f)
{
	const struct dw_decision d = { .reason = DW_REASON_LIMIT_BYTES, .rule = DW_RULE_NONE };

	flow_record(f, &d, flow_name(f));
	flow_abort(f);
}

/* For the record alone: of a flow that shows no name itself, whose address the sandbox was given last. */
static void name_by_pin(struct gate_flow *f)
{
	struct dw_pin pin;
	uint32_t iter = 0;

	if (!f->target.name && dw_pins_next(f->sandbox->pins, &f->key.dst, &iter, &pin))
		f->target.name = pin.name;
}

void flow_accepted(struct gate_flow *f, int fd)
{
	/* Its options are the listener's. */
	f->client.fd = fd;
	if (f->decision.inspect == DW_INSPECT_NONE) {
		flow_record_allow(f);
		flow_set_state(f, FLOW_RELAY);
	} else {
		if (flow_observes(f))
			name_by_pin(f);
		f->up.held = true;
		flow_set_state(f, FLOW_INSPECT);
	}
	flow_update(f);
}

static void closing_deadline(struct gate_flow *f)
{
	if (f->server.fd >= 0 && f->down.bytes != f->drained) {
		f->drained = f->down.bytes;
		flow_deadline(f, FLOW_DRAIN_MS);
		return;
	}
	flow_end(f);
}

void flow_on_deadline(void *arg)
{
	struct gate_flow *f = arg;

	switch (f->state) {
	case FLOW_RESOLVING:
		flow_refuse_quietly(f, DW_REASON_RESOLVER_FAILED);
		return;
	case FLOW_INSPECT:
	case FLOW_HTTP:
		turn_away_for(f, DW_REASON_UNDECIDED);
		flow_run(f);
		return;
	case FLOW_WATCH:
		flow_watch_deadline(f);
		return;
	case FLOW_CLOSING:
		closing_deadline(f);
		return;
	case FLOW_DIALLING: /* the far side said nothing, so the client hears nothing */
	case FLOW_ADMITTED:
	case FLOW_DEAD:
	case FLOW_RELAY:
	case FLOW__COUNT:
		flow_end(f);
		return;
	}
}
