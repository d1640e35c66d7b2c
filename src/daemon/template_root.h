/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a template: data_dir/templates/<id>/root. What is in it came out of a build and is hostile; the server changes a
 * little in it so that a sandbox can live there, by descriptors whose every step is resolved below it.
 */
#pragma once

#include <stdint.h>

#include "core/err.h"

/* Makes templates/<id> and root in it, empty; *ret_fd is root. */
int DW_MUST_USE template_root_make(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err);
/* A descriptor of root, with a shared lock on it: as long as anybody has it, template_root_lock fails. */
int DW_MUST_USE template_root_open(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err);
/* An exclusive lock on it: CONFLICT "template_in_use" when somebody has it open. Until *ret_fd is closed nobody can open it. */
int DW_MUST_USE template_root_lock(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err);
/* Removes the whole directory. */
void template_root_remove(const char *data_dir, const char *id);
/* Calls visit for each directory of a template. */
void template_root_each(const char *data_dir, void (*visit)(void *arg, const char *id), void *arg);

/*
 * Directories, the account `user`, resolv.conf. INVALID "bad_template": no shell, or something else than a directory where
 * one has to be.
 */
int DW_MUST_USE template_root_finish(int root_fd, struct dw_err *err);
