/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"

void table_add(struct table *t, const char *text)
{
	void *array = t->cell;
	char **cell = cli_grow(&array, &t->n, sizeof(*cell));

	if (!cell) {
		t->failed = true;
		return;
	}
	t->cell = array;
	text = text && *text ? text : "-";
	*cell = cli_escape(text, strlen(text));
	if (!*cell)
		t->failed = true;
}

static void print_cell(const char *text, size_t width, bool right, bool last, FILE *out)
{
	const int pad = (int)(width - cli_width(text));

	if (right)
		fprintf(out, "%*s%s%s", pad, "", text, last ? "" : "  ");
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad + 2, "");
}

bool table_print(const struct table *t, FILE *out)
{
	size_t width[TABLE_COLUMNS_MAX] = { 0 };

	if (t->failed)
		return false;
	for (size_t i = 0; i < t->n; i++)
		width[i % t->columns] = DW_MAX(width[i % t->columns], cli_width(t->cell[i]));
	for (size_t i = 0; i < t->n; i++) {
		const size_t c = i % t->columns;
		print_cell(t->cell[i], width[c], t->right[c], c + 1 == t->columns, out);
		if (c + 1 == t->columns)
			fputc('\n', out);
	}
	return true;
}

void table_done(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct table){ 0 };
}
