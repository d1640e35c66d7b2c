/* SPDX-License-Identifier: Apache-2.0 */
/* One record and its descriptors over a SOCK_SEQPACKET pair. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "core/macros.h"

#define DW_MSG_FDS_MAX 16

/* 0 or a negative errno. flags: MSG_DONTWAIT or 0. */
int DW_MUST_USE dw_msg_send(int sock, const void *rec, size_t n, const int *fds, size_t fds_n, int flags);

/*
 * Length of the record, 0 at end of file, or a negative errno. Received descriptors are close-on-exec and the caller's; *ret_fds_n
 * says how many there are. A record longer than cap, or more than DW_MSG_FDS_MAX descriptors, is -EBADMSG with everything closed.
 */
ssize_t DW_MUST_USE dw_msg_recv(int sock, void *rec, size_t cap, int ret_fds[static DW_MSG_FDS_MAX], size_t *ret_fds_n,
				int flags);

void dw_close_all(int *fds, size_t n);

/* Closes every descriptor from 3 on that is not in keep. */
void dw_close_except(const int *keep, size_t n);
