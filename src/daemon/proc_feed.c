/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/proc_feed.h"

static struct dw_span take(struct dw_span *data, size_t n)
{
	struct dw_span s = { .p = data->p, .n = DW_MIN(n, data->n) };
	data->p += s.n;
	data->n -= s.n;
	return s;
}

static bool is_output(uint8_t type)
{
	return type == DW_AGENTP_STDOUT || type == DW_AGENTP_STDERR;
}

/* What a header announces, judged before any of it is waited for. STARTED comes first, and once. */
static bool header_honest(const struct proc_feed *f, uint8_t type, uint32_t n)
{
	if (type == DW_AGENTP_STARTED)
		return !f->started && n == 4;
	if (type == DW_AGENTP_ERROR)
		return n <= PROC_FEED_WHOLE;
	if (!f->started)
		return false;
	return is_output(type) ? n <= DW_AGENTP_CHUNK : type == DW_AGENTP_EXIT && n == 5;
}

static bool take_header(struct proc_feed *f, struct dw_span *data)
{
	struct dw_span s = take(data, sizeof(f->head) - f->head_n);
	if (s.n)
		memcpy(f->head + f->head_n, s.p, s.n);
	f->head_n += (uint8_t)s.n;
	if (f->head_n < sizeof(f->head))
		return true;
	struct dw_rd rd = dw_rd_init(f->head, sizeof(f->head), false);
	f->left = dw_rd_u32(&rd);
	f->whole_n = 0;
	return header_honest(f, dw_rd_u8(&rd), f->left);
}

/* A frame that was gathered. */
static bool finish(struct proc_feed *f, struct proc_event *e)
{
	uint16_t number;
	struct dw_span message;
	e->bytes = (struct dw_span){ .p = f->whole, .n = f->whole_n };
	if (e->type == DW_AGENTP_STARTED) {
		struct dw_rd rd = dw_rd_init(f->whole, f->whole_n, false);
		e->number = dw_rd_u32(&rd);
		f->started = true;
		return dw_rd_done(&rd);
	}
	f->ended = true;
	if (e->type == DW_AGENTP_EXIT)
		return dw_agentp_exit_parse(e->bytes, &e->exit) == DW_PARSE_OK;
	return dw_agentp_error_parse(e->bytes, &number, &message) == DW_PARSE_OK;
}

enum dw_parse proc_feed_next(struct proc_feed *f, struct dw_span *data, struct proc_event *ret)
{
	if (f->ended)
		*data = (struct dw_span){ 0 };
	while (data->n || (f->head_n == sizeof(f->head) && !f->left)) {
		if (f->head_n < sizeof(f->head)) {
			if (!take_header(f, data))
				goto bad;
			continue;
		}
		struct proc_event e = { .type = f->head[DW_AGENTP_HEADER - 1] };
		struct dw_span s = take(data, f->left);
		f->left -= (uint32_t)s.n;
		if (!f->left)
			f->head_n = 0;
		if (is_output((uint8_t)e.type)) {
			if (!s.n)
				continue;
			e.bytes = s;
			*ret = e;
			return DW_PARSE_OK;
		}
		if (s.n)
			memcpy(f->whole + f->whole_n, s.p, s.n);
		f->whole_n += (uint16_t)s.n;
		if (f->left)
			continue;
		if (!finish(f, &e))
			goto bad;
		*ret = e;
		return DW_PARSE_OK;
	}
	return DW_PARSE_MORE;
bad:
	/* For good. */
	f->head_n = 0;
	f->started = true;
	f->ended = true;
	*data = (struct dw_span){ 0 };
	return DW_PARSE_BAD;
}
