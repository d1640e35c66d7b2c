/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what a server has, and what is shown of a row. */
#pragma once

#include "cli/call.h"
#include "cli/table.h"
#include "cli/text.h"

/* All pages of a list, as a new array. path: encoded, with a query; key: the list's name in the answers. */
int DW_MUST_USE rows_get(struct client *c, const char *path, const char *key, json_t **ret, struct dw_err *err);

/* {key: rows, "total": N} */
int rows_print_json(json_t *rows, const char *key, struct dw_err *err);
/* One id a line; those that are none are a bad answer. */
int rows_print_ids(const json_t *rows, const char *id_key, struct dw_err *err);
/* Prints a table and frees what it has. */
int rows_print_table(struct table *t, struct dw_err *err);

/* "3.0M", "3m"; NULL where the row does not say. */
const char *row_size(const json_t *row, const char *key, char buf[static CLI_SIZE_MAX]);
const char *row_age(const json_t *row, const char *key, char buf[static CLI_AGE_MAX]);

/* A line of two columns, where there is text. */
void rows_add_field(struct table *t, const char *name, const char *text);

/* One request for a thing: its answer on standard output where it is asked for. */
struct rows_ask {
	struct call *call;
	const char *method, *base, *id_key;                 /* "GET", "/volumes", "volume_id" */
	int (*show)(const json_t *row, struct dw_err *err); /* NULL: nothing, but for --json */
};

/* For each word of the command; the exit code. */
int rows_ask_each(const struct rows_ask *ask);
