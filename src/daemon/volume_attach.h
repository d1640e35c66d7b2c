/* SPDX-License-Identifier: Apache-2.0 */
/* From what a create request says of volumes to directories that are open and stay. */
#pragma once

#include "daemon/create_spec.h"
#include "daemon/volumes.h"

/*
 * Opens spec->volumes into spec->attach; they can not be deleted until create_spec_done. NOT_FOUND "volume_not_found"; INVALID for a subpath;
 * TOO_LARGE "not_enough_space" when copies do not fit a sandbox's disk.
 */
int DW_MUST_USE volume_attach(struct volumes *v, const char *owner, struct create_spec *spec, struct dw_err *err);
