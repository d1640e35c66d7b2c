/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands on files share. */
#pragma once

#include "cli/call.h"
#include "cli/place.h"

/* copy.c */
int files_cp(int argc, char *const *argv);

/* "/sandboxes/{id}/files<suffix>?path=..&username=..", malloc'ed; user NULL: the server's default. NULL: memory is out. */
char *files_path(const char *id, const char *suffix, const char *path, const char *user);
/* The entry of a path: an object with a name and a type. */
int DW_MUST_USE files_info(struct client *c, const struct place *p, const char *user, json_t **ret, struct dw_err *err);
/* The entries of a folder: an array. */
int DW_MUST_USE files_list(struct client *c, const struct place *p, const char *user, json_t **ret, struct dw_err *err);
bool files_is_folder(const json_t *entry);
