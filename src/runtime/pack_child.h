/* SPDX-License-Identifier: Apache-2.0 */
/* The process that reads a sandbox's files: a child of the keeper with the rights of the sandbox's root over them and no others. */
#pragma once

#include <stdint.h>

struct dw_pack_job {
	int userns_fd; /* the sandbox's */
	int upper_fd;  /* what becomes its root directory */
	int out_fd, report_fd;
	uint64_t max_bytes;
};

_Noreturn void dw_pack_child(const struct dw_pack_job *job);
