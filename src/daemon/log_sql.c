/* SPDX-License-Identifier: Apache-2.0 */
/* The tables and statements of log.db, and rows as JSON. */
#include "daemon/store_internal.h"

#include "daemon/clock.h"

static const char *const migrations[] = {
	"CREATE TABLE decision ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" sandbox TEXT NOT NULL,"
	" time_us INTEGER NOT NULL,"
	" protocol TEXT, addr TEXT, port INTEGER, qtype TEXT, name TEXT,"
	" verdict TEXT NOT NULL, reason TEXT, rule TEXT, message TEXT,"
	" count INTEGER NOT NULL, closed INTEGER NOT NULL,"
	" bytes_out INTEGER, bytes_in INTEGER, duration_ms INTEGER"
	") STRICT;"
	"CREATE INDEX decision_sandbox ON decision (sandbox, id);",
	"ALTER TABLE decision ADD COLUMN would TEXT;"
	"ALTER TABLE decision ADD COLUMN flow INTEGER;"
	"ALTER TABLE decision ADD COLUMN ended_us INTEGER;"
	"CREATE INDEX decision_flow ON decision (sandbox, flow) WHERE flow IS NOT NULL AND ended_us IS NULL;"
	"CREATE TABLE observed ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" sandbox TEXT NOT NULL, protocol TEXT NOT NULL, name TEXT NOT NULL, addr TEXT NOT NULL, port INTEGER NOT NULL,"
	" reason TEXT NOT NULL, denied INTEGER NOT NULL,"
	" count INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,"
	" UNIQUE (sandbox, protocol, name, addr, port, reason, denied)"
	") STRICT;"
	"CREATE TABLE observed_lost (sandbox TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
	"ALTER TABLE observed_lost ADD COLUMN untold INTEGER NOT NULL DEFAULT 0;",
};

#define COLUMNS                                                                                                  \
	"time_us, protocol, addr, port, qtype, name, verdict, reason, rule, message, count, closed, bytes_out, " \
	"bytes_in, duration_ms, would, flow, ended_us"
#define SELECT "SELECT id, " COLUMNS " FROM decision WHERE "
#define FILTER                                                                                                         \
	"sandbox = ?1 AND (?2 IS NULL OR verdict = ?2) AND (?3 IS NULL OR protocol = ?3) AND (?4 IS NULL OR reason = " \
	"?4) "                                                                                                         \
	"AND (?5 IS NULL OR addr = ?5) AND (?6 IS NULL OR name = ?6) AND (?7 IS NULL OR substr(name, -length(?7)) = "  \
	"?7) "                                                                                                         \
	"AND (?8 IS NULL OR (would IS NOT NULL) = ?8) AND (?9 IS NULL OR port = ?9) AND (?10 IS NULL OR time_us >= "   \
	"?10) "                                                                                                        \
	"AND (?11 IS NULL OR time_us < ?11) "

/* clang-format off */
static const char *const statements[] = {
	[LOG_ST_INSERT] = "INSERT INTO decision (sandbox, " COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[LOG_ST_END_FLOW] = "UPDATE decision SET closed = 1, bytes_out = ?3, bytes_in = ?4, duration_ms = ?5, ended_us = ?6, "
			    "would = coalesce(would, ?7) WHERE sandbox = ?1 AND flow = ?2 AND ended_us IS NULL RETURNING id",
	[LOG_ST_END_SANDBOX] = "UPDATE decision SET closed = 1, ended_us = ?1 WHERE sandbox = ?2 AND flow IS NOT NULL AND "
			       "ended_us IS NULL RETURNING id, sandbox",
	[LOG_ST_END_ALL] = "UPDATE decision SET closed = 1, ended_us = ?1 WHERE flow IS NOT NULL AND ended_us IS NULL "
			   "RETURNING id, sandbox",
	/* Everything of this sandbox up to the newest row that is beyond the limit. */
	[LOG_ST_TRIM_SANDBOX] = "DELETE FROM decision WHERE sandbox = ?1 AND id <= (SELECT id FROM decision WHERE sandbox = ?1 "
				"ORDER BY id DESC LIMIT 1 OFFSET ?2)",
	[LOG_ST_TRIM_ALL] = "DELETE FROM decision WHERE id IN (SELECT id FROM decision ORDER BY id LIMIT ?1)",
	[LOG_ST_COUNT] = "SELECT count(*) FROM decision",
	[LOG_ST_LIST] = SELECT FILTER "AND id < ?12 ORDER BY id DESC LIMIT ?13",
	[LOG_ST_ONE] = SELECT FILTER "AND id = ?12",
	[LOG_ST_RANGE] = SELECT FILTER "AND id > ?12 AND id <= ?13 ORDER BY id LIMIT ?14",
	[LOG_ST_NTH] = "SELECT id FROM decision WHERE " FILTER "ORDER BY id DESC LIMIT 1 OFFSET ?12",
	[LOG_ST_MAX] = "SELECT coalesce(max(id), 0) FROM decision",
	[LOG_ST_OBSERVED_ADD] = "UPDATE observed SET count = count + ?8, first_us = min(first_us, ?9), last_us = max(last_us, ?9) "
				"WHERE sandbox = ?1 AND protocol = ?2 AND name = ?3 AND addr = ?4 AND port = ?5 AND reason = ?6 "
				"AND denied = ?7",
	[LOG_ST_OBSERVED_INSERT] = "INSERT INTO observed (sandbox, protocol, name, addr, port, reason, denied, count, first_us, "
				   "last_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
	[LOG_ST_OBSERVED_OVERFLOW] = "INSERT INTO observed_lost (sandbox, count, untold) VALUES (?1, ?2, ?3) "
				     "ON CONFLICT DO UPDATE SET count = count + excluded.count, "
				     "untold = untold + excluded.untold",
	/* One that has lost something here was full: counting it again and again would be the work of a flood. */
	[LOG_ST_OBSERVED_ROOM] = "SELECT CASE WHEN EXISTS (SELECT 1 FROM observed_lost WHERE sandbox = ?1 AND count > 0) THEN ?2 "
				 "ELSE (SELECT count(*) FROM observed WHERE sandbox = ?1) END",
	[LOG_ST_OBSERVED_COUNT] = "SELECT count(*) FROM observed",
	/* All of the sandbox that was first seen longest ago. */
	[LOG_ST_OBSERVED_TRIM] = "DELETE FROM observed WHERE sandbox = (SELECT sandbox FROM observed ORDER BY id LIMIT 1)",
	[LOG_ST_OBSERVED_FORGET] = "DELETE FROM observed_lost WHERE sandbox NOT IN (SELECT sandbox FROM observed)",
	[LOG_ST_OBSERVED_LIST] = "SELECT protocol, name, addr, port, reason, denied, count, first_us, last_us FROM observed "
				 "WHERE sandbox = ?1 ORDER BY id",
	[LOG_ST_OBSERVED_LOST] = "SELECT coalesce(sum(count + untold), 0) FROM observed_lost WHERE sandbox = ?1",
	[LOG_ST_BEGIN] = "BEGIN",
	[LOG_ST_COMMIT] = "COMMIT",
	[LOG_ST_ROLLBACK] = "ROLLBACK",
};
/* clang-format on */
_Static_assert(DW_COUNT(statements) == LOG_ST__COUNT, "a statement for each");

int log_sql_open(struct sql_db *d, const char *path, struct dw_err *err)
{
	return sql_open(d, path, migrations, DW_COUNT(migrations), statements, LOG_ST__COUNT, err);
}

static void bind_word(sqlite3_stmt *st, int at, const char *word)
{
	sql_text(st, at, *word ? word : NULL);
}

static void bind_number(sqlite3_stmt *st, int at, int64_t v)
{
	if (v >= 0)
		sqlite3_bind_int64(st, at, v);
	else
		sqlite3_bind_null(st, at);
}

void log_sql_bind_filter(sqlite3_stmt *st, const struct log_filter *f)
{
	const bool below = f->name[0] == '.';
	sql_text(st, 1, f->sandbox);
	bind_word(st, 2, f->verdict);
	bind_word(st, 3, f->protocol);
	bind_word(st, 4, f->reason);
	bind_word(st, 5, f->addr);
	bind_word(st, 6, below ? "" : f->name);
	bind_word(st, 7, below ? f->name : "");
	bind_number(st, 8, f->would_set ? f->would : -1);
	bind_number(st, 9, f->port);
	bind_number(st, 10, f->since_us);
	bind_number(st, 11, f->until_us);
}

static json_t *column_json(sqlite3_stmt *st, int col)
{
	if (sqlite3_column_type(st, col) == SQLITE_INTEGER)
		return json_integer(sqlite3_column_int64(st, col));
	return json_string((const char *)sqlite3_column_text(st, col));
}

static void set_time(json_t *row, const char *key, int64_t us)
{
	char text[CLOCK_ISO_SIZE];
	json_object_set_new(row, key, json_string(clock_iso(us, text)));
}

json_t *log_sql_row(sqlite3_stmt *st)
{
	static const char *const keys[] = { "id",          "time",  "protocol", "addr",      "port",
					    "qtype",       "name",  "verdict",  "reason",    "rule",
					    "message",     "count", "closed",   "bytes_out", "bytes_in",
					    "duration_ms", "would", "flow",     "ended" };
	json_t *row = json_object();
	for (int i = 0; row && i < (int)DW_COUNT(keys); i++) {
		const bool time = i == 1 || i == (int)DW_COUNT(keys) - 1;
		if (sqlite3_column_type(st, i) == SQLITE_NULL)
			continue;
		if (time)
			set_time(row, keys[i], sqlite3_column_int64(st, i));
		else if (i == 12)
			json_object_set_new(row, keys[i], json_boolean(sqlite3_column_int(st, i)));
		else
			json_object_set_new(row, keys[i], column_json(st, i));
	}
	return row;
}

int log_sql_number(struct sql_db *d, sqlite3_stmt *st, int64_t *ret, const char *what, struct dw_err *err)
{
	const int step = sqlite3_step(st);
	const int64_t v = step == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	int r = step == SQLITE_ROW || step == SQLITE_DONE ? 0 : sql_fail(d, what, err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	if (r == 0)
		*ret = v;
	return r;
}

const char *log_event_text(const json_t *event, const char *key)
{
	return jsonx_plain_string(json_object_get(event, key));
}

int64_t log_event_time(const json_t *event)
{
	double t = json_number_value(json_object_get(event, "time"));
	/* Also false for a NaN; a time far off would be no number of microseconds. */
	return t > 0 && t < 1e11 ? (int64_t)(t * 1e6) : clock_wall_us();
}

int64_t log_event_count(const json_t *event)
{
	const json_t *count = json_object_get(event, "count");
	return json_is_integer(count) && json_integer_value(count) > 0 ? json_integer_value(count) : 1;
}
