/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes one behind the other; what parses builds to the same bytes, and no message upsets those who read its fields. */
#include <string.h>

#include "e2b/connect_frame.h"
#include "e2b/message.h"
#include "e2b/path.h"

#define MESSAGE_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_fields(const json_t *m)
{
	static const struct message_enum names[] = { { "A", 0 }, { "B", 1 } };
	const json_t *inner = NULL;
	const char *text = NULL;
	uint32_t number = 0;
	dw_autofree uint8_t *bytes = NULL;
	char path[E2B_PATH_SIZE];
	size_t n = 0;
	int value = 0;
	bool flag = false;
	struct dw_err err;
	DW_IGNORE(message_message(m, "inner", &inner, &err));
	DW_IGNORE(message_array(m, "list", &inner, &err));
	DW_IGNORE(message_uint32(m, "number", &number, &flag, &err));
	DW_IGNORE(message_bool(m, "flag", &flag, &err));
	DW_IGNORE(message_enum(m, "enumValue", names, DW_COUNT(names), &value, &err));
	if (message_bytes(m, "dataBytes", &bytes, &n, &err) == 0 && bytes)
		dw_assert(n <= json_string_length(message_field(m, "dataBytes")));
	if (message_string(m, "path", &text, &err) == 0 && text && e2b_path(text, "path", path, &err) == 0)
		dw_assert(*path && !strstr(path, "//") && !strstr(path, "/../") && strncmp(path, "../", 3) != 0 &&
			  (*path == '/') == (*text == '/' || (text[0] == '~' && text[1] == '/' && *path == '/')));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct connect_frame f;
	enum dw_parse res;
	while ((res = connect_frame_parse(data, size, MESSAGE_MAX, &f)) == DW_PARSE_OK) {
		uint8_t head[CONNECT_HEAD];
		json_t *message = NULL;
		struct dw_err err;
		connect_head_build(head, f.flags, (uint32_t)f.message.n);
		dw_assert(memcmp(head, data, sizeof(head)) == 0 && f.frame_n == sizeof(head) + f.message.n &&
			  f.frame_n <= size);
		if (jsonx_parse_object((const char *)f.message.p, f.message.n, &message, &err) == 0)
			read_fields(message);
		json_decref(message);
		data += f.frame_n;
		size -= f.frame_n;
	}
	dw_assert(res != DW_PARSE_MORE || size < CONNECT_HEAD + MESSAGE_MAX);
	return 0;
}
