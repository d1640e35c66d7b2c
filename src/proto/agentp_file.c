/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/agentp_file.h"

#include "proto/agentp_io.h"

#define ENTRY_DIR   0x01
#define ENTRY_LINK  0x02
#define ENTRY_KNOWN 0x04
#define ENTRY_FLAGS 0x07
#define MODE_MAX    07777

static void write_u64(struct dw_wr *w, uint64_t v)
{
	dw_wr_u32(w, (uint32_t)(v >> 32));
	dw_wr_u32(w, (uint32_t)v);
}

static uint64_t read_u64(struct dw_rd *r)
{
	const uint64_t high = dw_rd_u32(r);
	return high << 32 | dw_rd_u32(r);
}

/* A byte that is 0 or 1. */
static bool read_bool(struct dw_rd *r)
{
	const uint8_t v = dw_rd_u8(r);
	if (v > 1)
		dw_rd_fail(r, DW_PARSE_BAD);
	return v == 1;
}

static bool is_request(uint8_t type)
{
	return type >= DW_AGENTP_FILE_LIST && type <= DW_AGENTP_FILE_WATCH;
}

size_t dw_agentp_file_request_build(enum dw_agentp_type type, const struct dw_agentp_file_request *q, void *out,
				    size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	if (!is_request((uint8_t)type) || (type == DW_AGENTP_FILE_LIST && !q->depth))
		return 0;
	write_str(&w, q->user);
	write_str(&w, q->path);
	if (type == DW_AGENTP_FILE_RENAME)
		write_str(&w, q->to);
	if (type == DW_AGENTP_FILE_LIST)
		dw_wr_u32(&w, q->depth);
	if (type == DW_AGENTP_FILE_WATCH)
		dw_wr_u8(&w, q->recursive);
	return written(&w);
}

enum dw_parse dw_agentp_file_request_parse(uint8_t type, struct dw_span payload, struct dw_agentp_file_request *ret)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	struct dw_agentp_file_request q = { 0 };
	if (!is_request(type))
		return DW_PARSE_BAD;
	q.user = read_str(&r);
	q.path = read_str(&r);
	if (type == DW_AGENTP_FILE_RENAME)
		q.to = read_str(&r);
	if (type == DW_AGENTP_FILE_LIST) {
		q.depth = dw_rd_u32(&r);
		if (dw_rd_ok(&r) && !q.depth)
			dw_rd_fail(&r, DW_PARSE_BAD);
	}
	if (type == DW_AGENTP_FILE_WATCH)
		q.recursive = read_bool(&r);
	const enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK)
		*ret = q;
	return res;
}

/* Two ways to say the same are one too many: what is not known is 0, what is no link has no target. */
static bool entry_valid(const struct dw_agentp_entry *e)
{
	const bool bare = !e->mode && !e->size && !e->modified_us && !e->owner.n && !e->group.n;
	return e->path.n > 0 && e->path.p[0] == '/' && e->path.n <= DW_AGENTP_ENTRY_PATH_MAX && e->mode <= MODE_MAX &&
	       (e->known || bare) && e->owner.n <= DW_AGENTP_ENTRY_NAME_MAX && e->group.n <= DW_AGENTP_ENTRY_NAME_MAX &&
	       e->target.n <= DW_AGENTP_ENTRY_TARGET_MAX && (e->link || !e->target.n);
}

size_t dw_agentp_entry_build(const struct dw_agentp_entry *e, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	if (!entry_valid(e))
		return 0;
	dw_wr_u8(&w, (uint8_t)((e->dir ? ENTRY_DIR : 0) | (e->link ? ENTRY_LINK : 0) | (e->known ? ENTRY_KNOWN : 0)));
	dw_wr_u16(&w, e->mode);
	write_u64(&w, e->size);
	write_u64(&w, (uint64_t)e->modified_us);
	write_str(&w, e->path);
	write_str(&w, e->owner);
	write_str(&w, e->group);
	write_str(&w, e->target);
	return written(&w);
}

enum dw_parse dw_agentp_entry_parse(struct dw_span payload, struct dw_agentp_entry *ret)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	const uint8_t flags = dw_rd_u8(&r);
	struct dw_agentp_entry e = {
		.dir = flags & ENTRY_DIR,
		.link = flags & ENTRY_LINK,
		.known = flags & ENTRY_KNOWN,
	};
	if (flags & ~ENTRY_FLAGS)
		dw_rd_fail(&r, DW_PARSE_BAD);
	e.mode = dw_rd_u16(&r);
	e.size = read_u64(&r);
	e.modified_us = (int64_t)read_u64(&r);
	e.path = read_str(&r);
	e.owner = read_str(&r);
	e.group = read_str(&r);
	e.target = read_str(&r);
	enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK && !entry_valid(&e))
		res = DW_PARSE_BAD;
	if (res == DW_PARSE_OK)
		*ret = e;
	return res;
}

static bool has_path(enum dw_agentp_happening what)
{
	return what >= DW_AGENTP_WATCHING && what <= DW_AGENTP_CHANGED;
}

static bool event_valid(const struct dw_agentp_event *e)
{
	const bool absolute = e->path.n && e->path.p[0] == '/';
	return e->what > DW_AGENTP_HAPPENED_NOTHING && e->what < DW_AGENTP_HAPPENING_COUNT &&
	       e->path.n <= DW_AGENTP_ENTRY_PATH_MAX && e->to.n <= DW_AGENTP_ENTRY_PATH_MAX &&
	       (e->path.n > 0) == has_path(e->what) && absolute == (e->what == DW_AGENTP_WATCHING) &&
	       (e->to.n > 0) == (e->what == DW_AGENTP_RENAMED) && !(e->to.n && e->to.p[0] == '/');
}

size_t dw_agentp_event_build(const struct dw_agentp_event *e, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	if (!event_valid(e))
		return 0;
	dw_wr_u8(&w, (uint8_t)e->what);
	dw_wr_u8(&w, e->dir);
	write_str(&w, e->path);
	write_str(&w, e->to);
	return written(&w);
}

enum dw_parse dw_agentp_event_parse(struct dw_span payload, struct dw_agentp_event *ret)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	struct dw_agentp_event e = { .what = (enum dw_agentp_happening)dw_rd_u8(&r) };
	e.dir = read_bool(&r);
	e.path = read_str(&r);
	e.to = read_str(&r);
	enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK && !event_valid(&e))
		res = DW_PARSE_BAD;
	if (res == DW_PARSE_OK)
		*ret = e;
	return res;
}

enum dw_parse dw_agentp_made_parse(struct dw_span payload, bool *ret_made)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	const bool made = read_bool(&r);
	const enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK)
		*ret_made = made;
	return res;
}
