/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"

#include <string.h>

#include "runtime/failpoint.h"

const char *const dw_runtime_steps[DW_STEP__COUNT + 1] = {
	[DW_STEP_NONE] = "none",
	[DW_STEP_CGROUP_MAKE] = "cgroup_make",
	[DW_STEP_CLONE] = "clone",
	[DW_STEP_USERNS_MAP] = "userns_map",
	[DW_STEP_LINK] = "link",
	[DW_STEP_GATE_ROUTE] = "gate_route",
	[DW_STEP_CGROUP_LIMIT] = "cgroup_limit",
	[DW_STEP_IDMAP] = "idmap",
	[DW_STEP_LOWER] = "lower",
	[DW_STEP_ATTACH_CLONE] = "attach_clone",
	[DW_STEP_GO] = "go",
	[DW_STEP_READY] = "ready",
	[DW_STEP_CGROUP_JOIN] = "cgroup_join",
	[DW_STEP_TMPFS] = "tmpfs",
	[DW_STEP_DEV] = "dev",
	[DW_STEP_PROC] = "proc",
	[DW_STEP_ADDRESS] = "address",
	[DW_STEP_ROUTE] = "route",
	[DW_STEP_LAYER] = "layer",
	[DW_STEP_OVERLAY] = "overlay",
	[DW_STEP_ATTACH] = "attach",
	[DW_STEP_PIVOT] = "pivot",
	[DW_STEP_CAPS] = "caps",
	[DW_STEP_SECCOMP] = "seccomp",
	[DW_STEP_EXEC] = "exec",
	[DW_STEP_PACK_START] = "pack_start",
	[DW_STEP_PACK] = "pack",
};

/* One label of a host name: letters, digits and inner hyphens. */
static bool label_ok(const char *s)
{
	size_t n = strlen(s);
	if (n == 0 || n > DW_HOSTNAME_MAX || s[0] == '-' || s[n - 1] == '-')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n;
}

static int range_check(const char *what, uint32_t v, uint32_t min, uint32_t max, struct dw_err *err)
{
	if (v >= min && v <= max)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_limit", "%s must be from %u to %u", what, min, max);
}

static bool below(const char *path, const char *dir)
{
	const size_t n = strlen(dir);
	return strncmp(path, dir, n) == 0 && (!path[n] || path[n] == '/');
}

bool dw_attach_path_ok(const char *path)
{
	if (path[0] != '/' || below(path, "/proc") || below(path, "/dev") || below(path, "/sys"))
		return false;
	for (const char *p = path; *p;) {
		const size_t n = strcspn(p + 1, "/");
		if (n == 0 || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.'))
			return false;
		p += 1 + n;
	}
	return true;
}

static int extras_check(const struct dw_extras *x, struct dw_err *err)
{
	if (x->own_root > 1 || x->layer > 1 || x->attach_n > DW_ATTACH_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_spec", "at most %d directories can be attached",
				  DW_ATTACH_MAX);
	for (uint32_t i = 0; i < x->attach_n; i++) {
		const struct dw_attach_rec *a = &x->attach[i];
		if (!memchr(a->path, 0, sizeof(a->path)) || !dw_attach_path_ok(a->path))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_mount_path",
					  "a directory is attached to an absolute path without \".\" and \"..\", "
					  "not in /proc, /dev or /sys, of at most %d bytes",
					  DW_ATTACH_PATH_MAX - 1);
		if (a->mode != DW_ATTACH_READ_ONLY && a->mode != DW_ATTACH_COPY)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_spec", "an unknown way to attach");
	}
	return 0;
}

int dw_spec_check(const struct dw_keeper_req *req, struct dw_err *err)
{
	if (!memchr(req->template_name, 0, sizeof(req->template_name)))
		return dw_err_set(err, DW_ERR_INVALID, "unknown_template", "the template's name is too long");
	if (!memchr(req->hostname, 0, sizeof(req->hostname)) || !label_ok(req->hostname))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_hostname",
				  "the host name is not one label of a host name");
	if (range_check("memory_mb", req->memory_mb, DW_MEMORY_MB_MIN, DW_MEMORY_MB_MAX, err) < 0 ||
	    range_check("pids_max", req->pids_max, DW_PIDS_MIN, DW_PIDS_MAX, err) < 0 ||
	    range_check("cpu_percent", req->cpu_percent, DW_CPU_PERCENT_MIN, DW_CPU_PERCENT_MAX, err) < 0 ||
	    range_check("disk_mb", req->disk_mb, DW_DISK_MB_MIN, DW_DISK_MB_MAX, err) < 0)
		return -1;
	return extras_check(&req->extras, err);
}
