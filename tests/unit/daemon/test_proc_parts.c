/* SPDX-License-Identifier: Apache-2.0 */
/* What the process table is made of, without processes: frames, kept output, lines as events, base64, results in pieces. */
#include "support.h"

#include "daemon/base64.h"
#include "daemon/bounds.h"
#include "daemon/line_events.h"
#include "daemon/output_share.h"
#include "daemon/proc_feed.h"
#include "daemon/proc_log.h"
#include "daemon/result_text.h"

/* Frames: what came out, as text. */
static enum dw_parse feed(struct proc_feed *f, const char *bytes, size_t n, size_t step, char *out, size_t size)
{
	enum dw_parse res = DW_PARSE_MORE;
	size_t len = strlen(out);
	for (size_t at = 0; at < n; at += step) {
		/* A copy of its own, so that reading past its end is seen. */
		const size_t some = step < n - at ? step : n - at;
		uint8_t *copy = malloc(some);
		memcpy(copy, bytes + at, some);
		struct dw_span data = { copy, some };
		struct proc_event e;
		while ((res = proc_feed_next(f, &data, &e)) == DW_PARSE_OK) {
			if (e.type == DW_AGENTP_STARTED)
				len += (size_t)snprintf(out + len, size - len, "[pid %u]", (unsigned)e.number);
			else if (e.type == DW_AGENTP_EXIT)
				len += (size_t)snprintf(out + len, size - len, "[exit %u %d]", (unsigned)e.exit.code,
							e.exit.timed_out);
			else if (e.type == DW_AGENTP_ERROR)
				len += (size_t)snprintf(out + len, size - len, "[error]");
			else
				len += (size_t)snprintf(out + len, size - len, "%c%.*s",
							e.type == DW_AGENTP_STDOUT ? 'o' : 'e', (int)e.bytes.n,
							(const char *)e.bytes.p);
		}
		assert_int_equal(data.n, 0);
		free(copy);
		if (res == DW_PARSE_BAD)
			break;
	}
	return res;
}

#define BYTES(s) s, sizeof(s) - 1
struct feed_row {
	const char *name;
	const char *bytes;
	size_t n;
	enum dw_parse want;
	const char *out; /* of everything at once; NULL: not compared */
};

#define STARTED        \
	"\0\0\0\4\x20" \
	"\0\0\0\x09"
/* clang-format off */
static const struct feed_row feed_rows[] = {
	{ "a whole life", BYTES(STARTED "\0\0\0\2\x21hi" "\0\0\0\1\x22x" "\0\0\0\0\x21" "\0\0\0\5\x23" "\0\0\0\7\1"),
	  DW_PARSE_MORE, "[pid 9]ohiex[exit 7 1]" },
	{ "nothing counts after EXIT", BYTES(STARTED "\0\0\0\5\x23" "\0\0\0\7\0" "\xff\xff\xff\xff\xff"), DW_PARSE_MORE, "[pid 9][exit 7 0]" },
	{ "ERROR", BYTES("\0\0\0\x07\x25" "\0\x16\0\0\0\1x"), DW_PARSE_MORE, "[error]" },
	{ "output before STARTED", BYTES("\0\0\0\2\x21hi"), DW_PARSE_BAD, "" },
	{ "STARTED twice", BYTES(STARTED STARTED), DW_PARSE_BAD, "[pid 9]" },
	{ "a chunk over the limit", BYTES(STARTED "\0\1\0\1\x21"), DW_PARSE_BAD, "[pid 9]" },
	{ "a length without end", BYTES(STARTED "\xff\xff\xff\xff\x21"), DW_PARSE_BAD, "[pid 9]" },
	{ "an ERROR longer than any", BYTES("\0\0\2\1\x25"), DW_PARSE_BAD, "" },
	{ "an ERROR that lies", BYTES("\0\0\0\x07\x25" "\0\x16\0\0\0\2x"), DW_PARSE_BAD, "" },
	{ "EXIT too short", BYTES(STARTED "\0\0\0\4\x23" "\0\0\0\7"), DW_PARSE_BAD, "[pid 9]" },
	{ "EXIT with a code that is none", BYTES(STARTED "\0\0\0\5\x23" "\0\0\1\0\0"), DW_PARSE_BAD, "[pid 9]" },
	{ "a type that does not exist", BYTES(STARTED "\0\0\0\0\x63"), DW_PARSE_BAD, "[pid 9]" },
	{ "a frame of the daemon's", BYTES(STARTED "\0\0\0\1\4x"), DW_PARSE_BAD, "[pid 9]" },
};
/* clang-format on */

static void check_feed(void **state)
{
	const struct feed_row *r = *state;
	for (size_t step = 1; step <= r->n; step++) {
		struct proc_feed f = { 0 };
		char out[256] = "";
		assert_int_equal(feed(&f, r->bytes, r->n, step, out, sizeof(out)), r->want);
		if (step == r->n)
			assert_string_equal(out, r->out);
		/* Bad is for good, and an end is an end. */
		struct dw_span more = { (const uint8_t *)"\0\0\0\1\x21x", 6 };
		struct proc_event e;
		if (r->want == DW_PARSE_BAD || f.ended) {
			assert_int_equal(proc_feed_next(&f, &more, &e), DW_PARSE_MORE);
			assert_int_equal(more.n, 0);
		}
	}
}

/* Everything that a reader gets, with what it lost. */
static void drain(struct proc_log *l, struct proc_reader *r, char *out, size_t size, size_t piece)
{
	size_t len = strlen(out);
	for (;;) {
		char buf[64];
		enum proc_stream stream = PROC_OUT;
		uint64_t lost;
		size_t n = proc_reader_next(l, r, buf, piece, &stream, &lost);
		if (lost)
			len += (size_t)snprintf(out + len, size - len, "[%llu lost]", (unsigned long long)lost);
		else if (n)
			len += (size_t)snprintf(out + len, size - len, "%c%.*s", stream == PROC_OUT ? 'o' : 'e', (int)n,
						buf);
		else
			return;
	}
}

static void log_keeps_order_and_positions(void **state)
{
	atomic_size_t share = 0;
	struct proc_log l;
	struct proc_reader all, from, live;
	char out[256] = "";
	proc_log_init(&l, 1000, 1000, &share);
	proc_log_add(&l, PROC_OUT, "ab", 2);
	proc_log_add(&l, PROC_OUT, "c", 1);
	proc_log_add(&l, PROC_ERR, "xy", 2);
	proc_reader_open(&l, &all, 0);
	proc_reader_open(&l, &from, 2);
	proc_reader_open(&l, &live, UINT64_MAX);
	proc_log_add(&l, PROC_OUT, "d", 1);
	drain(&l, &all, out, sizeof(out), 64);
	assert_string_equal(out, "oabcexyod");
	*out = '\0';
	drain(&l, &from, out, sizeof(out), 1);
	assert_string_equal(out, "ocexeyod");
	*out = '\0';
	drain(&l, &live, out, sizeof(out), 64);
	assert_string_equal(out, "od");
	assert_int_equal(live.at, 6);
	proc_reader_close(&l, &all);
	proc_reader_close(&l, &from);
	proc_reader_close(&l, &live);
	proc_log_done(&l);
	assert_int_equal(share, 0);
}

static size_t head_of(const struct proc_log *l, enum proc_stream stream, char *out, size_t size)
{
	struct proc_head_at at = { 0 };
	size_t n = 0, some;
	while (n < size && (some = proc_log_head_next(l, &at, stream, out + n, size - n < 7 ? size - n : 7)))
		n += some;
	return n;
}

/* The head stays, of the rest only the latest: a reader that fell behind is told, one that kept up is not. */
static void log_is_bounded(void **state)
{
	static char big[100000], got[200000];
	atomic_size_t share = 0;
	struct proc_log l;
	struct proc_reader slow, fast;
	enum proc_stream stream;
	uint64_t lost, slow_lost = 0, slow_got = 0, fast_got = 0;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 23);
	proc_log_init(&l, 10000, 20000, &share);
	proc_reader_open(&l, &slow, 0);
	proc_reader_open(&l, &fast, 0);
	for (size_t at = 0; at < sizeof(big); at += 1000) {
		proc_log_add(&l, PROC_OUT, big + at, 1000);
		size_t n = proc_reader_next(&l, &fast, got + fast_got, 4000, &stream, &lost);
		assert_int_equal(lost, 0);
		fast_got += n;
		assert_true(l.tail_cost <= 20000);
	}
	assert_int_equal(fast_got, sizeof(big));
	assert_memory_equal(got, big, sizeof(big));
	for (;;) {
		char buf[3000];
		const uint64_t at = slow.at;
		size_t n = proc_reader_next(&l, &slow, buf, sizeof(buf), &stream, &lost);
		if (!n && !lost)
			break;
		assert_memory_equal(buf, big + at, n);
		slow_lost += lost;
		slow_got += n;
	}
	assert_int_equal(slow_lost + slow_got, sizeof(big));
	assert_true(slow_got >= 10000 + 10000 && slow_lost > 60000);
	assert_true(l.truncated[PROC_OUT] && !l.truncated[PROC_ERR]);
	assert_int_equal(head_of(&l, PROC_OUT, got, sizeof(got)), 10000);
	assert_memory_equal(got, big, 10000);
	/* The other stream still has its head. */
	proc_log_add(&l, PROC_ERR, "late", 4);
	assert_int_equal(head_of(&l, PROC_ERR, got, sizeof(got)), 4);
	proc_reader_close(&l, &slow);
	proc_reader_close(&l, &fast);
	proc_log_done(&l);
	assert_int_equal(share, 0);
}

/* When others hold everything, a process still has a little of its own, for its result and for its readers. */
static void log_without_a_share(void **state)
{
	static char big[100000];
	static char got[100000];
	atomic_size_t share = 0;
	struct proc_log l;
	assert_true(output_share_take(&share, DAEMON_OUTPUT_SANDBOX_MAX));
	proc_log_init(&l, DAEMON_OUTPUT_MAX, DAEMON_PROC_TAIL, &share);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 23);
	for (size_t at = 0; at < sizeof(big); at += 100)
		proc_log_add(&l, PROC_OUT, big + at, 100);
	assert_true(l.truncated[PROC_OUT]);
	assert_int_equal(share, DAEMON_OUTPUT_SANDBOX_MAX);
	const size_t n = head_of(&l, PROC_OUT, got, sizeof(got));
	assert_in_range(n, 4000, DAEMON_PROC_OWN);
	assert_memory_equal(got, big, n);
	assert_true(l.tail_cost <= DAEMON_PROC_OWN && l.tail_cost > 1000);
	proc_log_done(&l);
	output_share_give(&share, DAEMON_OUTPUT_SANDBOX_MAX);
	assert_int_equal(share, 0);
}

/* Single bytes of alternating streams are the worst for the memory of what is kept: it is counted as it is. */
static void log_counts_its_own_memory(void **state)
{
	atomic_size_t share = 0;
	struct proc_log l;
	proc_log_init(&l, DAEMON_OUTPUT_MAX, DAEMON_PROC_TAIL, &share);
	for (unsigned i = 0; i < 20000; i++)
		proc_log_add(&l, i % 2 ? PROC_OUT : PROC_ERR, "x", 1);
	assert_in_range(proc_log_cost(&l), 20000 * 32, 20000 * 128);
	assert_true(share + 2 * DAEMON_PROC_OWN >= proc_log_cost(&l));
	proc_log_done(&l);
	assert_int_equal(share, 0);
}

struct line_row {
	const char *name;
	const char *pieces; /* each begins with o or e; '|' flushes, '$' flushes for good */
	const char *want;   /* data of the events, each behind o or e */
};

/* clang-format off */
static const struct line_row line_rows[] = {
	{ "a line", "oab\n", "oab\\n;" },
	{ "lines in pieces", "oa,ob\nc,od\n", "oab\\n;ocd\\n;" },
	{ "empty lines", "o\n\n", "o\\n;o\\n;" },
	{ "streams do not mix", "oab,ex\n,oc\n", "ex\\n;oabc\\n;" },
	{ "flushed", "oab,|,oc\n", "oab;oc\\n;" },
	{ "a character in two pieces", "oa\xe2,o\x82,o\xac\n", "oa\\u20ac\\n;" },
	{ "a flush does not cut it", "oa\xe2\x82,|,o\xac\n", "oa;o\\u20ac\\n;" },
	{ "nothing but its beginning", "o\xf0\x9f,|,o\x98\x80\n", "o\\ud83d\\ude00\\n;" },
	{ "the end cuts it", "oa\xe2\x82,$", "oa\\ufffd;" },
	{ "what is no character", "o\xff\xc0\n", "o\\ufffd\\ufffd\\n;" },
	{ "a newline in it", "o\xe2\n", "o\\ufffd\\n;" },
	{ "line separators", "o\xc2\x85\xe2\x80\xa8\n", "o\\u0085\\u2028\\n;" },
	{ "both flushed", "oa,eb,$", "oa;eb;" },
};
/* clang-format on */

/* Puts the data of each event to out. */
static void take_events(struct sse_out *sse, char *out)
{
	char text[4096];
	const size_t n = sse_take(sse, text, sizeof(text) - 1);
	text[n] = '\0';
	for (char *at = text; (at = strstr(at, "event: std")); at++) {
		const char *data = strstr(at, "\"data\":\"") + 8;
		sprintf(out + strlen(out), "%c%.*s;", at[10] == 'o' ? 'o' : 'e', (int)(strstr(data, "\"}\n\n") - data),
			data);
	}
}

static void check_lines(void **state)
{
	const struct line_row *r = *state;
	char copy[256], out[512] = "", *save = NULL;
	struct line_events l = { 0 };
	struct sse_out sse = { 0 };
	snprintf(copy, sizeof(copy), "%s", r->pieces);
	for (char *piece = strtok_r(copy, ",", &save); piece; piece = strtok_r(NULL, ",", &save)) {
		if (*piece == '|' || *piece == '$') {
			assert_true(line_events_flush(&l, *piece == '$', &sse));
		} else {
			size_t n = strlen(piece + 1);
			for (char *p = piece + 1; n;) {
				size_t some = line_events_take(&l, *piece == 'e', p, n, &sse);
				assert_in_range(some, 1, n);
				p += some;
				n -= some;
			}
		}
		take_events(&sse, out);
	}
	assert_string_equal(out, r->want);
	line_events_done(&l);
	sse_out_done(&sse);
}

static void long_lines_are_cut_between_characters(void **state)
{
	static char text[3 * LINE_EVENTS_MAX];
	struct line_events l = { .positions = true };
	struct sse_out sse = { 0 };
	unsigned long long last = 0;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "\xe2\x82\xac"[(i + 2) % 3];
	for (size_t at = 0; at < sizeof(text);)
		at += line_events_take(&l, 0, text + at, sizeof(text) - at, &sse);
	assert_true(line_events_flush(&l, true, &sse));
	char *all = malloc(sse.n + 1);
	const size_t n = sse_take(&sse, all, sse.n);
	all[n] = '\0';
	size_t signs = 0, broken = 0;
	for (const char *p = all; (p = strstr(p, "\\u")); p++) {
		signs += strncmp(p, "\\u20ac", 6) == 0;
		broken += strncmp(p, "\\ufffd", 6) == 0;
	}
	/* The text begins and ends in the middle of one. */
	assert_int_equal(signs, sizeof(text) / 3 - 1);
	assert_in_range(broken, 1, 3);
	for (const char *p = all; (p = strstr(p, "\"position\":")); p++)
		last = strtoull(p + 11, NULL, 10);
	assert_int_equal(last, sizeof(text));
	free(all);
	line_events_done(&l);
	sse_out_done(&sse);
}

/* From each position that was said, the rest of both streams comes again, and perhaps more, but nothing is missing. */
static void positions_lose_nothing(void **state)
{
	struct line_events l = { .positions = true };
	struct sse_out sse = { 0 };
	char text[1024];
	line_events_take(&l, 0, "ab", 2, &sse);
	line_events_take(&l, 1, "x\n", 2, &sse);
	text[sse_take(&sse, text, sizeof(text) - 1)] = '\0';
	assert_non_null(strstr(text, "\"x\\n\",\"position\":0}"));
	line_events_take(&l, 0, "c\n", 2, &sse);
	text[sse_take(&sse, text, sizeof(text) - 1)] = '\0';
	assert_non_null(strstr(text, "\"abc\\n\",\"position\":6}"));
	line_events_done(&l);
	sse_out_done(&sse);
}

static void without_newlines(void **state)
{
	struct line_events l = { .strip = true };
	struct sse_out sse = { 0 };
	char out[64] = "";
	line_events_take(&l, 0, "ab\n", 3, &sse);
	line_events_take(&l, 0, "\n", 1, &sse);
	take_events(&sse, out);
	assert_string_equal(out, "oab;o;");
	line_events_done(&l);
	sse_out_done(&sse);
}

static void base64_both_ways(void **state)
{
	/* RFC 4648, section 10. */
	static const char *const rows[][2] = { { "", "" },
					       { "f", "Zg==" },
					       { "fo", "Zm8=" },
					       { "foo", "Zm9v" },
					       { "foob", "Zm9vYg==" },
					       { "fooba", "Zm9vYmE=" },
					       { "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z",    "Zg",       "Zg=",    "Zg===", "====", "=Zg=", "Zh==",
					   "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm 9",  "Zm-_", "Z===", "Zm9vYg=A" };
	char text[16];
	uint8_t bytes[16];
	size_t n;
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		const size_t len = strlen(rows[i][0]);
		base64_encode(rows[i][0], len, text);
		assert_int_equal(BASE64_LENGTH(len), strlen(rows[i][1]));
		assert_memory_equal(text, rows[i][1], BASE64_LENGTH(len));
		assert_true(base64_decode(rows[i][1], strlen(rows[i][1]), bytes, &n));
		assert_int_equal(n, len);
		assert_memory_equal(bytes, rows[i][0], n);
	}
	for (size_t i = 0; i < DW_COUNT(bad); i++)
		assert_false(base64_decode(bad[i], strlen(bad[i]), bytes, &n));
}

struct pieces {
	const char *p;
	size_t n, step;
};

static size_t fill(void *arg, unsigned stream, char *buf, size_t max)
{
	struct pieces *s = (struct pieces *)arg + stream;
	size_t n = s->n < s->step ? s->n : s->step;
	n = n < max ? n : max;
	memcpy(buf, s->p, n);
	s->p += n;
	s->n -= n;
	return n;
}

/* A result in pieces is the same text as one in memory, wherever the pieces end. */
static void results_in_pieces(void **state)
{
	static char out[20000], err[9000], want[150000], got[150000];
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = "a\xf0\x9f\x98\x80\xff\"\n\xe2\x82\xac"[i % 11];
	for (size_t i = 0; i < sizeof(err); i++)
		err[i] = (char)(i * 7);
	struct agent_result r = { .pid = 5, .exit_code = 3 };
	r.out.p = out;
	r.out.n = sizeof(out);
	r.err.p = err;
	r.err.n = sizeof(err);
	struct result_text t;
	result_text_init(&t, &r, "note");
	const size_t n = result_text_read(&t, want, sizeof(want));
	for (size_t step = 1; step < 6000; step = step * 3 + 1) {
		struct pieces s[] = { { out, sizeof(out), step }, { err, sizeof(err), step } };
		result_text_init_pieces(&t, &r, fill, s, "note");
		size_t len = 0, some;
		while ((some = result_text_read(&t, got + len, step + 1)))
			len += some;
		assert_int_equal(len, n);
		assert_memory_equal(got, want, n);
	}
}

int main(void)
{
	int failed = 0;
	{
		ROW_TESTS(feed_rows, check_feed);
		failed += cmocka_run_group_tests_name("frames in pieces", tests, NULL, NULL);
	}
	{
		ROW_TESTS(line_rows, check_lines);
		failed += cmocka_run_group_tests_name("lines", tests, NULL, NULL);
	}
	const struct CMUnitTest more[] = {
		cmocka_unit_test(log_keeps_order_and_positions),
		cmocka_unit_test(log_is_bounded),
		cmocka_unit_test(log_without_a_share),
		cmocka_unit_test(log_counts_its_own_memory),
		cmocka_unit_test(long_lines_are_cut_between_characters),
		cmocka_unit_test(positions_lose_nothing),
		cmocka_unit_test(without_newlines),
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(results_in_pieces),
	};
	return failed + cmocka_run_group_tests_name("process parts", more, NULL, NULL);
}
