/* SPDX-License-Identifier: Apache-2.0 */
/* What all commands that talk to a server share: their options, their words, how they end. */
#pragma once

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/events.h"

enum call_exit {
	CALL_OK = 0,
	CALL_FAILED = 1,
	CALL_USAGE = 2,
	CALL_AUTH = 4,
};

/* A command's own job has it as its first member. */
struct call {
	struct client_where where;
	bool json, help;
	const char **word;
	size_t word_n;
	struct client *client;
};

struct call_command {
	const char *usage, *about;
	const struct cli_option *option;
	size_t option_n;
	size_t words_min, words_max;
	/* Looks at the words before anything is asked of a server; -1 with err. May be NULL. */
	int (*check)(void *job, struct dw_err *err);
	/* The exit code, or -1 with err. */
	int (*run)(void *job, struct dw_err *err);
};

int call_set_url(void *to, const char *value, struct dw_err *err);
int call_set_domain(void *to, const char *value, struct dw_err *err);
int call_set_key_file(void *to, const char *value, struct dw_err *err);
int call_set_json(void *to, const char *value, struct dw_err *err);
int call_set_help(void *to, const char *value, struct dw_err *err);

#define CALL_SERVER_OPTIONS                                                                                           \
	{ "--url", "URL", call_set_url, "the server's URL (DECLAW_API_URL)" },                                        \
		{ "--domain", "HOST[:PORT]", call_set_domain,                                                         \
		  "the server; port 443 means https (DECLAW_DOMAIN, or 127.0.0.1:8080)" },                            \
		{ "--api-key-file", "FILE", call_set_key_file,                                                        \
		  "the key's file (else DECLAW_API_KEY, DECLAW_API_KEY_FILE, or that of a server on this machine)" }, \
	{                                                                                                             \
		"--help", NULL, call_set_help, "print this"                                                           \
	}
#define CALL_OPTIONS { "--json", NULL, call_set_json, "JSON instead of text for people" }, CALL_SERVER_OPTIONS

/* Parses, checks, runs, and says on standard error what went wrong. job is zeroed but for what run needs. Returns the exit code. */
int call_main(const struct call_command *command, int argc, char *const *argv, void *job);
/* Says it; CALL_USAGE for INVALID (which is ours: the server's refusals have other kinds), CALL_AUTH, or CALL_FAILED. */
int call_failed(const struct dw_err *err);
/* one() for each word: for all of them, though one fails, which is said at once; the exit code is that of the first that did. */
int call_each(const struct call *call, int (*one)(void *arg, const char *word, struct dw_err *err), void *arg);

int call_no_memory(struct dw_err *err);
int call_bad_answer(struct dw_err *err);
int call_invalid(struct dw_err *err, const char *fmt, ...) DW_PRINTF(2, 3);

/* For an option that may be given once. */
int call_once(const char **at, const char *value, struct dw_err *err);
/* -1 unless it is UTF-8: what is not can not be sent. */
int call_check_utf8(const char *what, const char *s, struct dw_err *err);
/* Adds "K=V" to an object that is made where *object is NULL. */
int call_add_pair(json_t **object, const char *pair, struct dw_err *err);
/* Adds a string to an array that is made where *array is NULL. */
int call_add_text(json_t **array, const char *text, struct dw_err *err);
/* A whole number of at least min, as an option's value. */
int call_number(const char *value, long min, long max, long *ret, struct dw_err *err);
/* -1 unless the word can be an id. */
int call_check_id(const char *word, struct dw_err *err);
int call_check_ids(void *job, struct dw_err *err);
/* The first word is an id. */
int call_check_first_id(void *job, struct dw_err *err);

/* ASCII only, so that a terminal sees no control characters. compact: one line. */
int call_print_json(const json_t *j, bool compact, struct dw_err *err);
/* A string of an object, NULL where it is none, or has a NUL in it. */
const char *call_text(const json_t *object, const char *key);

/* All bytes to a descriptor as they are. A pipe that nobody reads any more ends the program, quietly, as it does others. */
int call_write(int fd, const char *p, size_t n, struct dw_err *err);

/* The same, but 1 where nobody reads any more: for those who have something to do before they end. They keep SIGPIPE away. */
int call_put(int fd, const char *p, size_t n, struct dw_err *err);

/* An answer that is a stream of events. */
struct call_stream {
	struct events events;
	struct dw_err *err; /* for events.take: of the piece that is being read */
	bool failed;        /* events.take says so, with err set */
};

/* client_request.sink with a call_stream as its arg. */
int call_take_piece(void *stream, const char *p, size_t n, struct dw_err *err);
