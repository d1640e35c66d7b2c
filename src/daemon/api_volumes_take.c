/* SPDX-License-Identifier: Apache-2.0 */
/* A volume out of a directory of a sandbox. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/utf8.h"
#include "daemon/volume_take.h"

static int take(struct http_request *rq, struct http_reply *rp, const char *path, const char *name, struct dw_err *err)
{
	DW_AUTO(volume_draft_free) struct volume_draft *d = NULL;
	struct volume_row v;
	struct unpack_counts counts;
	const struct volume_take_from from = {
		.manager = rq->app->manager,
		.sandbox = rq->id,
		.path = path,
		.stop_fd = rq->app->stop_fd,
		.client_fd = http_client_fd(rq),
		.max_bytes = volumes_max_bytes(rq->app->volumes),
	};
	uint64_t left_out = 0;
	if (volume_draft_new(rq->app->volumes, rq->caller.owner, name, &d, err) < 0 ||
	    volume_take(&from, d, &left_out, err) < 0 || volume_draft_finish(d, &v, &counts, err) < 0)
		return -1;
	/* Links and the like never reach the archive; the client hears of them as of those in an archive of its own. */
	counts.dropped += left_out;
	counts.dropped_links += left_out;
	return api_volume_made(rq, rp, &v, &counts, err);
}

static int check_path(const char *path, struct dw_err *err)
{
	static const char *const refused[] = { "/proc", "/sys", "/dev" };
	if (api_check_path(path, "path", err) < 0)
		return -1;
	if (path[0] != '/')
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path must be absolute");
	for (size_t i = 0; i < DW_COUNT(refused); i++) {
		if (volume_take_is_below(path, refused[i]))
			return dw_err_set(
				err, DW_ERR_INVALID, "invalid_path",
				"path must not be /proc, /sys or /dev, nor below them: these are the kernel's");
	}
	return 0;
}

int api_volume_snapshot(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *path = NULL, *name = "snapshot";
	if (http_query(rq, "path", &path, err) < 0 || http_query(rq, "name", &name, err) < 0 ||
	    check_path(path, err) < 0)
		return -1;
	return take(rq, rp, path, name, err);
}

/* Where the sandbox has the volume. */
static int mount_path(const struct http_request *rq, char ret[static DW_ATTACH_PATH_MAX], struct dw_err *err)
{
	auto_record struct record r = { 0 };
	size_t i;
	const json_t *a;
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	json_array_foreach(r.doc->volumes, i, a)
	{
		const char *id = json_string_value(json_object_get(a, "volume_id"));
		const char *path = json_string_value(json_object_get(a, "mount_path"));
		if (id && path && strcmp(id, rq->part) == 0) {
			snprintf(ret, DW_ATTACH_PATH_MAX, "%s", path);
			return 0;
		}
	}
	return dw_err_set(err, DW_ERR_NOT_FOUND, "volume_not_attached", "the sandbox has no such volume attached");
}

int api_volume_commit(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const char suffix[] = "-commit";
	char path[DW_ATTACH_PATH_MAX], made_up[DAEMON_NAME_MAX + 1];
	const char *name = NULL;
	struct volume_row v;
	if (http_query(rq, "name", &name, err) < 0 || mount_path(rq, path, err) < 0)
		return -1;
	if (!name) {
		/* The volume may be gone by now: what it was called goes with it. */
		const bool there = volume_get(rq->app->volumes, rq->part, rq->caller.owner, &v, NULL) == 0;
		const char *source = there ? v.name : rq->part;
		const size_t n =
			utf8_valid_prefix(source, DW_MIN(strlen(source), DAEMON_NAME_MAX - sizeof(suffix) + 1));
		snprintf(made_up, sizeof(made_up), "%.*s%s", (int)n, source, suffix);
		name = made_up;
	}
	return take(rq, rp, path, name, err);
}
