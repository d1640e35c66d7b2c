/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/build_spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/create_spec.h"

#define DEFAULT_BASE_IMAGE "ubuntu:22.04" /* as published clients have it */
#define DEFAULT_SUITE      "bookworm"
#define MIRROR_MAX         512

void build_spec_done(struct build_spec *s)
{
	free(s->dockerfile);
	free(s->start_cmd);
	free(s->ready_check);
	free(s->packages);
	free(s->mirror);
	json_decref(s->network);
	json_decref(s->envs);
	*s = (struct build_spec){ 0 };
}

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "reading the request");
}

static int read_size(const json_t *obj, const char *key, uint32_t min, uint32_t max, uint32_t *ret, struct dw_err *err)
{
	int64_t v = 0;
	bool present;
	if (jsonx_integer(obj, key, &v, &present, err) < 0)
		return -1;
	if (!present || v == 0) /* clients without optional numbers send 0 */
		return 0;
	if (v < min || v > max)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be between %u and %u on this server",
				  key, min, max);
	*ret = (uint32_t)v;
	return 0;
}

/* What was not asked for takes what is left. */
static int fit_sizes(const struct build_rules *rules, struct build_spec *s, struct dw_err *err)
{
	const uint32_t memory = s->memory_mb, disk = s->disk_mb;
	if (!memory)
		s->memory_mb = DW_MIN(DAEMON_SANDBOX_MEMORY_MB, disk ? rules->mb_max - disk : rules->mb_max / 2);
	if (!disk)
		s->disk_mb = DW_MIN(DAEMON_SANDBOX_DISK_MB, rules->mb_max - s->memory_mb);
	if ((uint64_t)s->memory_mb + s->disk_mb <= rules->mb_max)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
			  "memory_mb and disk_mb must be at most %u together on this server: the disk is in memory too",
			  rules->mb_max);
}

int build_spec_common(const json_t *obj, const struct build_rules *rules, struct build_spec *s, struct dw_err *err)
{
	const char *alias = "";
	if (jsonx_string(obj, "alias", &alias, err) < 0 || (*alias && template_check_alias(alias, err) < 0))
		return -1;
	snprintf(s->alias, sizeof(s->alias), "%s", alias);
	s->vcpus = DW_MIN(DAEMON_SANDBOX_VCPUS, rules->vcpus_max);
	if (read_size(obj, "cpu_count", 1, rules->vcpus_max, &s->vcpus, err) < 0 ||
	    read_size(obj, "memory_mb", DAEMON_TEMPLATE_MEMORY_MIN, rules->memory_mb_max, &s->memory_mb, err) < 0 ||
	    read_size(obj, "disk_mb", DAEMON_TEMPLATE_DISK_MIN, rules->disk_mb_max, &s->disk_mb, err) < 0)
		return -1;
	return fit_sizes(rules, s, err);
}

static int read_network(const json_t *body, struct build_spec *s, struct dw_err *err)
{
	json_t *network = NULL;
	struct network_spec compiled = { .policy_fd = -1 };
	if (jsonx_object(body, "network", &network, err) < 0 ||
	    (network && network_spec_compile(network, false, &compiled, err) < 0))
		return -1;
	network_spec_done(&compiled); /* its sandbox has its own; this was to say what is wrong with it now */
	s->network = network ? json_deep_copy(network) : NULL;
	return network && !s->network ? no_memory(err) : 0;
}

static int read_shell_line(const json_t *obj, const char *key, char **ret, struct dw_err *err)
{
	const char *text = NULL;
	if (jsonx_string(obj, key, &text, err) < 0)
		return -1;
	if (!text || !*text)
		return 0;
	if (strlen(text) > DAEMON_START_CMD_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must have at most %u bytes", key,
				  DAEMON_START_CMD_MAX);
	*ret = strdup(text);
	return *ret ? 0 : no_memory(err);
}

static int read_start(const json_t *t, struct build_spec *s, struct dw_err *err)
{
	if (read_shell_line(t, "start_cmd", &s->start_cmd, err) < 0 ||
	    read_shell_line(t, "ready_check", &s->ready_check, err) < 0)
		return -1;
	if (s->ready_check && !s->start_cmd)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "ready_check needs a start_cmd");
	return 0;
}

static bool is_given(const json_t *t, const char *key)
{
	const json_t *v = json_object_get(t, key);
	return v && !json_is_null(v) && !(json_is_array(v) && !json_array_size(v)) &&
	       !(json_is_object(v) && !json_object_size(v)) && !(json_is_string(v) && !json_string_length(v));
}

/* A text of the client's own: everything else would have to be in it. */
static int read_dockerfile(const json_t *t, const char *text, size_t n, struct build_spec *s, struct dw_err *err)
{
	static const char *const alone[] = { "base_image", "run_cmds", "envs", "apt_packages" };
	for (size_t i = 0; i < DW_COUNT(alone); i++)
		if (is_given(t, alone[i]))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "%s: a dockerfile stands alone, so this has to be in it", alone[i]);
	if (dockerfile_scan(text, n, &s->bases, err) < 0)
		return -1;
	s->dockerfile = strndup(text, n);
	return s->dockerfile ? 0 : no_memory(err);
}

/* By its id, which, unlike an alias, is always a good name for an image. */
static int find_base(const struct build_rules *rules, const char **image,
		     char buf[static sizeof(DOCKERFILE_LOCAL) + TEMPLATE_ID_SIZE], struct dw_err *err)
{
	char id[TEMPLATE_ID_SIZE];
	if (rules->is_template && rules->is_template(rules->arg, *image, id)) {
		snprintf(buf, sizeof(DOCKERFILE_LOCAL) + TEMPLATE_ID_SIZE, DOCKERFILE_LOCAL "%s", id);
		*image = buf;
		return 0;
	}
	if (strcmp(*image, "base") != 0)
		return 0;
	return dw_err_set(
		err, DW_ERR_INVALID, "invalid_field",
		"base_image: \"base\" is the server's own /usr and no image: name one of a registry, or a template "
		"that was built or imported");
}

static int read_steps(const json_t *t, const struct build_rules *rules, struct build_spec *s, struct dw_err *err)
{
	struct dockerfile_fields f = { .base_image = DEFAULT_BASE_IMAGE };
	char local[sizeof(DOCKERFILE_LOCAL) + TEMPLATE_ID_SIZE];
	json_t *run = NULL, *apt = NULL, *envs = NULL;
	if (jsonx_string(t, "base_image", &f.base_image, err) < 0 || jsonx_array(t, "run_cmds", &run, err) < 0 ||
	    jsonx_array(t, "apt_packages", &apt, err) < 0 || create_spec_envs(t, &envs, err) < 0)
		return -1;
	f.run_cmds = run;
	f.apt_packages = apt;
	f.envs = envs;
	if (find_base(rules, &f.base_image, local, err) < 0 || dockerfile_write(&f, &s->dockerfile, err) < 0 ||
	    dockerfile_scan(s->dockerfile, strcspn(s->dockerfile, "\n"), &s->bases, err) < 0)
		return -1;
	s->envs = envs ? json_deep_copy(envs) : NULL;
	return envs && !s->envs ? no_memory(err) : 0;
}

static int read_template(const json_t *t, const struct build_rules *rules, struct build_spec *s, struct dw_err *err)
{
	const json_t *text = json_object_get(t, "dockerfile");
	if (is_given(t, "copies"))
		return dw_err_set(
			err, DW_ERR_INVALID, "unsupported_option",
			"copies: no client uploads the files that are named here; build without them and write them "
			"into a sandbox, or import an image that has them");
	if (read_start(t, s, err) < 0)
		return -1;
	if (text && !json_is_null(text) && !json_is_string(text))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "dockerfile must be a string");
	if (json_string_length(text))
		return read_dockerfile(t, json_string_value(text), json_string_length(text), s, err);
	return read_steps(t, rules, s, err);
}

int build_spec_parse(const json_t *body, const struct build_rules *rules, struct build_spec *ret, bool *ret_background,
		     struct dw_err *err)
{
	json_t *wrapped = NULL;
	*ret = (struct build_spec){ .kind = BUILD_DOCKERFILE };
	*ret_background = false;
	if (jsonx_object(body, "template", &wrapped, err) == 0 &&
	    jsonx_bool(body, "background", ret_background, err) == 0 && build_spec_common(body, rules, ret, err) == 0 &&
	    read_network(body, ret, err) == 0 && read_template(wrapped ? wrapped : body, rules, ret, err) == 0)
		return 0;
	build_spec_done(ret);
	return -1;
}

static int read_suite(const json_t *body, struct build_spec *s, struct dw_err *err)
{
	const char *suite = DEFAULT_SUITE, *mirror = NULL;
	if (jsonx_string(body, "suite", &suite, err) < 0 || jsonx_string(body, "mirror", &mirror, err) < 0)
		return -1;
	const size_t n = strlen(suite);
	if (!n || n >= sizeof(s->suite) || strspn(suite, "abcdefghijklmnopqrstuvwxyz0123456789.-") != n ||
	    *suite == '-')
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "suite must be the name of a Debian release");
	snprintf(s->suite, sizeof(s->suite), "%s", suite);
	if (!mirror || !*mirror)
		return 0;
	if ((strncmp(mirror, "http://", 7) != 0 && strncmp(mirror, "https://", 8) != 0) ||
	    strlen(mirror) > MIRROR_MAX ||
	    strspn(mirror, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_~:/%+@[]") !=
		    strlen(mirror))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "mirror must be an http or https URL of at most %d bytes", MIRROR_MAX);
	s->mirror = strdup(mirror);
	return s->mirror ? 0 : no_memory(err);
}

static int read_packages(const json_t *body, struct build_spec *s, struct dw_err *err)
{
	json_t *packages = NULL;
	size_t n = 0;
	if (jsonx_array(body, "packages", &packages, err) < 0)
		return -1;
	const size_t count = json_array_size(packages);
	if (!count)
		return 0;
	if (count > DAEMON_APT_PACKAGES)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "packages must have at most %u items",
				  DAEMON_APT_PACKAGES);
	FILE *f = open_memstream(&s->packages, &n);
	if (!f)
		return no_memory(err);
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		const char *name = jsonx_plain_string(json_array_get(packages, i));
		if (name && dockerfile_package_ok(name))
			fprintf(f, "%s%s", i ? "," : "", name);
		else
			r = dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				       "packages[%zu] must be the name of a Debian package", i);
	}
	return fclose(f) == 0 ? r : no_memory(err);
}

int build_spec_parse_debian(const json_t *body, const struct build_rules *rules, struct build_spec *ret,
			    bool *ret_background, struct dw_err *err)
{
	*ret = (struct build_spec){ .kind = BUILD_DEBIAN };
	*ret_background = false;
	if (jsonx_bool(body, "background", ret_background, err) == 0 && build_spec_common(body, rules, ret, err) == 0 &&
	    read_network(body, ret, err) == 0 && read_start(body, ret, err) == 0 && read_suite(body, ret, err) == 0 &&
	    read_packages(body, ret, err) == 0)
		return 0;
	build_spec_done(ret);
	return -1;
}
