/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "unpack/entry.h"

/*
 * Before the first byte of the archive is read: the working directory becomes the root for good, every descriptor but 0, 1 and 2 is
 * closed, and what is left is what unpacking needs. Of a volume that is no capability at all and the volume's own user id; of a template
 * root with the capabilities to give files away and to set their modes.
 */
int DW_MUST_USE unpack_confine(enum unpack_mode mode, uint64_t max_bytes, struct dw_err *err);
