/* SPDX-License-Identifier: Apache-2.0 */
/* What was written to the network log, page by page. */
#include "daemon/store_internal.h"

#include <errno.h>

int store_log_list(struct store *s, const struct log_filter *filter, int64_t before, unsigned limit, json_t **ret,
		   int64_t *ret_next, struct dw_err *err)
{
	struct sql_db *d = &s->log.db;
	auto_json json_t *rows = json_array();
	int64_t last = 0, next = 0;
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[LOG_ST_LIST];
	log_sql_bind_filter(st, filter);
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 1, before ? before : INT64_MAX);
	/* One more, to know whether there is a next page. */
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 2, (int64_t)limit + 1);
	int step;
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		if (json_array_size(rows) == limit) {
			next = last;
			continue;
		}
		last = sqlite3_column_int64(st, 0);
		json_array_append_new(rows, log_sql_row(st));
	}
	int r = step == SQLITE_DONE ? 0 : sql_fail(d, "reading the network log", err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	pthread_mutex_unlock(&d->lock);
	if (r == 0) {
		*ret = DW_TAKE(rows);
		*ret_next = next;
	}
	return r;
}
