/* SPDX-License-Identifier: Apache-2.0 */
/* POST /templates/import: the archive goes straight into the build's sandbox. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/agentc.h"
#include "daemon/api.h"
#include "daemon/api_templates.h"

struct import {
	struct build *build;
	struct agent_op op;
	bool background, complete;
};

/* The query as the object that the other ways to make a template have. */
static int read_query(const struct http_request *rq, json_t **ret, struct dw_err *err)
{
	static const char *const texts[] = { "alias", "tag" };
	static const char *const numbers[] = { "cpu_count", "memory_mb", "disk_mb" };
	auto_json json_t *obj = json_object();
	for (size_t i = 0; i < DW_COUNT(texts); i++) {
		const char *v = NULL;
		if (http_query(rq, texts[i], &v, err) < 0)
			return -1;
		if (v && json_object_set_new(obj, texts[i], json_string(v)) < 0)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be UTF-8", texts[i]);
	}
	for (size_t i = 0; i < DW_COUNT(numbers); i++) {
		uint64_t v = 0;
		if (http_query_number(rq, numbers[i], UINT32_MAX, false, &v, err) < 0)
			return -1;
		if (v && json_object_set_new(obj, numbers[i], json_integer((json_int_t)v)) < 0)
			return dw_err_errno(err, ENOMEM, "reading the request");
	}
	*ret = DW_TAKE(obj);
	return 0;
}

/* A tag stands in a command line of the build's sandbox, as a variable. */
static int read_tag(const json_t *obj, struct build_spec *spec, struct dw_err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/-";
	const char *tag = "";
	if (jsonx_string(obj, "tag", &tag, err) < 0)
		return -1;
	if (strlen(tag) >= sizeof(spec->tag) || strspn(tag, letters) != strlen(tag) || *tag == '-')
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "tag must be the name of an image in the archive");
	snprintf(spec->tag, sizeof(spec->tag), "%s", tag);
	return 0;
}

static int read_background(const struct http_request *rq, bool *ret, struct dw_err *err)
{
	const char *v = NULL;
	if (http_query(rq, "background", &v, err) < 0)
		return -1;
	*ret = v && strcmp(v, "true") == 0;
	if (!v || *ret || strcmp(v, "false") == 0)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "background must be true or false");
}

static int begin(struct http_request *rq, struct dw_err *err)
{
	auto_build_spec struct build_spec spec = { .kind = BUILD_IMPORT };
	auto_json json_t *obj = NULL;
	struct build_rules rules;
	struct import *im = calloc(1, sizeof(*im));
	if (!im)
		return dw_err_errno(err, ENOMEM, "reading the request");
	im->op.fd = -1;
	rq->stream = im;
	templates_rules(rq->app->templates, &rules);
	if (read_query(rq, &obj, err) < 0 || build_spec_common(obj, &rules, &spec, err) < 0 ||
	    read_tag(obj, &spec, err) < 0 || read_background(rq, &im->background, err) < 0 ||
	    build_new(rq->app->templates, rq->caller.owner, &spec, &im->build, err) < 0 ||
	    build_prepare(im->build, err) < 0)
		return -1;
	if (agent_op_open_build(&im->op, rq->app->manager, build_sandbox(im->build), build_cancel_fd(im->build), err) <
	    0)
		return -1;
	return agent_file_start(&im->op, DW_AGENTP_FILE_WRITE, "root", BUILD_ARCHIVE, err);
}

static int data(struct http_request *rq, const void *p, size_t n, struct dw_err *err)
{
	struct import *im = rq->stream;
	return agent_file_send(&im->op, p, n, err);
}

static void give_up(struct http_request *rq)
{
	struct import *im = rq->stream;
	rq->stream = NULL;
	if (!im)
		return;
	agent_op_close(&im->op);
	if (im->build && !im->complete)
		build_cancel(im->build, "the archive did not arrive whole");
	if (im->build)
		build_unref(im->build);
	free(im);
}

const struct route_stream api_template_import_stream = {
	.begin = begin,
	.data = data,
	.abort = give_up,
};

int api_template_import(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct import *im = rq->stream;
	uint64_t size;
	if (agent_file_finish(&im->op, &size, err) < 0)
		return -1;
	agent_op_close(&im->op);
	if (!size)
		return dw_err_set(err, DW_ERR_INVALID, "bad_archive",
				  "the body is empty: it must be an image's archive");
	im->complete = true;
	return api_build_reply(rq, DW_TAKE(im->build), im->background, rp, err);
}
