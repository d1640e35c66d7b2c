/* SPDX-License-Identifier: Apache-2.0 */
/* A form, cut up by its first byte: however it is cut, it reads the same. The boundary is b, or one in the type of the first line. */
#include <stdint.h>
#include <string.h>

#include "e2b/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	uint64_t hash;
	bool bad, whole;
};

static void add(struct sum *s, const void *p, size_t n)
{
	const uint8_t *b = p;
	for (size_t i = 0; i < n; i++)
		s->hash = (s->hash ^ b[i]) * 0x100000001b3u;
}

static void take(struct sum *s, const struct multipart *m, enum multipart_event e, struct dw_span bytes)
{
	if (e == MULTIPART_PART) {
		dw_assert(*m->name && strlen(m->name) <= MULTIPART_NAME_MAX);
		dw_assert(m->has_filename == (m->filename[0] != '\0') && strlen(m->filename) <= MULTIPART_FILENAME_MAX);
		add(s, m->name, strlen(m->name) + 1);
		add(s, m->filename, strlen(m->filename) + 1);
	}
	if (e == MULTIPART_DATA) {
		dw_assert(bytes.n);
		add(s, bytes.p, bytes.n);
	}
	if (e == MULTIPART_PART_END)
		add(s, "end", 3);
}

static struct sum read_in(const char *type, const uint8_t *p, size_t n, size_t piece)
{
	static struct multipart m;
	struct sum s = { 0 };
	struct dw_span bytes = { 0 };
	if (!multipart_init(&m, type)) {
		s.bad = true;
		return s;
	}
	for (size_t at = 0; at < n && !s.bad; at += piece) {
		struct dw_span in = { .p = p + at, .n = DW_MIN(piece, n - at) };
		for (enum multipart_event e; !s.bad && (e = multipart_next(&m, &in, &bytes)) != MULTIPART_MORE;) {
			s.bad = e == MULTIPART_BAD;
			take(&s, &m, e, bytes);
		}
		dw_assert(s.bad || !in.n);
	}
	s.whole = multipart_is_whole(&m);
	dw_assert(!s.bad || (m.why && !s.whole));
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const size_t piece = data[0] % 32 + 1u;
	const uint8_t *p = data + 1, *line = memchr(p, '\n', size - 1);
	char type[256] = "multipart/form-data; boundary=b";
	if (line && (size_t)(line - p) < sizeof(type) && *p == 'm') {
		memcpy(type, p, (size_t)(line - p));
		type[line - p] = '\0';
		p = line + 1;
	}
	const size_t n = (size_t)(data + size - p);
	const struct sum whole = read_in(type, p, n, n + 1), cut = read_in(type, p, n, piece);
	dw_assert(whole.hash == cut.hash && whole.bad == cut.bad && whole.whole == cut.whole);
	return 0;
}
