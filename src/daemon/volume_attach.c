/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/volume_attach.h"

#include <stdio.h>
#include <string.h>

/* A file takes whole pages of the disk, which is memory. */
#define PAGE 4096u

static int attach_one(struct volumes *v, const char *owner, const struct volume_want *w, struct create_spec *spec,
		      uint64_t *copied, struct dw_err *err)
{
	struct volume_row row;
	struct dw_attach *a = &spec->attach[spec->attach_n];
	int fd = -1;
	if (volume_pin(v, w->id, owner, w->subpath[0] ? w->subpath : NULL, &fd, &row, err) < 0)
		return -1;
	snprintf(spec->pinned[spec->pinned_n++], sizeof(spec->pinned[0]), "%s", row.id);
	spec->pinned_in = v;
	a->dir_fd = fd;
	a->mode = w->mode;
	snprintf(a->path, sizeof(a->path), "%s", w->path);
	spec->attach_n++;
	if (w->mode == DW_ATTACH_COPY)
		*copied += (uint64_t)row.bytes + (uint64_t)row.files * PAGE;
	return 0;
}

int volume_attach(struct volumes *v, const char *owner, struct create_spec *spec, struct dw_err *err)
{
	uint64_t copied = 0;
	for (size_t i = 0; i < spec->volumes.n; i++) {
		if (attach_one(v, owner, &spec->volumes.want[i], spec, &copied, err) < 0)
			return dw_err_wrap(err, "volumes[%zu]", i);
	}
	if (copied > (uint64_t)spec->disk_mb << 20)
		return dw_err_set(
			err, DW_ERR_TOO_LARGE, "not_enough_space",
			"the volumes to be copied take %llu MiB, and a sandbox's disk has %u: attach with mode "
			"\"mount-ro\" what is only read",
			(unsigned long long)(copied >> 20), spec->disk_mb);
	return 0;
}
