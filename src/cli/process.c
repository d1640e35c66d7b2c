/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/process.h"

int process_set_user(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct process *)to)->user, value, err);
}

int process_set_cwd(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct process *)to)->cwd, value, err);
}

int process_set_timeout(void *to, const char *value, struct dw_err *err)
{
	return call_number(value, 1, INT32_MAX, &((struct process *)to)->timeout, err);
}

int process_add_env(void *to, const char *value, struct dw_err *err)
{
	return call_add_pair(&((struct process *)to)->env, value, err);
}

int process_check(void *job, struct dw_err *err)
{
	const struct process *p = job;

	if ((p->user && call_check_utf8("--user", p->user, err) < 0) ||
	    (p->cwd && call_check_utf8("--cwd", p->cwd, err) < 0))
		return -1;
	return call_check_first_id(job, err);
}
