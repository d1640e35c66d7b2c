/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/volume_spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES_MAX 255

static int bad(struct dw_err *err, size_t i, const char *field, const char *want)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "volumes[%zu].%s %s", i, field, want);
}

/* No empty, "." or ".." part, none too long, no control characters; s begins with the first part. */
static bool canonical(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "/");
		if (n == 0 || n > NAME_BYTES_MAX || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		for (size_t i = 0; i < n; i++) {
			if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
				return false;
		}
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static bool is_or_below(const char *path, const char *dir)
{
	const size_t n = strlen(dir);
	return strncmp(path, dir, n) == 0 && (!path[n] || path[n] == '/');
}

static const char *refusal(const char *path)
{
	/* What a sandbox can not run without, or what is not its own. */
	static const char *const whole[] = { "/proc", "/sys", "/dev" };
	static const char *const exact[] = {
		"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var", "/run", "/boot"
	};
	if (path[0] != '/' || !path[1])
		return "must be an absolute path, and not /";
	if (strlen(path) >= DW_ATTACH_PATH_MAX || !canonical(path + 1))
		return "must be a path without empty, \".\" or \"..\" parts, of less than 256 bytes";
	for (size_t i = 0; i < DW_COUNT(whole); i++) {
		if (is_or_below(path, whole[i]))
			return "must not be /proc, /sys or /dev, nor below them";
	}
	for (size_t i = 0; i < DW_COUNT(exact); i++) {
		if (strcmp(path, exact[i]) == 0)
			return "must not be a directory of the system: choose one below it, or another";
	}
	return NULL;
}

static int read_mode(const char *mode, size_t i, enum dw_attach_mode *ret, struct dw_err *err)
{
	*ret = DW_ATTACH_COPY;
	if (!mode || strcmp(mode, "copy") == 0)
		return 0;
	*ret = DW_ATTACH_READ_ONLY;
	if (strcmp(mode, "mount-ro") == 0)
		return 0;
	if (strcmp(mode, "mount") == 0)
		return dw_err_set(
			err, DW_ERR_UNPROCESSABLE, "unsupported_option",
			"volumes[%zu].mode \"mount\": this server has no volumes that several sandboxes write; "
			"use \"mount-ro\" to read it live, or \"copy\" to write a copy and commit that",
			i);
	return bad(err, i, "mode", "must be \"copy\" or \"mount-ro\"");
}

static int read_one(const json_t *j, size_t i, struct volume_want *w, struct dw_err *err)
{
	const char *id = NULL, *path = NULL, *mode = NULL, *subpath = NULL;
	if (!json_is_object(j))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "volumes[%zu] must be an object", i);
	if (jsonx_string(j, "volume_id", &id, err) < 0 || jsonx_string(j, "mount_path", &path, err) < 0 ||
	    jsonx_string(j, "mode", &mode, err) < 0 || jsonx_string(j, "subpath", &subpath, err) < 0)
		return dw_err_wrap(err, "volumes[%zu]", i);
	if (!id || !*id || strlen(id) >= sizeof(w->id))
		return bad(err, i, "volume_id", "must be the id of a volume");
	const char *why = path ? refusal(path) : "is missing";
	if (why)
		return bad(err, i, "mount_path", why);
	if (read_mode(mode, i, &w->mode, err) < 0)
		return -1;
	if (subpath && !*subpath)
		subpath = NULL;
	if (subpath && w->mode == DW_ATTACH_COPY)
		return bad(err, i, "subpath", "goes with mode \"mount-ro\" only");
	if (subpath && (strlen(subpath) >= sizeof(w->subpath) || !canonical(subpath)))
		return bad(err, i, "subpath", "must be a relative path without empty, \".\" or \"..\" parts");
	snprintf(w->id, sizeof(w->id), "%s", id);
	snprintf(w->path, sizeof(w->path), "%s", path);
	snprintf(w->subpath, sizeof(w->subpath), "%s", subpath ? subpath : "");
	return 0;
}

static int check_apart(const struct volume_spec *s, size_t i, struct dw_err *err)
{
	for (size_t k = 0; k < i; k++) {
		if (is_or_below(s->want[i].path, s->want[k].path) || is_or_below(s->want[k].path, s->want[i].path))
			return dw_err_set(
				err, DW_ERR_INVALID, "invalid_field",
				"volumes[%zu].mount_path and volumes[%zu].mount_path must not be the same, nor "
				"one below the other",
				k, i);
	}
	return 0;
}

static json_t *echo(const struct volume_want *w)
{
	json_t *j = json_pack("{ss ss ss}", "volume_id", w->id, "mount_path", w->path, "mode",
			      w->mode == DW_ATTACH_COPY ? "copy" : "mount-ro");
	if (j && w->subpath[0] && json_object_set_new(j, "subpath", json_string(w->subpath)) < 0)
		json_decref(DW_TAKE(j));
	return j;
}

int volume_spec_parse(const json_t *volumes, struct volume_spec *ret, json_t **ret_echo, struct dw_err *err)
{
	*ret = (struct volume_spec){ 0 };
	*ret_echo = NULL;
	if (!volumes || json_is_null(volumes))
		return 0;
	if (!json_is_array(volumes))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "volumes must be an array");
	const size_t n = json_array_size(volumes);
	if (n > DW_ATTACH_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "volumes must be at most %d", DW_ATTACH_MAX);
	auto_json json_t *all = json_array();
	for (size_t i = 0; i < n; i++) {
		if (read_one(json_array_get(volumes, i), i, &ret->want[i], err) < 0 || check_apart(ret, i, err) < 0)
			return -1;
		if (json_array_append_new(all, echo(&ret->want[i])) < 0)
			return dw_err_errno(err, ENOMEM, "reading the request");
	}
	ret->n = n;
	*ret_echo = n ? DW_TAKE(all) : NULL;
	return 0;
}
