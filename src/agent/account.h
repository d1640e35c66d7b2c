/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts as the sandbox's own /etc/passwd and /etc/group describe them: no NSS, no numeric ids, nothing cached.
 * The files belong to the sandbox, so they are read strictly and within bounds; a line that is too long or
 * malformed is no account.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "agent/agent.h"
#include "core/rd.h"

#define DW_ACCOUNT_DEFAULT    "user"
#define DW_ACCOUNT_NAME_MAX   255
#define DW_ACCOUNT_GROUPS_MAX 256 /* further ones are left out: fewer rights, never more */

struct dw_account {
	uid_t uid;
	gid_t gid;
	char name[DW_ACCOUNT_NAME_MAX + 1];
	char home[PATH_MAX];                 /* absolute; "/" when the file has none */
	char shell[PATH_MAX];                /* "/bin/sh" when the file has none */
	gid_t groups[DW_ACCOUNT_GROUPS_MAX]; /* the primary one first */
	size_t groups_n;
};

/* 0, or -1 with f. An empty name means DW_ACCOUNT_DEFAULT. */
int DW_MUST_USE dw_account_find(struct dw_span name, struct dw_account *ret, struct dw_fault *f);
/* The same from other files. */
int DW_MUST_USE dw_account_find_in(const char *passwd, const char *group, struct dw_span name, struct dw_account *ret,
				   struct dw_fault *f);

/*
 * The name of an id, from a file of passwd's or group's form: the first line with it counts. False when there is none, or none that
 * is plain text.
 */
bool dw_account_name_in(const char *path, uint32_t id, char ret[static DW_ACCOUNT_NAME_MAX + 1]);

/* Takes the account's identity on for good; nothing of the old one is left. 0, or -1 with f: then exit. */
int DW_MUST_USE dw_account_become(const struct dw_account *a, struct dw_fault *f);
