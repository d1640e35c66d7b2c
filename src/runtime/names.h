/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a sandbox say of its name and its resolver. */
#pragma once

#include <stdbool.h>

#include "core/macros.h"

/*
 * Writes etc/hostname and etc/hosts into the upper directory of the root. What an archive brought stays, but for this sandbox's own
 * name. resolver: the resolver's address too, which the host's template has anyway. 0 or -errno.
 */
int DW_MUST_USE dw_names_write(const char *hostname, bool resolver);
