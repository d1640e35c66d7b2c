/* SPDX-License-Identifier: Apache-2.0 */
/* Dockerfiles: what one needs of this server, and one made of the fields of a build request. Pure; buildah is the one who understands them. */
#pragma once

#include "daemon/bounds.h"
#include "daemon/jsonx.h"
#include "daemon/template.h"

/* Templates of this server are images of this registry for the time of a build. */
#define DOCKERFILE_LOCAL "localhost/"

/* The templates that images are taken from. */
struct dockerfile_bases {
	char name[DAEMON_BUILD_BASES][TEMPLATE_ALIAS_MAX + 1]; /* ids or aliases */
	size_t n;
};

/*
 * Looks for FROM and --from= in the text of a client: *ret are the templates among them. INVALID "invalid_dockerfile": too long, a NUL byte,
 * no FROM, a bad name behind localhost/, too many of them.
 */
int DW_MUST_USE dockerfile_scan(const char *text, size_t n, struct dockerfile_bases *ret, struct dw_err *err);

struct dockerfile_fields {
	const char *base_image;
	const json_t *run_cmds, *apt_packages; /* arrays; NULL = none */
	const json_t *envs;                    /* an object, checked by create_spec_envs; NULL = none */
};

/* *ret malloc'ed. INVALID "invalid_field", naming the field. */
int DW_MUST_USE dockerfile_write(const struct dockerfile_fields *f, char **ret, struct dw_err *err);

/* An image's name as clients may write it. INVALID. */
int DW_MUST_USE dockerfile_check_image(const char *image, struct dw_err *err);
/* A package's name, perhaps with an architecture and a version. */
bool dockerfile_package_ok(const char *name);
