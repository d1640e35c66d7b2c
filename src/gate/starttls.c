/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/starttls.h"

#include <assert.h>
#include <string.h>

#include "core/macros.h"
#include "wire/tls_hello.h"

enum { RECORD_CCS = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

#define RECORD_HEADER  5
#define RECORD_MAX     (1u << 14)
#define DATA_MAX       (RECORD_MAX + 2048u) /* encrypted (RFC 5246 section 6.2.3) */
#define CLIENT_HELLO   1
#define BODY_MIN       41u      /* version, random, and the shortest of each vector but extensions */
#define BODY_MAX       0x2ffffu /* OpenSSL reads hellos of 128 KiB */
#define SESSION_ID_MAX 32u

/* The fields of the hello in their order; each but RANDOM and EXTENSIONS is a number. */
enum field {
	FIELD_TYPE = 0,
	FIELD_BODY,
	FIELD_VERSION,
	FIELD_SESSION,
	FIELD_SUITES,
	FIELD_COMPRESSION,
	FIELD_EXTENSIONS,
	FIELD_END,
};

static const uint8_t field_size[] = {
	[FIELD_TYPE] = 1,   [FIELD_BODY] = 3,        [FIELD_VERSION] = 2,    [FIELD_SESSION] = 1,
	[FIELD_SUITES] = 2, [FIELD_COMPRESSION] = 1, [FIELD_EXTENSIONS] = 2, [FIELD_END] = 0,
};
static_assert(DW_COUNT(field_size) == FIELD_END + 1, "every field has its size");

struct walk {
	enum field field;
	uint32_t number; /* of the field, as far as it was read */
	uint8_t number_n;
	uint32_t skip; /* bytes of a vector before the next field */
	uint32_t left; /* bytes of the body behind what was read, from FIELD_VERSION on */
	unsigned records;
	bool early;
};

/* The field is read: is it one, and what follows? */
static bool field_done(struct walk *w)
{
	const uint32_t v = w->number;
	const enum field field = w->field++;

	w->number = 0;
	w->number_n = 0;
	if (field >= FIELD_VERSION) {
		if (field_size[field] > w->left)
			return false;
		w->left -= field_size[field];
	}
	switch (field) {
	case FIELD_TYPE:
		return v == CLIENT_HELLO;
	case FIELD_BODY:
		w->left = v;
		return v >= BODY_MIN && v <= BODY_MAX;
	case FIELD_VERSION:
		w->skip = 32; /* the random; BODY_MIN has it */
		break;
	case FIELD_SESSION:
	case FIELD_SUITES:
	case FIELD_COMPRESSION:
		w->skip = v;
		break;
	case FIELD_EXTENSIONS:
		w->skip = v;
		return v == w->left;
	case FIELD_END:
		return false;
	}
	if ((field == FIELD_VERSION && v >> 8 != 3 && v >> 8 != 4) || (field == FIELD_SESSION && v > SESSION_ID_MAX) ||
	    (field == FIELD_SUITES && (v == 0 || v % 2)) || (field == FIELD_COMPRESSION && v == 0))
		return false;
	return w->skip <= w->left;
}

static bool hello_whole(const struct walk *w)
{
	return w->field >= FIELD_EXTENSIONS && w->skip == 0 && w->left == 0;
}

/* Bytes of the handshake. False: they are no ClientHello. What is behind a whole one is not looked at. */
static bool take(struct walk *w, const uint8_t *p, size_t n)
{
	while (n && !hello_whole(w)) {
		if (w->skip) {
			const uint32_t k = (uint32_t)DW_MIN((size_t)w->skip, n);
			w->skip -= k;
			w->left -= k;
			p += k;
			n -= k;
			continue;
		}
		w->number = w->number << 8 | *p++;
		n--;
		if (++w->number_n == field_size[w->field] && !field_done(w))
			return false;
	}
	return true;
}

/* A byte of a record's header that is there: may it stand there? */
static bool header_byte_ok(const struct walk *w, const uint8_t *h, size_t i)
{
	switch (i) {
	case 0:
		return h[0] == RECORD_HANDSHAKE || (w->records && (h[0] == RECORD_ALERT || h[0] == RECORD_CCS)) ||
		       (w->records && w->early && h[0] == RECORD_DATA);
	case 1:
		return h[1] < 0x10;
	case 2:
		return true;
	case 3:
		if (h[0] == RECORD_DATA)
			return h[3] <= DATA_MAX >> 8;
		return h[0] == RECORD_HANDSHAKE ? h[3] <= RECORD_MAX >> 8 : h[3] == 0;
	default:
		break;
	}
	const unsigned size = (unsigned)h[3] << 8 | h[4];
	if (h[0] == RECORD_HANDSHAKE)
		return size <= RECORD_MAX && (size || w->records);
	if (h[0] == RECORD_DATA)
		return size <= DATA_MAX;
	return size == (h[0] == RECORD_ALERT ? 2 : 1);
}

/* Enough is right for it to be no chance: up to the suites, or the next record where the first one ends. */
static bool is_sure(const struct walk *w)
{
	return w->field > FIELD_SUITES || w->records > 1;
}

/* Two pieces that follow each other. */
struct pieces {
	const uint8_t *a, *b;
	size_t an, bn;
};

static uint8_t byte_at(const struct pieces *s, size_t i)
{
	return i < s->an ? s->a[i] : s->b[i - s->an];
}

static bool take_at(struct walk *w, const struct pieces *s, size_t at, size_t n)
{
	const size_t first = at < s->an ? DW_MIN(n, s->an - at) : 0;

	if (first && !take(w, s->a + at, first))
		return false;
	return n == first || take(w, s->b + (at + first - s->an), n - first);
}

/* One record, as far as it is there. False: none of a hello. *at moves behind it; *ret_whole: all of it is there. */
static bool take_record(struct walk *w, const struct pieces *s, size_t *at, bool *ret_whole)
{
	const size_t there = s->an + s->bn - *at;
	uint8_t h[RECORD_HEADER];

	for (size_t i = 0; i < DW_MIN(there, (size_t)RECORD_HEADER); i++) {
		h[i] = byte_at(s, *at + i);
		if (!header_byte_ok(w, h, i))
			return false;
	}
	*ret_whole = false;
	if (there < RECORD_HEADER)
		return true;
	w->records++;
	const size_t size = (size_t)h[3] << 8 | h[4];
	const size_t got = DW_MIN(size, there - RECORD_HEADER);
	if (h[0] == RECORD_HANDSHAKE && !take_at(w, s, *at + RECORD_HEADER, got))
		return false;
	*at += RECORD_HEADER + got;
	*ret_whole = got == size;
	return true;
}

static enum starttls_what match(const struct pieces *s, bool early, size_t *ret_n, bool *ret_false)
{
	struct walk w = { .early = early };
	bool whole = true;
	size_t at = 0;

	while (whole) {
		if (!take_record(&w, s, &at, &whole)) {
			*ret_false = is_sure(&w);
			return STARTTLS_NONE;
		}
		if (whole && (hello_whole(&w) || w.records > DW_TLS_RECORDS_MAX)) {
			*ret_n = at;
			return STARTTLS_HELLO;
		}
	}
	return is_sure(&w) ? STARTTLS_START : STARTTLS_PART;
}

/* A match at position i that counts what came to nothing. */
static enum starttls_what look(struct starttls *t, const uint8_t *data, size_t n, size_t i, struct starttls_found *ret)
{
	const size_t skip = i < t->gone_n ? 0 : i - t->gone_n;
	const struct pieces s = {
		.a = t->gone + DW_MIN(i, (size_t)t->gone_n),
		.an = i < t->gone_n ? t->gone_n - i : 0,
		.b = data + skip,
		.bn = n - skip,
	};
	bool was_start = false;

	ret->at = i;
	ret->n = 0;
	enum starttls_what what = match(&s, t->early, &ret->n, &was_start);
	if (what == STARTTLS_NONE && was_start && ++t->false_starts > STARTTLS_FALSE_MAX)
		return STARTTLS_BAD;
	return what;
}

enum starttls_what starttls_scan(struct starttls *t, const uint8_t *data, size_t n, size_t from,
				 struct starttls_found *ret)
{
	enum starttls_what what;

	for (size_t i = from; i < t->gone_n; i++) {
		what = look(t, data, n, i, ret);
		if (what != STARTTLS_NONE)
			return what;
	}
	for (size_t i = from > t->gone_n ? from - t->gone_n : 0; i < n; i++) {
		const uint8_t *p = memchr(data + i, RECORD_HANDSHAKE, n - i);
		if (!p)
			break;
		i = (size_t)(p - data);
		what = look(t, data, n, t->gone_n + i, ret);
		if (what != STARTTLS_NONE)
			return what;
	}
	*ret = (struct starttls_found){ .at = t->gone_n + n };
	return STARTTLS_NONE;
}

void starttls_pass(struct starttls *t, const uint8_t *data, size_t n, size_t at)
{
	const size_t keep = t->gone_n + n - at;
	const size_t old = at < t->gone_n ? t->gone_n - at : 0;

	dw_assert(keep <= sizeof(t->gone));
	if (old)
		memmove(t->gone, t->gone + at, old);
	if (keep > old)
		memcpy(t->gone + old, data + n - (keep - old), keep - old);
	t->gone_n = (uint8_t)keep;
}
