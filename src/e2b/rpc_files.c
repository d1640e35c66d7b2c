/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a sandbox's file system: looked at, made, moved, removed. */
#include "e2b/rpc_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"

/* The end of the year 9999: times beyond it have no RFC 3339 form. */
#define ISO_END_US INT64_C(253402300800000000)

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ .p = (const uint8_t *)s, .n = strlen(s) };
}

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "answering for the files");
}

int rpc_path_read(struct http_request *rq, const char *field, struct rpc_path *ret, struct dw_err *err)
{
	const char *path = "";
	if (connect_begin(rq, &ret->call, err) < 0 || message_string(rq->json, field, &path, err) < 0)
		return -1;
	return e2b_path(path, field, ret->text, err);
}

int rpc_files_begin(struct http_request *rq, const struct rpc_path *path, enum dw_agentp_type type,
		    struct dw_agentp_file_request q, struct agent_op *op, struct dw_err *err)
{
	q.user = span_of(path->call.user);
	q.path = span_of(path->text);
	if (agent_op_open(op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	return agent_file_request(op, type, &q, err);
}

/* As programs in Go write it: a letter for the kind, then three for each of owner, group and others. */
static void permissions(const struct dw_agentp_entry *e, char out[static 16])
{
	static const char letters[] = "rwxrwxrwx";
	/* A link's own are all there are. */
	const unsigned mode = e->link ? 0777 : e->mode;
	char *p = out;
	if (e->link)
		*p++ = 'L';
	else if (e->dir)
		*p++ = 'd';
	if (mode & 04000)
		*p++ = 'u';
	if (mode & 02000)
		*p++ = 'g';
	if (mode & 01000)
		*p++ = 't';
	if (p == out)
		*p++ = '-';
	for (unsigned i = 0; i < 9; i++)
		*p++ = mode & 0400 >> i ? letters[i] : '-';
	*p = '\0';
}

static bool add_known(json_t *j, const struct dw_agentp_entry *e)
{
	char text[16], modified[CLOCK_ISO_SIZE];
	permissions(e, text);
	if (json_object_set_new(j, "mode", json_integer(e->mode)) < 0 ||
	    json_object_set_new(j, "permissions", json_string(text)) < 0 ||
	    json_object_set_new(j, "owner", agent_text_json(e->owner)) < 0 ||
	    json_object_set_new(j, "group", agent_text_json(e->group)) < 0)
		return false;
	if (e->modified_us < 0 || e->modified_us >= ISO_END_US)
		return true;
	return json_object_set_new(j, "modifiedTime", json_string(clock_iso(e->modified_us, modified))) == 0;
}

json_t *rpc_entry_json(const struct dw_agentp_entry *e)
{
	char size[24];
	snprintf(size, sizeof(size), "%llu", (unsigned long long)DW_MIN(e->size, (uint64_t)INT64_MAX));
	json_t *j = json_pack("{so so ss ss}", "name", agent_text_json(agent_path_name(e->path)), "path",
			      agent_text_json(e->path), "type", e->dir ? "FILE_TYPE_DIRECTORY" : "FILE_TYPE_FILE",
			      "size", size);
	if (j && ((e->known && !add_known(j, e)) ||
		  (e->link && json_object_set_new(j, "symlinkTarget", agent_text_json(e->target)) < 0)))
		json_decref(DW_TAKE(j));
	return j;
}

/* The one entry of an answer. */
static int read_entry(struct agent_op *op, json_t **ret, uint16_t *number, struct dw_err *err)
{
	struct dw_agentp_entry e;
	const int r = agent_file_entry(op, &e, number, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return agent_op_lost(op, AGENT_LOST, err);
	*ret = rpc_entry_json(&e);
	return *ret ? 0 : no_memory(err);
}

int rpc_files_info(struct http_request *rq, const struct rpc_path *path, json_t **ret, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	uint16_t number = 0;
	if (rpc_files_begin(rq, path, DW_AGENTP_FILE_INFO, (struct dw_agentp_file_request){ 0 }, &op, err) < 0)
		return -1;
	/* Nothing is changed, so nobody else needs it. */
	op.client_fd = http_client_fd(rq);
	if (read_entry(&op, ret, &number, err) == 0)
		return 0;
	if (number == ENOTDIR) {
		err->kind = DW_ERR_NOT_FOUND;
		snprintf(err->code, sizeof(err->code), "not_found");
	}
	return -1;
}

static int reply_entry(struct http_reply *rp, json_t *entry_take, struct dw_err *err)
{
	rp->json = json_pack("{so}", "entry", entry_take);
	return rp->json ? 0 : no_memory(err);
}

int e2b_file_stat(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct rpc_path path;
	json_t *entry = NULL;
	if (rpc_path_read(rq, "path", &path, err) < 0 || rpc_files_info(rq, &path, &entry, err) < 0)
		return -1;
	return reply_entry(rp, entry, err);
}

static int make_dir(struct http_request *rq, const struct rpc_path *path, bool *ret_made, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	if (rpc_files_begin(rq, path, DW_AGENTP_FILE_MKDIR, (struct dw_agentp_file_request){ 0 }, &op, err) < 0)
		return -1;
	if (agent_file_made(&op, ret_made, err) == 0)
		return 0;
	/* Clients take "already exists" for a directory. */
	if (strcmp(err->code, "already_exists") == 0) {
		err->kind = DW_ERR_INVALID;
		snprintf(err->code, sizeof(err->code), "not_a_directory");
	}
	return -1;
}

int e2b_file_make_dir(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct rpc_path path;
	json_t *entry = NULL;
	bool made = false;
	if (rpc_path_read(rq, "path", &path, err) < 0 || make_dir(rq, &path, &made, err) < 0)
		return -1;
	if (!made)
		return dw_err_set(err, DW_ERR_CONFLICT, "already_exists", "the directory \"%.300s\" exists already",
				  path.text);
	if (rpc_files_info(rq, &path, &entry, err) < 0)
		return -1;
	return reply_entry(rp, entry, err);
}

static int rename_once(struct http_request *rq, const struct rpc_path *from, const struct rpc_path *to, json_t **ret,
		       struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	const struct dw_agentp_file_request q = { .to = span_of(to->text) };
	if (rpc_files_begin(rq, from, DW_AGENTP_FILE_RENAME, q, &op, err) < 0)
		return -1;
	return read_entry(&op, ret, NULL, err);
}

/* Makes the directory of path, unless what is missing is not that. */
static int make_parent(struct http_request *rq, const struct rpc_path *path, struct dw_err *err)
{
	struct rpc_path parent = *path;
	char *slash = strrchr(parent.text, '/');
	bool made = false;
	if (!slash || slash == parent.text)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "not_found", "there is no directory for \"%.300s\"",
				  path->text);
	*slash = '\0';
	return make_dir(rq, &parent, &made, err);
}

int e2b_file_move(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct rpc_path from, to;
	json_t *entry = NULL, *source = NULL;
	if (rpc_path_read(rq, "source", &from, err) < 0 || rpc_path_read(rq, "destination", &to, err) < 0)
		return -1;
	if (rename_once(rq, &from, &to, &entry, err) < 0) {
		/* Either the source is not there, or the destination's directory: that is made. */
		if (err->kind != DW_ERR_NOT_FOUND || strcmp(err->code, "not_found") != 0 ||
		    rpc_files_info(rq, &from, &source, err) < 0)
			return -1;
		json_decref(source);
		if (make_parent(rq, &to, err) < 0 || rename_once(rq, &from, &to, &entry, err) < 0)
			return -1;
	}
	return reply_entry(rp, entry, err);
}

int e2b_file_remove(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct rpc_path path;
	auto_agent_op struct agent_op op = { .fd = -1 };
	if (rpc_path_read(rq, "path", &path, err) < 0 ||
	    rpc_files_begin(rq, &path, DW_AGENTP_FILE_REMOVE, (struct dw_agentp_file_request){ 0 }, &op, err) < 0)
		return -1;
	/* What is not there need not be removed. */
	if (agent_file_end(&op, err) < 0 && strcmp(err->code, "not_found") != 0)
		return -1;
	rp->json = json_object();
	return rp->json ? 0 : no_memory(err);
}
