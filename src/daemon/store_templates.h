/* SPDX-License-Identifier: Apache-2.0 */
/* The templates and builds of state.db. Every function is thread-safe. */
#pragma once

#include "daemon/store.h"
#include "daemon/template.h"

int DW_MUST_USE store_template_insert(struct store *s, const struct template *t, struct dw_err *err);
/* Stores what is known now that it is built. Its alias is taken from the owner's other finished templates. */
int DW_MUST_USE store_template_ready(struct store *s, const struct template *t, struct dw_err *err);
int DW_MUST_USE store_template_remove(struct store *s, const char *id, struct dw_err *err);
/* By id or alias, the finished one before one that is built; 1 and *ret (template_done), 0 when there is none, -1 with err. */
int DW_MUST_USE store_template_find(struct store *s, const char *owner, const char *name, struct template *ret,
				    struct dw_err *err);
/* The same by id alone, whoever's it is. */
int DW_MUST_USE store_template_by_id(struct store *s, const char *id, struct template *ret, struct dw_err *err);
/* Calls visit for each of owner (NULL: everybody), oldest first; t is borrowed for the call, and visit must not call the store. */
int DW_MUST_USE store_template_each(struct store *s, const char *owner,
				    void (*visit)(void *arg, const struct template *t), void *arg, struct dw_err *err);

/* Inserts or replaces; the oldest rows go when there are too many. */
int DW_MUST_USE store_build_put(struct store *s, const struct build_record *b, struct dw_err *err);
/* 1 and *ret (build_record_done), 0 when owner has none of that id, -1 with err. */
int DW_MUST_USE store_build_get(struct store *s, const char *owner, const char *id, struct build_record *ret,
				struct dw_err *err);
/* Builds that a previous life did not end have failed, and their templates are gone. */
int DW_MUST_USE store_builds_leftover(struct store *s, const char *error, int64_t now_us, struct dw_err *err);
