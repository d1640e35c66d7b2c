/* SPDX-License-Identifier: Apache-2.0 */
/* A foreground command: the request, and its output within bounds. */
#include "daemon/agentc.h"

#include <errno.h>
#include <string.h>

#include "daemon/bounds.h"
#include "daemon/clock.h"
#include "daemon/output_share.h"

/* What of a buffer of cap bytes is counted: the first bytes of a stream are its own, whatever others hold. */
static size_t counted(size_t cap)
{
	return cap > DAEMON_OUTPUT_OWN ? cap - DAEMON_OUTPUT_OWN : 0;
}

void agent_result_done(struct agent_result *r)
{
	if (r->share)
		output_share_give(r->share, counted(r->out.cap) + counted(r->err.cap));
	free(r->out.p);
	free(r->err.p);
	*r = (struct agent_result){ 0 };
}

/* A buffer of cap bytes; false, and the old one stays, when a limit or memory is reached. */
static bool grow(struct agent_output *o, atomic_size_t *share, size_t cap)
{
	const size_t add = counted(cap) - counted(o->cap);
	if (!output_share_take(share, add))
		return false;
	char *p = realloc(o->p, cap);
	if (!p) {
		output_share_give(share, add);
		return false;
	}
	o->p = p;
	o->cap = cap;
	return true;
}

/* Makes room for n more bytes, or for fewer; returns how many have room. */
static size_t reserve(struct agent_output *o, atomic_size_t *share, size_t n)
{
	const size_t want = o->n + n;
	if (want > o->cap && !grow(o, share, DW_MIN(DW_MAX(o->cap * 2, want), (size_t)DAEMON_OUTPUT_MAX)) &&
	    o->cap < DAEMON_OUTPUT_OWN)
		DW_IGNORE(grow(o, share, DAEMON_OUTPUT_OWN)); /* what has no room is dropped, and that is said */
	return DW_MIN(n, o->cap - o->n);
}

/* Keeps what fits; the rest is read all the same, so that the command goes on. */
static void keep(struct agent_output *o, atomic_size_t *share, struct dw_span s)
{
	size_t n = o->truncated ? 0 : reserve(o, share, s.n);
	if (n)
		memcpy(o->p + o->n, s.p, n);
	o->n += n;
	o->truncated |= n < s.n;
}

static struct dw_span span(const char *s)
{
	return (struct dw_span){ .p = (const uint8_t *)s, .n = strlen(s) };
}

/* Takes base; entries of over replace those of it. NULL when memory is out. */
static json_t *merge(json_t *base, const json_t *over)
{
	if (base && over && json_object_update(base, (json_t *)(uintptr_t)over) < 0) { /* does not change over */
		json_decref(base);
		return NULL;
	}
	return base;
}

/* The encoded request; malloc'ed, *ret_n bytes. NULL when it does not fit. */
static uint8_t *encode(const struct agent_command *c, json_t *envs, size_t *ret_n)
{
	dw_autofree struct dw_agentp_exec *e = calloc(1, sizeof(*e));
	dw_autofree uint8_t *buf = malloc(DW_AGENTP_FRAME_MAX);
	if (!e || !buf)
		return NULL;
	e->with_stdin = c->with_stdin;
	e->cols = c->cols;
	e->rows = c->rows;
	e->timeout_ms = c->timeout_ms;
	e->user = span(c->user);
	e->cwd = span(c->cwd);
	e->cmd = span(c->cmd);
	e->program = c->program;
	if (c->arg_n > DW_AGENTP_ARG_MAX)
		return NULL;
	for (size_t i = 0; i < c->arg_n; i++)
		e->arg[e->arg_n++] = span(c->args[i]);
	const char *key;
	json_t *value;
	json_object_foreach(envs, key, value)
	{
		if (e->env_n == DW_AGENTP_ENV_MAX)
			return NULL;
		e->env[e->env_n].key = span(key);
		e->env[e->env_n++].value = span(json_string_value(value));
	}
	*ret_n = dw_agentp_exec_build(e, buf, DW_AGENTP_FRAME_MAX);
	return *ret_n ? DW_TAKE(buf) : NULL;
}

int agent_command_start(struct agent_op *op, const struct agent_command *c, struct dw_err *err)
{
	auto_json json_t *envs = merge(sandbox_envs(op->sandbox), c->envs);
	size_t n = 0;
	if (!envs)
		return dw_err_errno(err, ENOMEM, "running the command");
	dw_autofree uint8_t *request = encode(c, envs, &n);
	if (!request)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "cmd, its arguments and envs are too large together");
	op->deadline_ms = clock_mono_ms() + DAEMON_COMMAND_GRACE_MS;
	enum agent_status st = agent_op_send(op, DW_AGENTP_EXEC, request, n);
	if (st != AGENT_OK)
		return agent_op_lost(op, st, err);
	op->deadline_ms = c->timeout_ms ? clock_mono_ms() + c->timeout_ms + DAEMON_COMMAND_GRACE_MS : 0;
	return 0;
}

/* 1 = that was the last frame, 0 = go on, -1 with err. */
static int take_frame(struct agent_op *op, const struct dw_agentp_frame *f, struct agent_result *r, struct dw_err *err)
{
	struct dw_rd rd;
	struct dw_agentp_exit e;
	switch (f->type) {
	case DW_AGENTP_STARTED:
		rd = dw_rd_init(f->payload.p, f->payload.n, false);
		r->pid = dw_rd_u32(&rd);
		if (!dw_rd_done(&rd))
			break;
		return 0;
	case DW_AGENTP_STDOUT:
		keep(&r->out, r->share, f->payload);
		return 0;
	case DW_AGENTP_STDERR:
		keep(&r->err, r->share, f->payload);
		return 0;
	case DW_AGENTP_EXIT:
		if (dw_agentp_exit_parse(f->payload, &e) != DW_PARSE_OK)
			break;
		r->exit_code = e.code;
		r->timed_out = e.timed_out;
		return 1;
	case DW_AGENTP_ERROR:
		return agent_op_error(op, f->payload, AGENT_COMMAND, err);
	default:
		break;
	}
	return agent_op_lost(op, AGENT_LOST, err);
}

int agent_command_wait(struct agent_op *op, int64_t until_ms, struct agent_result *r, struct dw_err *err)
{
	const int64_t deadline = op->deadline_ms;
	int ret = 0;
	r->share = sandbox_output_share(op->sandbox);
	const bool sooner = until_ms && (!deadline || until_ms < deadline);
	if (sooner)
		op->deadline_ms = until_ms;
	while (ret == 0) {
		struct dw_agentp_frame f;
		enum agent_status st = agent_op_next(op, &f);
		if (st == AGENT_TIMEOUT && sooner)
			break;
		ret = st == AGENT_OK ? take_frame(op, &f, r, err) : agent_op_lost(op, st, err);
	}
	op->deadline_ms = deadline;
	return ret;
}
