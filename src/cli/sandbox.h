/* SPDX-License-Identifier: Apache-2.0 */
/* The commands on sandboxes that have a file of their own. */
#pragma once

#include <jansson.h>

#include "core/err.h"

/* sandbox_create.c */
int sandbox_create(int argc, char *const *argv);
/* exec.c */
int sandbox_exec(int argc, char *const *argv);
/* connect.c */
int sandbox_connect(int argc, char *const *argv);
/* snapshot.c */
int sandbox_snapshot(int argc, char *const *argv);
int sandbox_snapshots(int argc, char *const *argv);
int sandbox_restore(int argc, char *const *argv);

/* A JSON object from a file, "-" for standard input. INVALID with the file's name. */
int DW_MUST_USE sandbox_read_network(const char *path, json_t **ret, struct dw_err *err);
