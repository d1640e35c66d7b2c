/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own records are on the disk that volumes and templates fill: neither takes the last of it. */
#pragma once

#include "core/err.h"

/* TOO_LARGE "no_space" when less than the spare bytes or files is left on the disk of fd. */
int DW_MUST_USE disk_room_check(int fd, struct dw_err *err);
