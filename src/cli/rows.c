/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rows.h"

#include <string.h>
#include <time.h>

#include "cli/place.h"

#define PAGES_MAX 10000u /* an endless list is no list */

/* One page; ret_token: of the next, malloc'ed and encoded, NULL at the end. */
static int get_page(struct client *c, const char *path, const char *key, const char *token, json_t *rows,
		    char **ret_token, struct dw_err *err)
{
	dw_autofree char *whole = NULL;
	json_t *answer = NULL;
	if (asprintf(&whole, "%s%s%s", path, token ? "&next_token=" : "", token ? token : "") < 0) {
		whole = NULL;
		return call_no_memory(err);
	}
	if (client_json(c, "GET", whole, NULL, &answer, err) < 0)
		return -1;
	json_t *page = json_object_get(answer, key);
	const char *next = call_text(answer, "next_token");
	int r = json_is_array(page) ? 0 : call_bad_answer(err);
	if (r == 0 && json_array_extend(rows, page) < 0)
		r = call_no_memory(err);
	*ret_token = NULL;
	if (r == 0 && next && *next && !(*ret_token = cli_percent(next)))
		r = call_no_memory(err);
	json_decref(answer);
	return r;
}

int rows_get(struct client *c, const char *path, const char *key, json_t **ret, struct dw_err *err)
{
	dw_autofree char *token = NULL;
	json_t *rows = json_array();
	int r = rows ? 0 : call_no_memory(err);
	for (unsigned page = 0; r == 0 && (page == 0 || token); page++) {
		dw_autofree char *this = DW_TAKE(token);
		r = page < PAGES_MAX ? get_page(c, path, key, this, rows, &token, err) : call_bad_answer(err);
	}
	if (r == 0)
		*ret = rows;
	else
		json_decref(rows);
	return r;
}

int rows_print_json(json_t *rows, const char *key, struct dw_err *err)
{
	json_t *whole = json_pack("{sO sI}", key, rows, "total", (json_int_t)json_array_size(rows));
	const int r = whole ? call_print_json(whole, false, err) : call_no_memory(err);
	json_decref(whole);
	return r;
}

int rows_print_ids(const json_t *rows, const char *id_key, struct dw_err *err)
{
	const json_t *row;
	size_t i;
	json_array_foreach(rows, i, row)
	{
		const char *id = call_text(row, id_key);
		if (!id || !place_is_id(id))
			return call_bad_answer(err);
		puts(id);
	}
	return 0;
}

int rows_print_table(struct table *t, struct dw_err *err)
{
	const bool ok = table_print(t, stdout);
	table_done(t);
	return ok ? 0 : call_no_memory(err);
}

const char *row_size(const json_t *row, const char *key, char buf[static CLI_SIZE_MAX])
{
	const json_t *n = json_object_get(row, key);
	return json_is_integer(n) && json_integer_value(n) >= 0 ? cli_size((uint64_t)json_integer_value(n), buf) : NULL;
}

const char *row_age(const json_t *row, const char *key, char buf[static CLI_AGE_MAX])
{
	const char *text = call_text(row, key);
	time_t t;
	return text && cli_parse_time(text, &t) ? cli_age((int64_t)time(NULL) - (int64_t)t, buf) : NULL;
}

void rows_add_field(struct table *t, const char *name, const char *text)
{
	if (!text || !*text)
		return;
	table_add(t, name);
	table_add(t, text);
}

static int ask_one(void *arg, const char *id, struct dw_err *err)
{
	const struct rows_ask *a = arg;
	dw_autofree char *path = NULL;
	json_t *answer = NULL;
	int r = 0;
	if (asprintf(&path, "%s/%s", a->base, id) < 0) {
		path = NULL;
		return call_no_memory(err);
	}
	if (client_json(a->call->client, a->method, path, NULL, &answer, err) < 0)
		return -1;
	if (!json_is_object(answer))
		r = call_bad_answer(err);
	else if (a->call->json && !json_object_get(answer, a->id_key))
		DW_IGNORE(json_object_set_new(answer, a->id_key, json_string(id)));
	if (r == 0 && a->call->json)
		r = call_print_json(answer, a->call->word_n > 1, err);
	else if (r == 0 && a->show)
		r = a->show(answer, err);
	json_decref(answer);
	return r;
}

int rows_ask_each(const struct rows_ask *ask)
{
	return call_each(ask->call, ask_one, (void *)(uintptr_t)ask);
}
