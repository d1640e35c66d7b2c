/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates and the builds that make them. A build runs what clients wrote, and whatever images hold, so all of it happens in a sandbox
 * of its own, under a network policy like any other; what comes out of it is an archive, which declaw-unpack unpacks confined. A
 * template is visible as `building` from the start, and usable when all of it is in its place.
 */
#pragma once

#include "daemon/build_spec.h"
#include "daemon/manager.h"
#include "daemon/options.h"
#include "daemon/store_templates.h"

struct templates;
struct build; /* reference counted */

struct templates_config {
	struct manager *manager;
	struct store *store;
	const struct options *options;
	const char *unpack_path; /* the program declaw-unpack */
};

/* Removes what a previous life left half done. */
int DW_MUST_USE templates_new(const struct templates_config *config, struct templates **ret, struct dw_err *err);
/* Ends all builds, and waits for that. */
void templates_stop(struct templates *t);
void templates_free(struct templates *t);

/* The most that a template's sandboxes may have on this machine. */
void templates_rules(const struct templates *t, struct build_rules *ret);

/*
 * Takes spec. The build exists from here on, and does nothing yet: build_launch or build_cancel comes next. LIMIT "too_many_builds",
 * "too_many_templates"; NOT_FOUND "unknown_template", CONFLICT "template_not_ready" (one that it starts from); UNPROCESSABLE
 * "package_missing".
 */
int DW_MUST_USE build_new(struct templates *t, const char *owner, struct build_spec *spec, struct build **ret,
			  struct dw_err *err);
/* Makes its sandbox now, so that an archive can be written into it: at BUILD_ARCHIVE. Fails the build on an error. */
#define BUILD_ARCHIVE "/build/archive"
int DW_MUST_USE build_prepare(struct build *b, struct dw_err *err);
/* Runs it in a thread. Fails the build on an error. */
int DW_MUST_USE build_launch(struct build *b, struct dw_err *err);
/* Ends it soon, as failed with this reason; fine when it has ended. */
void build_cancel(struct build *b, const char *reason);
void build_unref(struct build *b);
DW_DEFINE_CLEANUP(struct build *, build_unref)

/* A reference to a build of owner that has not ended; NULL. */
struct build *build_find(struct templates *t, const char *owner, const char *id);
/* Its id and its sandbox's; they do not change once they are set. */
const char *build_id(const struct build *b);
const char *build_sandbox(const struct build *b);
/* Readable when it has ended. Borrowed. */
int build_ended_fd(const struct build *b);
/* Readable when it is to end. Borrowed. */
int build_cancel_fd(const struct build *b);
/* As it is now, with the lines from number since on. -1 when memory is out. */
int DW_MUST_USE build_look(struct build *b, uint64_t since, struct build_record *ret, struct dw_err *err);

/* NOT_FOUND; CONFLICT "template_in_use", "template_building"; FORBIDDEN "template_builtin". */
int DW_MUST_USE templates_delete(struct templates *t, const char *owner, const char *name, struct dw_err *err);
