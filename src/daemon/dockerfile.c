/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/dockerfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define IMAGE_MAX   255
#define PACKAGE_MAX 200
#define RUN_CMD_MAX (32u << 10) /* buildah reads lines of up to 64 KiB, and JSON may double it */
/* `apt-get install` of all packages is one line. */
#define APT_MAX (32u << 10)

static int bad(struct dw_err *err, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_dockerfile", "dockerfile: %s", what);
}

/* The next word of an instruction; a backslash at the end of a line is white space. */
static size_t next_word(const char **at, const char *end)
{
	const char *p = *at;
	for (;;) {
		if (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
			p++;
		else if (p + 1 < end && *p == '\\' && p[1] == '\n')
			p += 2;
		else if (p + 2 < end && *p == '\\' && p[1] == '\r' && p[2] == '\n')
			p += 3;
		else
			break;
	}
	*at = p;
	while (p < end && !strchr(" \t\r\n", *p) && !(*p == '\\' && p + 1 < end && (p[1] == '\n' || p[1] == '\r')))
		p++;
	return (size_t)(p - *at);
}

static bool word_is(const char *p, size_t n, const char *word)
{
	return n == strlen(word) && strncasecmp(p, word, n) == 0;
}

/* NAME, NAME:latest or NAME@... behind localhost/. */
static int take_base(const char *p, size_t n, struct dockerfile_bases *ret, struct dw_err *err)
{
	static const char prefix[] = DOCKERFILE_LOCAL, latest[] = ":latest";
	const size_t skip = sizeof(prefix) - 1, tag = sizeof(latest) - 1;
	char name[TEMPLATE_ALIAS_MAX + 1];
	if (n < skip || strncmp(p, prefix, skip) != 0)
		return 0;
	p += skip;
	n -= skip;
	if (n > tag && memcmp(p + n - tag, latest, tag) == 0)
		n -= tag;
	if (!n || n > TEMPLATE_ALIAS_MAX)
		return bad(err, "behind " DOCKERFILE_LOCAL " must be a template's id or alias");
	snprintf(name, sizeof(name), "%.*s", (int)n, p);
	if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != n)
		return bad(err, "behind " DOCKERFILE_LOCAL " must be a template's id or alias, without a tag");
	for (size_t i = 0; i < ret->n; i++)
		if (strcmp(ret->name[i], name) == 0)
			return 0;
	if (ret->n == DAEMON_BUILD_BASES)
		return bad(err, "it starts from too many templates of this server (8 are possible)");
	snprintf(ret->name[ret->n++], sizeof(name), "%s", name);
	return 0;
}

/* One instruction from its first word to the end of its last line. */
static int scan_words(const char **at, const char *end, bool *from, struct dockerfile_bases *ret, struct dw_err *err)
{
	static const char flag[] = "--from=";
	size_t n = next_word(at, end);
	const bool is_from = word_is(*at, n, "FROM"), is_comment = n && **at == '#';
	bool image = is_from;
	while (*at += n, (n = next_word(at, end)) > 0) {
		const bool option = n > 2 && memcmp(*at, "--", 2) == 0;
		int r = 0;
		if (is_comment)
			continue;
		if (image && !option) {
			*from = true;
			image = false;
			r = take_base(*at, n, ret, err);
		} else if (n > sizeof(flag) - 1 && memcmp(*at, flag, sizeof(flag) - 1) == 0) {
			r = take_base(*at + sizeof(flag) - 1, n - (sizeof(flag) - 1), ret, err);
		}
		if (r < 0)
			return -1;
	}
	return 0;
}

int dockerfile_scan(const char *text, size_t n, struct dockerfile_bases *ret, struct dw_err *err)
{
	const char *at = text, *end = text + n;
	bool from = false;
	*ret = (struct dockerfile_bases){ 0 };
	if (n > DAEMON_DOCKERFILE_MAX)
		return bad(err, "it must not have more than 64 KiB");
	if (memchr(text, '\0', n))
		return bad(err, "it must not hold a NUL character");
	while (at < end) {
		if (scan_words(&at, end, &from, ret, err) < 0)
			return -1;
		if (at < end)
			at++; /* what ended the last word: a line's end, or a character that is no word's */
	}
	return from ? 0 : bad(err, "it needs a FROM line");
}

int dockerfile_check_image(const char *image, struct dw_err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@-";
	const size_t n = strlen(image);
	if (n && n <= IMAGE_MAX && strspn(image, letters) == n && !strchr("._:/@-", image[0]))
		return 0;
	return dw_err_set(
		err, DW_ERR_INVALID, "invalid_field",
		"base_image must be the name of an image, such as docker.io/library/debian:12, or a template's id "
		"or alias");
}

bool dockerfile_package_ok(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-:=~_/*";
	const size_t n = strlen(name);
	return n && n <= PACKAGE_MAX && strspn(name, letters) == n &&
	       strchr("abcdefghijklmnopqrstuvwxyz0123456789", name[0]);
}

/* Between double quotes. */
static void write_quoted(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (strchr("\"\\$", *s))
			fputc('\\', f);
		fputc(*s, f);
	}
	fputc('"', f);
}

static int write_envs(FILE *f, const json_t *envs, struct dw_err *err)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)envs, key, value) /* the macro does not change it */
	{
		const char *text = json_string_value(value);
		if (strpbrk(text, "\r\n"))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "envs: the value of \"%.100s\" must not hold a line break", key);
		fprintf(f, "ENV %s=", key);
		write_quoted(f, text);
		fputc('\n', f);
	}
	return 0;
}

/* In JSON, so that nothing in it is the Dockerfile's. */
static int write_run(FILE *f, const char *line, struct dw_err *err)
{
	auto_json json_t *words = json_pack("[sss]", "/bin/sh", "-c", line);
	dw_autofree char *text = words ? json_dumps(words, JSON_COMPACT) : NULL;
	if (!text)
		return dw_err_errno(err, ENOMEM, "reading the request");
	fprintf(f, "RUN %s\n", text);
	return 0;
}

static int write_packages(FILE *f, const json_t *packages, struct dw_err *err)
{
	char line[APT_MAX + 256];
	size_t n = (size_t)snprintf(line, sizeof(line),
				    "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "
				    "--no-install-recommends");
	const size_t count = json_array_size(packages);
	if (!count)
		return 0;
	if (count > DAEMON_APT_PACKAGES)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "apt_packages must have at most %u items",
				  DAEMON_APT_PACKAGES);
	for (size_t i = 0; i < count; i++) {
		const char *name = jsonx_plain_string(json_array_get(packages, i));
		if (!name || !dockerfile_package_ok(name))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "apt_packages[%zu] must be the name of a Debian package", i);
		if (n + strlen(name) + 1 > APT_MAX)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "apt_packages: the names have more than %u bytes together", APT_MAX);
		n += (size_t)snprintf(line + n, sizeof(line) - n, " %s", name);
	}
	snprintf(line + n, sizeof(line) - n, " && rm -rf /var/lib/apt/lists/*");
	return write_run(f, line, err);
}

static int write_commands(FILE *f, const json_t *commands, struct dw_err *err)
{
	const size_t count = json_array_size(commands);
	if (count > DAEMON_RUN_CMDS)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "run_cmds must have at most %u items",
				  DAEMON_RUN_CMDS);
	for (size_t i = 0; i < count; i++) {
		const char *line = jsonx_plain_string(json_array_get(commands, i));
		if (!line || !*line || strlen(line) > RUN_CMD_MAX)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "run_cmds[%zu] must be a string of 1 to %u bytes", i, RUN_CMD_MAX);
		if (write_run(f, line, err) < 0)
			return -1;
	}
	return 0;
}

int dockerfile_write(const struct dockerfile_fields *fields, char **ret, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	size_t n = 0;
	if (dockerfile_check_image(fields->base_image, err) < 0)
		return -1;
	FILE *f = open_memstream(&text, &n);
	if (!f)
		return dw_err_errno(err, errno, "reading the request");
	fprintf(f, "FROM %s\nUSER root\n", fields->base_image);
	int r = write_envs(f, fields->envs, err);
	if (r == 0)
		r = write_packages(f, fields->apt_packages, err);
	if (r == 0)
		r = write_commands(f, fields->run_cmds, err);
	if (fclose(f) != 0 && r == 0)
		r = dw_err_errno(err, errno, "reading the request");
	if (r == 0)
		*ret = DW_TAKE(text);
	return r;
}
