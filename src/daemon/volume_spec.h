/* SPDX-License-Identifier: Apache-2.0 */
/* What a create request says of volumes. Pure: whether there are such volumes is asked later (volume_attach.h). */
#pragma once

#include "daemon/jsonx.h"
#include "runtime/runtime.h"

#define VOLUME_SUBPATH_MAX 1024u

struct volume_want {
	char id[72];
	char path[DW_ATTACH_PATH_MAX];    /* canonical */
	char subpath[VOLUME_SUBPATH_MAX]; /* canonical and relative; "" for none */
	enum dw_attach_mode mode;
};

struct volume_spec {
	struct volume_want want[DW_ATTACH_MAX];
	size_t n;
};

/*
 * volumes: an array of {volume_id, mount_path, mode?, subpath?}; NULL and null are none. INVALID or UNPROCESSABLE, naming the member. *ret_echo: for
 * the sandbox's record, a new array with the modes filled in; NULL when there is none.
 */
int DW_MUST_USE volume_spec_parse(const json_t *volumes, struct volume_spec *ret, json_t **ret_echo,
				  struct dw_err *err);
