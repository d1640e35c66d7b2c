/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sandboxes did while their policies only observed: one row per kind of thing (protocol, name or address, port, reason), so
 * that a year of the same request is one row. Bounded per sandbox and in all; what does not fit is counted.
 */
#include "daemon/store_internal.h"

#include <string.h>

/* The gate let these fail for want of something other than an entry: no policy can name them. */
static const char *const not_of_policy[] = { "limit_flows",     "limit_flow_rate", "limit_half_open", "limit_dns_rate",
					     "limit_dns_names", "limit_bytes",     "gate_resources",  "resolver_failed",
					     "name_gone",       "pin_limit" };

static bool any_of(const char *const *words, size_t n, const char *word)
{
	while (n--)
		if (strcmp(words[n], word) == 0)
			return true;
	return false;
}

/*
 * The name on the flow would not have been enough, so an entry for that name would not have opened it: only its address would.
 * The opposites are the reasons that are about which names are listed.
 */
static bool needs_address(const char *would)
{
	static const char *const by_name[] = { "not_in_allow_out", "deny_entry",      "deny_default",
					       "name_not_allowed", "sni_not_allowed", "host_not_allowed" };
	return !any_of(by_name, DW_COUNT(by_name), would);
}

static const char what[] = "storing what was observed";

struct key {
	const char *sandbox, *protocol, *name, *addr, *reason;
	int64_t port;
	bool denied;
	bool untold; /* it stands for more than the gate tells one by one: nobody knows what it was */
};

static const char *text_or(const json_t *event, const char *key)
{
	const char *s = log_event_text(event, key);
	return s ? s : "";
}

/* Whether the entry that it needs is one for its address. pinned: the sandbox was given the address for the name. */
static bool by_address(const struct key *k, const char *would, bool pinned)
{
	if (k->denied || !*k->addr)
		return false;
	if (*would)
		return needs_address(would) || !pinned;
	/* What its address opened may say any name; what a name opened was pinned then, whatever became of the pin. */
	return strcmp(k->reason, "allow_name") != 0 && !pinned;
}

/* False for what is nothing to keep. */
static bool key_of(const json_t *event, struct key *ret)
{
	const char *would = text_or(event, "would");
	struct key k = {
		.sandbox = text_or(event, "sandbox"),
		.protocol = text_or(event, "proto"),
		.name = text_or(event, "name"),
		.addr = text_or(event, "addr"),
		.reason = *would ? would : text_or(event, "reason"),
		.port = json_integer_value(json_object_get(event, "port")),
		.denied = strcmp(text_or(event, "verdict"), "deny") == 0,
	};
	if (k.denied && any_of(not_of_policy, DW_COUNT(not_of_policy), k.reason))
		return false;
	k.untold = !k.denied && !*k.name && !*k.addr;
	if (*k.name && by_address(&k, would, json_is_true(json_object_get(event, "pinned"))))
		k.name = "";
	else if (*k.name)
		k.addr = ""; /* a name's addresses change; they would only fill the table */
	*ret = k;
	return *k.name || *k.addr || k.untold;
}

static void bind_key(sqlite3_stmt *st, const struct key *k, int64_t count, int64_t time_us)
{
	sql_text(st, 1, k->sandbox);
	sql_text(st, 2, k->protocol);
	sql_text(st, 3, k->name);
	sql_text(st, 4, k->addr);
	sqlite3_bind_int64(st, 5, k->port);
	sql_text(st, 6, k->reason);
	sqlite3_bind_int64(st, 7, k->denied);
	sqlite3_bind_int64(st, 8, count);
	sqlite3_bind_int64(st, 9, time_us);
}

static int add_overflow(struct sql_db *d, const struct key *k, int64_t count)
{
	sqlite3_stmt *st = d->stmt[LOG_ST_OBSERVED_OVERFLOW];
	sql_text(st, 1, k->sandbox);
	sqlite3_bind_int64(st, 2, k->untold ? 0 : count);
	sqlite3_bind_int64(st, 3, k->untold ? count : 0);
	return sql_run(d, st, what, NULL);
}

int observed_add(struct store_log *l, const json_t *event)
{
	struct sql_db *d = &l->db;
	struct key k;
	int64_t have = 0;
	if (!key_of(event, &k))
		return 0;
	const int64_t count = log_event_count(event), time_us = log_event_time(event);
	if (k.untold)
		return add_overflow(d, &k, count);
	bind_key(d->stmt[LOG_ST_OBSERVED_ADD], &k, count, time_us);
	if (sql_run(d, d->stmt[LOG_ST_OBSERVED_ADD], what, NULL) < 0)
		return -1;
	if (sqlite3_changes(d->db) > 0)
		return 0;
	sql_text(d->stmt[LOG_ST_OBSERVED_ROOM], 1, k.sandbox);
	sqlite3_bind_int64(d->stmt[LOG_ST_OBSERVED_ROOM], 2, DAEMON_OBSERVED_SANDBOX);
	if (log_sql_number(d, d->stmt[LOG_ST_OBSERVED_ROOM], &have, what, NULL) < 0)
		return -1;
	if (have >= (int64_t)DAEMON_OBSERVED_SANDBOX)
		return add_overflow(d, &k, count);
	bind_key(d->stmt[LOG_ST_OBSERVED_INSERT], &k, count, time_us);
	l->observed_rows++;
	return sql_run(d, d->stmt[LOG_ST_OBSERVED_INSERT], what, NULL);
}

int observed_trim(struct store_log *l)
{
	struct sql_db *d = &l->db;
	while (l->observed_rows > (int64_t)DAEMON_OBSERVED_ROWS) {
		if (sql_run(d, d->stmt[LOG_ST_OBSERVED_TRIM], "trimming what was observed", NULL) < 0)
			return -1;
		const int n = sqlite3_changes(d->db);
		if (n == 0)
			return 0;
		l->observed_rows -= n;
		if (sql_run(d, d->stmt[LOG_ST_OBSERVED_FORGET], "trimming what was observed", NULL) < 0)
			return -1;
	}
	return 0;
}

static struct observed read_row(sqlite3_stmt *st)
{
	return (struct observed){
		.protocol = (const char *)sqlite3_column_text(st, 0),
		.name = (const char *)sqlite3_column_text(st, 1),
		.addr = (const char *)sqlite3_column_text(st, 2),
		.port = (uint16_t)sqlite3_column_int(st, 3),
		.reason = (const char *)sqlite3_column_text(st, 4),
		.denied = sqlite3_column_int(st, 5) != 0,
		.count = sqlite3_column_int64(st, 6),
		.first_us = sqlite3_column_int64(st, 7),
		.last_us = sqlite3_column_int64(st, 8),
	};
}

int store_observed_each(struct store *s, const char *id, void (*visit)(void *arg, const struct observed *o), void *arg,
			int64_t *ret_overflow, struct dw_err *err)
{
	static const char reading[] = "reading what was observed";
	struct sql_db *d = &s->log.db;
	int64_t overflow = 0;
	int step;
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[LOG_ST_OBSERVED_LIST];
	sql_text(st, 1, id);
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		const struct observed o = read_row(st);
		if (o.protocol && o.name && o.addr && o.reason)
			visit(arg, &o);
	}
	int r = step == SQLITE_DONE ? 0 : sql_fail(d, reading, err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	if (r == 0) {
		sql_text(d->stmt[LOG_ST_OBSERVED_LOST], 1, id);
		r = log_sql_number(d, d->stmt[LOG_ST_OBSERVED_LOST], &overflow, reading, err);
	}
	pthread_mutex_unlock(&d->lock);
	if (r == 0)
		*ret_overflow = overflow;
	return r;
}
