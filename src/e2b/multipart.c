/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/multipart.h"

#include <string.h>
#include <strings.h>

enum state {
	BAD = 0,
	START,    /* the first boundary, whose line end is not there */
	BEHIND,   /* a boundary: a line end or a dash */
	LINE_END, /* the second byte of the line end */
	LAST,     /* the second dash */
	HEAD,
	BODY,
	END,     /* behind the last boundary */
	END_CR,  /* of the line end that may follow */
	END_CRLF /* nothing may follow */
};

static enum multipart_event bad(struct multipart *m, const char *why)
{
	if (m->state != BAD)
		m->why = why;
	m->state = BAD;
	return MULTIPART_BAD;
}

static bool is_token(uint8_t c)
{
	return c > 0x20 && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static bool is_boundary(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("'()+_,-./:=? ", c));
}

static void skip_blanks(struct dw_span *s)
{
	while (s->n && (*s->p == ' ' || *s->p == '\t'))
		s->p++, s->n--;
}

static struct dw_span take_token(struct dw_span *s)
{
	struct dw_span t = { .p = s->p };
	while (s->n && is_token(*s->p))
		s->p++, s->n--, t.n++;
	return t;
}

static bool is_word(struct dw_span s, const char *word)
{
	return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* A value in quotes, the first of which is read. Only what may stand in a field at all: no control bytes. */
static bool take_quoted(struct dw_span *s, char *out, size_t size, size_t *ret_n)
{
	size_t n = 0;
	while (s->n && *s->p != '"') {
		if (*s->p == '\\' && s->n > 1 && (s->p[1] == '"' || s->p[1] == '\\'))
			s->p++, s->n--;
		if (*s->p < 0x20 || *s->p == 0x7f || n == size)
			return false;
		out[n++] = (char)*s->p;
		s->p++, s->n--;
	}
	if (!s->n)
		return false;
	s->p++, s->n--;
	*ret_n = n;
	return true;
}

/* One `; name=value` of a field, with the white space around it. False when it is none. out: size bytes, no NUL is written. */
static bool take_parameter(struct dw_span *s, struct dw_span *ret_name, char *out, size_t size, size_t *ret_n)
{
	if (!s->n || *s->p != ';')
		return false;
	s->p++, s->n--;
	skip_blanks(s);
	*ret_name = take_token(s);
	if (!ret_name->n || !s->n || *s->p != '=')
		return false;
	s->p++, s->n--;
	if (s->n && *s->p == '"') {
		s->p++, s->n--;
		if (!take_quoted(s, out, size, ret_n))
			return false;
	} else {
		struct dw_span v = take_token(s);
		if (!v.n || v.n > size)
			return false;
		memcpy(out, v.p, v.n);
		*ret_n = v.n;
	}
	skip_blanks(s);
	return true;
}

bool multipart_init(struct multipart *m, const char *content_type)
{
	char value[MULTIPART_BOUNDARY_MAX];
	static const char type[] = "multipart/form-data";
	const size_t type_n = sizeof(type) - 1;
	size_t n = 0, found = 0;
	if (!content_type || strncasecmp(content_type, type, type_n) != 0)
		return false;
	struct dw_span name, s = { .p = (const uint8_t *)content_type + type_n, .n = strlen(content_type + type_n) };
	*m = (struct multipart){ .state = START, .matched = 2, .delimiter = { '\r', '\n', '-', '-' } };
	skip_blanks(&s);
	while (s.n) {
		if (!take_parameter(&s, &name, value, sizeof(value), &n))
			return false;
		if (!is_word(name, "boundary"))
			continue;
		if (found++ || !n || value[n - 1] == ' ')
			return false;
		for (size_t i = 0; i < n; i++)
			if (!is_boundary(value[i]))
				return false;
		memcpy(m->delimiter + 4, value, n);
		m->delimiter_n = 4 + n;
	}
	return found == 1;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int percent(const char *p, size_t n)
{
	if (n < 3 || p[0] != '%' || hex((uint8_t)p[1]) < 0 || hex((uint8_t)p[2]) < 0)
		return -1;
	return hex((uint8_t)p[1]) << 4 | hex((uint8_t)p[2]);
}

/* The bytes that the WHATWG's encoding replaces; in place. */
static size_t decode_few(char *s, size_t n)
{
	size_t out = 0;
	for (size_t i = 0; i < n; i++) {
		int c = percent(s + i, n - i);
		const bool few = c == '"' || c == '\r' || c == '\n';
		s[out++] = few ? (char)c : s[i];
		i += few ? 2 : 0;
	}
	return out;
}

/* UTF-8''text%20with (RFC 8187); in place. False for another charset, or what is no such value. */
static bool decode_extended(char *s, size_t n, size_t *ret_n)
{
	static const char charset[] = "utf-8'";
	size_t at = sizeof(charset) - 1, out = 0;
	if (n < at || strncasecmp(s, charset, at) != 0)
		return false;
	while (at < n && s[at] != '\'') /* a language */
		at++;
	if (at++ >= n)
		return false;
	for (; at < n; at++) {
		int c = (uint8_t)s[at];
		if (c == '%') {
			c = percent(s + at, n - at);
			at += 2;
		}
		if (c <= 0)
			return false;
		s[out++] = (char)c;
	}
	*ret_n = out;
	return true;
}

static bool set_filename(struct multipart *m, const char *text, size_t n)
{
	if (!n || n > MULTIPART_FILENAME_MAX || memchr(text, '\0', n))
		return false;
	if (m->has_filename)
		return strlen(m->filename) == n && memcmp(m->filename, text, n) == 0;
	memcpy(m->filename, text, n);
	m->filename[n] = '\0';
	m->has_filename = true;
	return true;
}

/* What is not known of a part changes nothing about it. */
static const char *read_parameter(struct multipart *m, struct dw_span name, char *value, size_t n, unsigned *seen)
{
	if (is_word(name, "name")) {
		if (*seen & 1 || !n || n > MULTIPART_NAME_MAX)
			return "a part's name is there twice, empty or too long";
		*seen |= 1;
		memcpy(m->name, value, n);
		m->name[n] = '\0';
	} else if (is_word(name, "filename")) {
		if (*seen & 2 || !set_filename(m, value, decode_few(value, n)))
			return "a part's filename is there twice with different words, empty or too long";
		*seen |= 2;
	} else if (is_word(name, "filename*")) {
		if (*seen & 4 || !decode_extended(value, n, &n) || !set_filename(m, value, n))
			return "a part's filename* is not in UTF-8, or not what filename is";
		*seen |= 4;
	}
	return NULL;
}

static const char *read_disposition(struct multipart *m, struct dw_span s)
{
	char value[MULTIPART_HEAD_MAX];
	size_t n = 0;
	unsigned seen = 0;
	if (!is_word(take_token(&s), "form-data"))
		return "a part's Content-Disposition is not form-data";
	skip_blanks(&s);
	while (s.n) {
		struct dw_span name;
		if (!take_parameter(&s, &name, value, sizeof(value), &n))
			return "a part's Content-Disposition is malformed";
		const char *why = read_parameter(m, name, value, n, &seen);
		if (why)
			return why;
	}
	return seen & 1 ? NULL : "a part has no name";
}

static const char *read_field(struct multipart *m, struct dw_span line, bool *disposed)
{
	const struct dw_span name = take_token(&line);
	if (!name.n || !line.n || *line.p != ':')
		return "a part's head has a line that is no field";
	line.p++, line.n--;
	skip_blanks(&line);
	while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	for (size_t i = 0; i < line.n; i++)
		if ((line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f)
			return "a part's head has a control character";
	if (is_word(name, "content-transfer-encoding") && !is_word(line, "binary") && !is_word(line, "8bit") &&
	    !is_word(line, "7bit"))
		return "a part has a Content-Transfer-Encoding, which form data does not have";
	if (!is_word(name, "content-disposition"))
		return NULL;
	if (*disposed)
		return "a part has two Content-Dispositions";
	*disposed = true;
	return read_disposition(m, line);
}

/* m->head up to its empty line. */
static const char *read_head(struct multipart *m)
{
	struct dw_span s = { .p = (const uint8_t *)m->head, .n = m->head_n - 2 };
	bool disposed = false;
	m->has_filename = false;
	m->name[0] = m->filename[0] = '\0';
	while (s.n) {
		const uint8_t *end = memmem(s.p, s.n, "\r\n", 2);
		const struct dw_span line = { .p = s.p, .n = (size_t)(end - s.p) };
		const char *why = read_field(m, line, &disposed);
		if (why)
			return why;
		s.n -= line.n + 2;
		s.p = end + 2;
	}
	return disposed ? NULL : "a part has no Content-Disposition";
}

static enum multipart_event take_head(struct multipart *m, uint8_t c)
{
	if (m->head_n == sizeof(m->head))
		return bad(m, "a part's head is too long");
	m->head[m->head_n++] = (char)c;
	const bool empty = m->head_n == 2 && memcmp(m->head, "\r\n", 2) == 0;
	if (!empty && (m->head_n < 4 || memcmp(m->head + m->head_n - 4, "\r\n\r\n", 4) != 0))
		return MULTIPART_MORE;
	const char *why = read_head(m);
	if (why)
		return bad(m, why);
	m->state = BODY;
	m->matched = 0;
	return MULTIPART_PART;
}

/* Bytes outside of bodies, one by one. MULTIPART_MORE: nothing to tell. */
static enum multipart_event take_byte(struct multipart *m, uint8_t c)
{
	switch ((enum state)m->state) {
	case START:
		if (c != (uint8_t)m->delimiter[m->matched++])
			return bad(m, "it does not begin with its boundary");
		if (m->matched == m->delimiter_n)
			m->state = BEHIND;
		return MULTIPART_MORE;
	case BEHIND:
		m->state = c == '\r' ? LINE_END : LAST;
		return c == '\r' || c == '-' ? MULTIPART_MORE : bad(m, "something follows a boundary");
	case LINE_END:
		m->state = HEAD;
		m->head_n = 0;
		return c == '\n' ? MULTIPART_MORE : bad(m, "something follows a boundary");
	case LAST:
		m->state = END;
		return c == '-' ? MULTIPART_MORE : bad(m, "something follows a boundary");
	case HEAD:
		return take_head(m, c);
	case END:
		m->state = END_CR;
		return c == '\r' ? MULTIPART_MORE : bad(m, "something follows the last boundary");
	case END_CR:
		m->state = END_CRLF;
		return c == '\n' ? MULTIPART_MORE : bad(m, "something follows the last boundary");
	case END_CRLF:
		return bad(m, "something follows the last boundary");
	case BAD:
	case BODY:
		break;
	}
	return MULTIPART_BAD;
}

/* How many of the last bytes may be the beginning of a boundary, in which a carriage return stands at the start alone. */
static size_t begun(const struct multipart *m, struct dw_span s)
{
	const size_t most = DW_MIN(s.n, m->delimiter_n - 1);
	const uint8_t *cr = memrchr(s.p + s.n - most, '\r', most);
	const size_t n = cr ? (size_t)(s.p + s.n - cr) : 0;
	return n && memcmp(cr, m->delimiter, n) == 0 ? n : 0;
}

static void use(struct dw_span *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

/* A boundary that an earlier piece has begun: it goes on, or those bytes were the part's. */
static enum multipart_event go_on(struct multipart *m, struct dw_span *in, struct dw_span *ret)
{
	const size_t n = DW_MIN(in->n, m->delimiter_n - m->matched);
	if (memcmp(in->p, m->delimiter + m->matched, n) != 0) {
		*ret = (struct dw_span){ .p = (const uint8_t *)m->delimiter, .n = m->matched };
		m->matched = 0;
		return MULTIPART_DATA;
	}
	m->matched += n;
	use(in, n);
	if (m->matched < m->delimiter_n)
		return MULTIPART_MORE;
	m->state = BEHIND;
	return MULTIPART_PART_END;
}

static enum multipart_event take_body(struct multipart *m, struct dw_span *in, struct dw_span *ret)
{
	if (m->matched)
		return go_on(m, in, ret);
	const uint8_t *end = memmem(in->p, in->n, m->delimiter, m->delimiter_n);
	const size_t rest = end ? 0 : begun(m, *in), n = end ? (size_t)(end - in->p) : in->n - rest;
	*ret = (struct dw_span){ .p = in->p, .n = n };
	use(in, n);
	if (n)
		return MULTIPART_DATA;
	use(in, end ? m->delimiter_n : rest);
	m->matched = rest;
	if (!end)
		return MULTIPART_MORE;
	m->state = BEHIND;
	return MULTIPART_PART_END;
}

enum multipart_event multipart_next(struct multipart *m, struct dw_span *in, struct dw_span *ret)
{
	while (in->n) {
		enum multipart_event e;
		if (m->state == BODY) {
			e = take_body(m, in, ret);
		} else {
			e = take_byte(m, *in->p);
			use(in, 1);
		}
		if (e != MULTIPART_MORE)
			return e;
	}
	return m->state == BAD ? MULTIPART_BAD : MULTIPART_MORE;
}

bool multipart_is_whole(const struct multipart *m)
{
	return m->state == END || m->state == END_CRLF;
}
