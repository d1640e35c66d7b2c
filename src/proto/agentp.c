/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/agentp.h"

#include "proto/agentp_io.h"

#define EXEC_FLAG_STDIN   0x01
#define EXEC_FLAG_TTY     0x02 /* cols and rows follow the timeout */
#define EXEC_FLAG_PROGRAM 0x04 /* the arguments follow cmd */
#define EXIT_CODE_MAX     255u
#define EXIT_TIMED_OUT    0x01
#define EXIT_BY_SIGNAL    0x02

static bool type_known(uint8_t type)
{
	switch ((enum dw_agentp_type)type) {
	case DW_AGENTP_EXEC:
	case DW_AGENTP_FILE_READ:
	case DW_AGENTP_FILE_WRITE:
	case DW_AGENTP_STDIN:
	case DW_AGENTP_STDIN_CLOSE:
	case DW_AGENTP_RESIZE:
	case DW_AGENTP_SIGNAL:
	case DW_AGENTP_FILE_LIST:
	case DW_AGENTP_FILE_INFO:
	case DW_AGENTP_FILE_REMOVE:
	case DW_AGENTP_FILE_RENAME:
	case DW_AGENTP_FILE_MKDIR:
	case DW_AGENTP_FILE_WATCH:
	case DW_AGENTP_CONNECT:
	case DW_AGENTP_DATA:
	case DW_AGENTP_END:
	case DW_AGENTP_STARTED:
	case DW_AGENTP_STDOUT:
	case DW_AGENTP_STDERR:
	case DW_AGENTP_EXIT:
	case DW_AGENTP_WROTE:
	case DW_AGENTP_ERROR:
	case DW_AGENTP_ENTRY:
	case DW_AGENTP_EVENT:
	case DW_AGENTP_MADE:
	case DW_AGENTP_CONNECTED:
		return true;
	case DW_AGENTP_NONE:
		break;
	}
	return false;
}

enum dw_parse dw_agentp_frame_parse(const void *data, size_t n, struct dw_agentp_frame *ret)
{
	struct dw_rd r = dw_rd_init(data, n, true);
	uint32_t payload_n = dw_rd_u32(&r);
	/* Judged before the rest arrives: a peer that announces too much is never waited for. */
	if (dw_rd_ok(&r) && payload_n > DW_AGENTP_FRAME_MAX)
		return DW_PARSE_BIG;
	uint8_t type = dw_rd_u8(&r);
	if (dw_rd_ok(&r) && !type_known(type))
		return DW_PARSE_BAD;
	struct dw_span payload = dw_rd_bytes(&r, payload_n);
	if (!dw_rd_ok(&r))
		return r.status;
	*ret = (struct dw_agentp_frame){
		.type = type,
		.payload = payload,
		.frame_n = DW_AGENTP_HEADER + (size_t)payload_n,
	};
	return DW_PARSE_OK;
}

void dw_agentp_header_build(uint8_t out[static DW_AGENTP_HEADER], uint8_t type, uint32_t payload_n)
{
	struct dw_wr w = dw_wr_init(out, DW_AGENTP_HEADER);
	dw_wr_u32(&w, payload_n);
	dw_wr_u8(&w, type);
}

/* An environment name that could be read as another one ("A=B") or as none is not a name. */
static bool env_key_valid(struct dw_span key)
{
	return key.n > 0 && !has_byte(key, '=');
}

static bool tty_size_valid(uint16_t cols, uint16_t rows)
{
	return cols > 0 && cols <= DW_AGENTP_TTY_MAX && rows > 0 && rows <= DW_AGENTP_TTY_MAX;
}

/* Without a terminal there has to be a command; a size is whole or not there. */
static bool exec_valid(const struct dw_agentp_exec *e, bool tty)
{
	return e->env_n <= DW_AGENTP_ENV_MAX && e->arg_n <= DW_AGENTP_ARG_MAX && (e->program || !e->arg_n) &&
	       (e->cmd.n > 0 || (tty && !e->program)) && (!tty || tty_size_valid(e->cols, e->rows));
}

size_t dw_agentp_exec_build(const struct dw_agentp_exec *e, void *out, size_t cap)
{
	bool tty = e->cols || e->rows;
	if (!exec_valid(e, tty))
		return 0;
	struct dw_wr w = dw_wr_init(out, cap);
	dw_wr_u8(&w, (uint8_t)((e->with_stdin ? EXEC_FLAG_STDIN : 0) | (tty ? EXEC_FLAG_TTY : 0) |
			       (e->program ? EXEC_FLAG_PROGRAM : 0)));
	dw_wr_u32(&w, e->timeout_ms);
	if (tty) {
		dw_wr_u16(&w, e->cols);
		dw_wr_u16(&w, e->rows);
	}
	write_str(&w, e->user);
	write_str(&w, e->cwd);
	write_str(&w, e->cmd);
	if (e->program)
		dw_wr_u16(&w, e->arg_n);
	for (unsigned i = 0; i < e->arg_n; i++)
		write_str(&w, e->arg[i]);
	dw_wr_u16(&w, e->env_n);
	for (unsigned i = 0; i < e->env_n; i++) {
		if (!env_key_valid(e->env[i].key))
			return 0;
		write_str(&w, e->env[i].key);
		write_str(&w, e->env[i].value);
	}
	return written(&w);
}

/* The arguments, if the flags say so. */
static void read_args(struct dw_rd *r, struct dw_agentp_exec *ret)
{
	ret->arg_n = ret->program ? dw_rd_u16(r) : 0;
	if (ret->arg_n > DW_AGENTP_ARG_MAX) {
		dw_rd_fail(r, DW_PARSE_BIG);
		ret->arg_n = 0;
	}
	for (unsigned i = 0; dw_rd_ok(r) && i < ret->arg_n; i++)
		ret->arg[i] = read_str(r);
}

enum dw_parse dw_agentp_exec_parse(struct dw_span payload, struct dw_agentp_exec *ret)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	uint8_t flags = dw_rd_u8(&r);
	bool tty = flags & EXEC_FLAG_TTY;
	ret->timeout_ms = dw_rd_u32(&r);
	ret->cols = tty ? dw_rd_u16(&r) : 0;
	ret->rows = tty ? dw_rd_u16(&r) : 0;
	ret->user = read_str(&r);
	ret->cwd = read_str(&r);
	ret->cmd = read_str(&r);
	ret->program = flags & EXEC_FLAG_PROGRAM;
	read_args(&r, ret);
	ret->env_n = dw_rd_u16(&r);
	if (ret->env_n > DW_AGENTP_ENV_MAX) {
		dw_rd_fail(&r, DW_PARSE_BIG);
		ret->env_n = 0;
	}
	if (flags & ~(EXEC_FLAG_STDIN | EXEC_FLAG_TTY | EXEC_FLAG_PROGRAM) || !exec_valid(ret, tty))
		dw_rd_fail(&r, DW_PARSE_BAD);
	ret->with_stdin = flags & EXEC_FLAG_STDIN;
	for (unsigned i = 0; dw_rd_ok(&r) && i < ret->env_n; i++) {
		ret->env[i].key = read_str(&r);
		ret->env[i].value = read_str(&r);
		if (dw_rd_ok(&r) && !env_key_valid(ret->env[i].key))
			dw_rd_fail(&r, DW_PARSE_BAD);
	}
	return finished(&r);
}

size_t dw_agentp_file_build(struct dw_span user, struct dw_span path, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	write_str(&w, user);
	write_str(&w, path);
	return written(&w);
}

enum dw_parse dw_agentp_file_parse(struct dw_span payload, struct dw_span *ret_user, struct dw_span *ret_path)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	struct dw_span user = read_str(&r);
	struct dw_span path = read_str(&r);
	enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK) {
		*ret_user = user;
		*ret_path = path;
	}
	return res;
}

size_t dw_agentp_error_build(uint16_t number, const char *message, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	dw_wr_u16(&w, number);
	write_str(&w, (struct dw_span){ .p = (const uint8_t *)message, .n = strlen(message) });
	return written(&w);
}

enum dw_parse dw_agentp_error_parse(struct dw_span payload, uint16_t *ret_number, struct dw_span *ret_message)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	uint16_t number = dw_rd_u16(&r);
	struct dw_span message = read_str(&r);
	enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK) {
		*ret_number = number;
		*ret_message = message;
	}
	return res;
}

static bool exit_valid(const struct dw_agentp_exit *e)
{
	return e->code <= EXIT_CODE_MAX && (!e->by_signal || (e->code > 128 && e->code <= 128 + DW_AGENTP_SIGNAL_MAX));
}

size_t dw_agentp_exit_build(const struct dw_agentp_exit *e, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	dw_wr_u32(&w, e->code);
	dw_wr_u8(&w, (uint8_t)((e->timed_out ? EXIT_TIMED_OUT : 0) | (e->by_signal ? EXIT_BY_SIGNAL : 0)));
	return exit_valid(e) ? written(&w) : 0;
}

enum dw_parse dw_agentp_exit_parse(struct dw_span payload, struct dw_agentp_exit *ret)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	struct dw_agentp_exit e = { .code = dw_rd_u32(&r) };
	const uint8_t flags = dw_rd_u8(&r);
	e.timed_out = flags & EXIT_TIMED_OUT;
	e.by_signal = flags & EXIT_BY_SIGNAL;
	if (dw_rd_ok(&r) && (flags & ~(EXIT_TIMED_OUT | EXIT_BY_SIGNAL) || !exit_valid(&e)))
		dw_rd_fail(&r, DW_PARSE_BAD);
	enum dw_parse res = finished(&r);
	if (res == DW_PARSE_OK)
		*ret = e;
	return res;
}

size_t dw_agentp_resize_build(uint16_t cols, uint16_t rows, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	dw_wr_u16(&w, cols);
	dw_wr_u16(&w, rows);
	return tty_size_valid(cols, rows) ? written(&w) : 0;
}

enum dw_parse dw_agentp_resize_parse(struct dw_span payload, uint16_t *ret_cols, uint16_t *ret_rows)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	uint16_t cols = dw_rd_u16(&r);
	uint16_t rows = dw_rd_u16(&r);
	if (!dw_rd_done(&r) || !tty_size_valid(cols, rows))
		return DW_PARSE_BAD;
	*ret_cols = cols;
	*ret_rows = rows;
	return DW_PARSE_OK;
}

static bool signal_valid(uint8_t number)
{
	return number > 0 && number <= DW_AGENTP_SIGNAL_MAX;
}

size_t dw_agentp_signal_build(uint8_t number, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	dw_wr_u8(&w, number);
	return signal_valid(number) ? written(&w) : 0;
}

enum dw_parse dw_agentp_signal_parse(struct dw_span payload, uint8_t *ret_number)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	uint8_t number = dw_rd_u8(&r);
	if (!dw_rd_done(&r) || !signal_valid(number))
		return DW_PARSE_BAD;
	*ret_number = number;
	return DW_PARSE_OK;
}

size_t dw_agentp_connect_build(uint16_t port, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	dw_wr_u16(&w, port);
	return port ? written(&w) : 0;
}

enum dw_parse dw_agentp_connect_parse(struct dw_span payload, uint16_t *ret_port)
{
	struct dw_rd r = dw_rd_init(payload.p, payload.n, false);
	uint16_t port = dw_rd_u16(&r);
	if (!dw_rd_done(&r) || !port)
		return DW_PARSE_BAD;
	*ret_port = port;
	return DW_PARSE_OK;
}
