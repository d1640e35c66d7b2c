/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daemon and agent say to each other. Pure codec.
 *
 * Control: a SOCK_SEQPACKET pair per sandbox, the agent's end is descriptor DW_AGENT_CONTROL_FD. The agent sends
 * one 'R' datagram when it is ready. The daemon sends 'O' with one descriptor (SCM_RIGHTS): the agent's end of a
 * fresh SOCK_STREAM pair, one per operation. End of file on the control socket: the agent exits, and with PID 1
 * everything.
 *
 * Operation: the daemon writes one request frame, then further frames as the request says; the agent answers with
 * frames until a final one (EXIT, WROTE, END or ERROR), then closes. Back-pressure is the socket's own. If the
 * daemon closes its end early (for a command or a connection: or shuts it down for writing), the agent kills the
 * operation's processes, and forgets it. The same happens after a malformed or unexpected frame, without an answer; only STDIN for
 * a command that takes none (any more) is dropped. An ERROR can come while DATA is still being sent, so a failing
 * send is no reason not to read the answer. A file operation that somebody inside kills ends without a final frame,
 * and one that is stopped does not end: give it a deadline.
 *
 * A command's frames act in their order: a SIGNAL or RESIZE behind STDIN that the command does not read waits with it.
 * What always gets through is hanging up.
 *
 * Connection (CONNECT): after CONNECTED both sides send DATA, and END when they have no more of it; the other direction
 * stays open. When both have said END, the agent closes. It also closes without an END of the daemon's when the other
 * side takes nothing any more, and says ERROR when that reset the connection.
 *
 * Frame: u32 payload length (network order, at most DW_AGENTP_FRAME_MAX), u8 type, payload. Strings in payloads are
 * u32 length + bytes without NUL bytes. The agent is inside the sandbox: for the daemon every frame is hostile.
 */
#pragma once

#include "core/rd.h"
#include "core/wr.h"

#define DW_AGENT_CONTROL_FD  3
#define DW_AGENTP_HEADER     5
#define DW_AGENTP_FRAME_MAX  (1u << 20) /* payload bytes; file data and output come in chunks of at most 64 KiB */
#define DW_AGENTP_CHUNK      65536u
#define DW_AGENTP_ENV_MAX    1024u
#define DW_AGENTP_ARG_MAX    1024u
#define DW_AGENTP_TTY_MAX    4096u /* columns or rows of a terminal */
#define DW_AGENTP_SIGNAL_MAX 64u

enum dw_agentp_type {
	DW_AGENTP_NONE = 0,
	/* daemon to agent */
	DW_AGENTP_EXEC = 1,      /* struct dw_agentp_exec; then STDIN* and STDIN_CLOSE if stdin was asked for */
	DW_AGENTP_FILE_READ = 2, /* str user, str path; answers DATA*, END, or ERROR */
	DW_AGENTP_FILE_WRITE =
		3,           /* str user, str path; then DATA*, END; answers WROTE, or ERROR. Parents are created */
	DW_AGENTP_STDIN = 4, /* bytes */
	DW_AGENTP_STDIN_CLOSE = 5, /* on a terminal its end-of-file character is typed, once, and STDIN goes on */
	DW_AGENTP_RESIZE = 6,      /* u16 cols, u16 rows; only for a command on a terminal */
	DW_AGENTP_SIGNAL = 7,      /* u8 number; to the command's process group, to nobody when it has ended */
	DW_AGENTP_FILE_LIST = 8,   /* 8 to 13, ENTRY, EVENT and MADE: proto/agentp_file.h */
	DW_AGENTP_FILE_INFO = 9,
	DW_AGENTP_FILE_REMOVE = 10,
	DW_AGENTP_FILE_RENAME = 11,
	DW_AGENTP_FILE_MKDIR = 12,
	DW_AGENTP_FILE_WATCH = 13,
	DW_AGENTP_CONNECT = 14, /* u16 port: TCP to 127.0.0.1, then ::1; answers CONNECTED or ERROR */
	/* both */
	DW_AGENTP_DATA = 16, /* bytes of a file or a connection */
	DW_AGENTP_END = 17,
	/* agent to daemon */
	DW_AGENTP_STARTED = 32, /* u32 pid (as seen inside) */
	DW_AGENTP_STDOUT = 33,  /* bytes */
	DW_AGENTP_STDERR = 34,
	DW_AGENTP_EXIT = 35,  /* struct dw_agentp_exit */
	DW_AGENTP_WROTE = 36, /* u32 high, u32 low: bytes written */
	DW_AGENTP_ERROR = 37, /* u16 errno-like number (Linux), str message for the user */
	DW_AGENTP_ENTRY = 38,
	DW_AGENTP_EVENT = 39,
	DW_AGENTP_MADE = 40,
	DW_AGENTP_CONNECTED = 41, /* nothing */
};

struct dw_agentp_frame {
	uint8_t type;
	struct dw_span payload; /* into the caller's bytes */
	size_t frame_n;         /* header and payload */
};

/* MORE until the whole frame is there; BIG when its length is over the limit, BAD for a type that does not exist. */
enum dw_parse dw_agentp_frame_parse(const void *data, size_t n, struct dw_agentp_frame *ret);
/* Writes the 5 header bytes. */
void dw_agentp_header_build(uint8_t out[static DW_AGENTP_HEADER], uint8_t type, uint32_t payload_n);

struct dw_agentp_env {
	struct dw_span key, value;
};

struct dw_agentp_exec {
	bool with_stdin;     /* keep a pipe open as standard input; otherwise /dev/null */
	uint32_t timeout_ms; /* 0 = none; at the deadline the whole process group gets SIGKILL */
	struct dw_span user; /* account name inside; "" = "user" */
	struct dw_span cwd;  /* absolute, or "" = the account's home */
	/* Run as <shell> -c cmd: /bin/bash when there, else /bin/sh. "" is for a terminal only: a login shell. */
	struct dw_span cmd;
	/*
	 * cmd is a program, looked for in PATH unless it has a slash, and these are its arguments behind its name; and a cwd that is not
	 * absolute starts at the account's home.
	 */
	bool program;
	uint16_t arg_n;
	struct dw_span arg[DW_AGENTP_ARG_MAX];
	/*
	 * 0 and 0 = pipes; otherwise the command gets a terminal of its own, of that size: all output is STDOUT, and
	 * there is standard input whatever with_stdin says.
	 */
	uint16_t cols, rows;
	uint16_t env_n;
	/* On top of HOME, USER, LOGNAME, SHELL, PATH, LANG, PWD, and TERM on a terminal; the last of a name counts. */
	struct dw_agentp_env env[DW_AGENTP_ENV_MAX];
};

/*
 * Payload only, without the frame header. Encoding returns the length, 0 when it does not fit or the parser would
 * refuse it (a NUL byte in a string, an empty environment name or one with '=', a terminal of no or too many columns
 * or rows, no command without a terminal or for a program, arguments of a shell's command, no such signal or port). Parsing never says MORE; ret_ is set on OK only,
 * but for exec_parse, which works in place.
 */
size_t dw_agentp_exec_build(const struct dw_agentp_exec *e, void *out, size_t cap);
enum dw_parse dw_agentp_exec_parse(struct dw_span payload, struct dw_agentp_exec *ret);
size_t dw_agentp_file_build(struct dw_span user, struct dw_span path, void *out, size_t cap);
enum dw_parse dw_agentp_file_parse(struct dw_span payload, struct dw_span *ret_user, struct dw_span *ret_path);
size_t dw_agentp_error_build(uint16_t number, const char *message, void *out, size_t cap);
enum dw_parse dw_agentp_error_parse(struct dw_span payload, uint16_t *ret_number, struct dw_span *ret_message);
/* How a command ended. u32 code, u8 with bit 0 timed_out, bit 1 by_signal. */
struct dw_agentp_exit {
	uint32_t code;  /* 0 to 255; 128 + n for signal n */
	bool timed_out; /* and so killed */
	bool by_signal; /* code is 128 + n, and no exit status of the program's own */
};
size_t dw_agentp_exit_build(const struct dw_agentp_exit *e, void *out, size_t cap);
enum dw_parse dw_agentp_exit_parse(struct dw_span payload, struct dw_agentp_exit *ret);
/* 1 to DW_AGENTP_TTY_MAX each. */
size_t dw_agentp_resize_build(uint16_t cols, uint16_t rows, void *out, size_t cap);
enum dw_parse dw_agentp_resize_parse(struct dw_span payload, uint16_t *ret_cols, uint16_t *ret_rows);
/* 1 to DW_AGENTP_SIGNAL_MAX. */
size_t dw_agentp_signal_build(uint8_t number, void *out, size_t cap);
enum dw_parse dw_agentp_signal_parse(struct dw_span payload, uint8_t *ret_number);
/* Any port but 0. */
size_t dw_agentp_connect_build(uint16_t port, void *out, size_t cap);
enum dw_parse dw_agentp_connect_parse(struct dw_span payload, uint16_t *ret_port);
