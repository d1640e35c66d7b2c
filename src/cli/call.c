/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/call.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "cli/place.h"
#include "cli/text.h"

int call_no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "preparing the request");
}

int call_bad_answer(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INTERNAL, "bad_answer", "the server's answer makes no sense");
}

int call_invalid(struct dw_err *err, const char *fmt, ...)
{
	char text[sizeof(err->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s", text);
}

int call_once(const char **at, const char *value, struct dw_err *err)
{
	if (*at)
		return call_invalid(err, "given twice");
	*at = value;
	return 0;
}

int call_set_url(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct call *)to)->where.url, value, err);
}

int call_set_domain(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct call *)to)->where.domain, value, err);
}

int call_set_key_file(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct call *)to)->where.key_file, value, err);
}

int call_set_json(void *to, const char *value, struct dw_err *err)
{
	((struct call *)to)->json = true;
	return 0;
}

int call_set_help(void *to, const char *value, struct dw_err *err)
{
	((struct call *)to)->help = true;
	return 0;
}

static int take_word(void *to, const char *word, struct dw_err *err)
{
	struct call *call = to;
	void *array = call->word;
	const char **at = cli_grow(&array, &call->word_n, sizeof(*at));

	if (!at)
		return call_no_memory(err);
	call->word = array;
	*at = word;
	return 0;
}

int call_failed(const struct dw_err *err)
{
	cli_fail(err);
	switch (err->kind) {
	case DW_ERR_INVALID:
		return CALL_USAGE;
	case DW_ERR_UNAUTHORIZED:
	case DW_ERR_FORBIDDEN:
		return CALL_AUTH;
	case DW_ERR_INTERNAL:
	case DW_ERR_NOT_FOUND:
	case DW_ERR_METHOD:
	case DW_ERR_TIMEOUT:
	case DW_ERR_CONFLICT:
	case DW_ERR_GONE:
	case DW_ERR_TOO_LARGE:
	case DW_ERR_UNPROCESSABLE:
	case DW_ERR_LIMIT:
	case DW_ERR_UNAVAILABLE:
	case DW_ERR_BAD_GATEWAY:
	case DW_ERR_GATEWAY_TIMEOUT:
	case DW_ERR__COUNT:
		break;
	}
	return CALL_FAILED;
}

int call_each(const struct call *call, int (*one)(void *arg, const char *word, struct dw_err *err), void *arg)
{
	int code = CALL_OK;

	for (size_t i = 0; i < call->word_n; i++) {
		struct dw_err err = { 0 };
		if (one(arg, call->word[i], &err) == 0)
			continue;
		/* A message may not name the thing that it is about. */
		if (call->word_n > 1)
			dw_err_wrap(&err, "%s", call->word[i]);
		const int failed = call_failed(&err);
		code = code ? code : failed;
	}
	return code;
}

static void print_help(const struct call_command *command)
{
	printf("Usage: declaw %s\n%s\n\n", command->usage, command->about);
	cli_print_options(command->option, command->option_n);
}

static int check(const struct call_command *command, struct call *call, struct dw_err *err)
{
	char shown[64];

	if (call->word_n < command->words_min)
		return call_invalid(err, "a word is missing: declaw %s", command->usage);
	if (call->word_n > command->words_max) {
		const char *word = call->word[command->words_max];
		return call_invalid(err, "\"%s\" is one word too many: declaw %s",
				    cli_printable(word, strlen(word), shown, sizeof(shown)), command->usage);
	}
	return command->check ? command->check(call, err) : 0;
}

static int flush(int code)
{
	struct dw_err err = { 0 };

	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	dw_err_errno(&err, errno, "standard output");
	return call_failed(&err);
}

int call_main(const struct call_command *command, int argc, char *const *argv, void *job)
{
	struct call *call = job;
	struct dw_err err = { 0 };
	DW_AUTO(client_close) struct client *client = NULL;
	int code = cli_parse(command->option, command->option_n, argc, argv, job, take_word, &err);

	if (code == 0 && call->help) {
		print_help(command);
		free(call->word);
		return flush(CALL_OK);
	}
	if (code == 0)
		code = check(command, call, &err);
	if (code == 0)
		code = client_open(&call->where, &client, &err);
	call->client = client;
	if (code == 0)
		code = command->run(job, &err);
	if (code < 0)
		code = call_failed(&err);
	free(call->word);
	return flush(code);
}

int call_check_utf8(const char *what, const char *s, struct dw_err *err)
{
	json_t *j = json_string(s);
	const bool ok = j != NULL;

	json_decref(j);
	return ok ? 0 : call_invalid(err, "%s is not UTF-8 text, which alone can be sent", what);
}

int call_add_pair(json_t **object, const char *pair, struct dw_err *err)
{
	size_t n = 0;
	const char *value = NULL;

	if (!cli_split_pair(pair, &n, &value))
		return call_invalid(err, "it is written NAME=VALUE");
	if (call_check_utf8("it", pair, err) < 0)
		return -1;
	if (!*object)
		*object = json_object();
	dw_autofree char *key = strndup(pair, n);
	if (!*object || !key || json_object_set_new(*object, key, json_string(value)) < 0)
		return call_no_memory(err);
	return 0;
}

int call_add_text(json_t **array, const char *text, struct dw_err *err)
{
	if (call_check_utf8("it", text, err) < 0)
		return -1;
	if (!*array)
		*array = json_array();
	if (!*array || json_array_append_new(*array, json_string(text)) < 0)
		return call_no_memory(err);
	return 0;
}

int call_number(const char *value, long min, long max, long *ret, struct dw_err *err)
{
	const size_t n = strspn(value, "0123456789");
	const long v = n && n < 12 && !value[n] ? strtol(value, NULL, 10) : -1;

	if (v < min || v > max)
		return call_invalid(err, "it is a whole number from %ld to %ld", min, max);
	*ret = v;
	return 0;
}

int call_check_id(const char *word, struct dw_err *err)
{
	char shown[64];

	if (place_is_id(word))
		return 0;
	return call_invalid(err, "\"%s\" is no id of a sandbox",
			    cli_printable(word, strlen(word), shown, sizeof(shown)));
}

int call_check_ids(void *job, struct dw_err *err)
{
	const struct call *call = job;

	for (size_t i = 0; i < call->word_n; i++)
		if (call_check_id(call->word[i], err) < 0)
			return -1;
	return 0;
}

int call_check_first_id(void *job, struct dw_err *err)
{
	return call_check_id(((struct call *)job)->word[0], err);
}

int call_print_json(const json_t *j, bool compact, struct dw_err *err)
{
	dw_autofree char *text = json_dumps(j, JSON_ENSURE_ASCII | (compact ? JSON_COMPACT : JSON_INDENT(2)));

	if (!text)
		return call_no_memory(err);
	/* The one control character that JSON lets pass. */
	for (char *p = text; *p; p++)
		if (*p == 0x7f)
			*p = '?';
	puts(text);
	return 0;
}

const char *call_text(const json_t *object, const char *key)
{
	const json_t *j = json_object_get(object, key);
	const char *text = json_string_value(j);

	return text && strlen(text) == json_string_length(j) ? text : NULL;
}

/* libcurl ignores the signal while it works, so it is brought back by hand. */
static void end_by_pipe(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(SIGPIPE);
}

int call_put(int fd, const char *p, size_t n, struct dw_err *err)
{
	while (n) {
		const ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };
			DW_IGNORE(poll(&wait, 1, -1)); /* write says what came of it */
			continue;
		}
		if (done < 0 && errno == EPIPE)
			return 1;
		if (done < 0)
			return dw_err_errno(err, errno, fd == STDERR_FILENO ? "standard error" : "output");
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

int call_write(int fd, const char *p, size_t n, struct dw_err *err)
{
	const int r = call_put(fd, p, n, err);

	if (r <= 0)
		return r;
	end_by_pipe();
	return dw_err_errno(err, EPIPE, "output");
}

/* What client_request.sink returns, of what the reader made of a piece. */
static int feed(struct events *e, const char *p, size_t n, struct dw_err *err)
{
	switch (events_feed(e, p, n)) {
	case EVENTS_MORE:
		return 0;
	case EVENTS_ENDED:
		return 1;
	case EVENTS_NO_MEMORY:
		return call_no_memory(err);
	case EVENTS_TOO_LONG:
		break;
	}
	return dw_err_set(err, DW_ERR_INTERNAL, "bad_answer", "the server sent an event that is too long");
}

int call_take_piece(void *stream, const char *p, size_t n, struct dw_err *err)
{
	struct call_stream *s = stream;

	s->err = err;
	const int r = feed(&s->events, p, n, err);
	return s->failed ? -1 : r;
}
