/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/watch_answer.h"

#include <errno.h>
#include <string.h>

#include "daemon/output_share.h"
#include "proto/agentp.h"

#define ANSWER_MAX (1u << 20) /* then the next answer has the rest */
/* One event's: its names come in one frame, and those of its entry in another, of which the path is told twice. */
#define EVENT_MAX (6u * 3u * DW_AGENTP_CHUNK + 4096u)
#define HEAD      "{\"events\":["
#define TAIL      "]}"

int watch_answer_begin(struct watch_answer *a, struct sandbox *s, struct dw_err *err)
{
	const size_t size = ANSWER_MAX + EVENT_MAX;
	if (!output_share_take(sandbox_output_share(s), size))
		return dw_err_set(err, DW_ERR_LIMIT, "sandbox_limit",
				  "what was read of the sandbox and is not yet taken fills the memory that is for it: "
				  "take answers faster, and fetch results");
	sandbox_hold(s);
	a->sandbox = s;
	a->counted = size;
	a->text = malloc(size);
	if (!a->text)
		return dw_err_errno(err, ENOMEM, "watching the directory");
	a->n = sizeof(HEAD) - 1;
	memcpy(a->text, HEAD, a->n);
	return 0;
}

void watch_answer_done(struct watch_answer *a)
{
	free(a->text);
	if (a->sandbox) {
		output_share_give(sandbox_output_share(a->sandbox), a->counted);
		sandbox_release(a->sandbox);
	}
	*a = (struct watch_answer){ 0 };
}

bool watch_answer_full(const struct watch_answer *a)
{
	return a->n >= ANSWER_MAX;
}

bool watch_answer_add(struct watch_answer *a, json_t *message_take)
{
	auto_json json_t *message = message_take;
	const size_t at = a->n + (a->events ? 1 : 0), room = ANSWER_MAX + EVENT_MAX - (sizeof(TAIL) - 1);
	if (at >= room)
		return false;
	const size_t n = json_dumpb(message, a->text + at, room - at, JSON_COMPACT);
	if (!n || n > room - at)
		return false;
	if (a->events++)
		a->text[a->n] = ',';
	a->n = at + n;
	return true;
}

static void answer_free(void *arg)
{
	struct watch_answer *a = arg;
	watch_answer_done(a);
	free(a);
}
DW_DEFINE_CLEANUP(struct watch_answer *, answer_free)

struct MHD_Response *watch_answer_response(struct watch_answer *a)
{
	DW_AUTO(answer_free) struct watch_answer *own = malloc(sizeof(*own));
	if (!own) {
		watch_answer_done(a);
		return NULL;
	}
	*own = *a;
	*a = (struct watch_answer){ 0 };
	memcpy(own->text + own->n, TAIL, sizeof(TAIL) - 1);
	own->n += sizeof(TAIL) - 1;
	/* The most there could have been is given back. */
	char *text = realloc(own->text, own->n);
	if (text)
		own->text = text;
	output_share_give(sandbox_output_share(own->sandbox), own->counted - own->n);
	own->counted = own->n;
	struct MHD_Response *r =
		MHD_create_response_from_buffer_with_free_callback_cls(own->n, own->text, answer_free, own);
	if (!r)
		return NULL;
	DW_IGNORE(DW_TAKE(own)); /* the response's now */
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return r;
}
