/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are on this machine: the data directory, the other programs, the uplink's namespace, resolv.conf. */
#pragma once

#include <limits.h>

#include "core/err.h"
#include "daemon/options.h"

/* Makes the directory (mode 0700) if it does not exist, and takes its lock: *ret_lock_fd, to be held as long as it is used. */
int DW_MUST_USE place_data_dir(const char *path, int *ret_lock_fd, struct dw_err *err);

/*
 * The program <name>: next to this one in a build tree (../<part>/<name>), else installed (../libexec/declaw/<name>), else in
 * the directory that DECLAW_LIBEXEC names.
 */
int DW_MUST_USE place_program(const char *part, const char *name, char ret[static PATH_MAX], struct dw_err *err);

/* The namespace that the gate dials from. */
int DW_MUST_USE place_uplink(const struct options *o, int *ret_fd, struct dw_err *err);

/* Resolvers of the host, when the options name none. A machine without any is a warning, no error. */
void place_resolvers(struct options *o);

/* As many descriptors as the system grants: every connection, sandbox and policy has some. */
void place_raise_limits(void);
