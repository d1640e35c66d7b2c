/* SPDX-License-Identifier: Apache-2.0 */
/* declaw sandbox exec -i: a command whose standard input is the user's own. */
#pragma once

#include "cli/process.h"

/* The command's exit code, or -1 with err. body: cmd, user, cwd, envs. Whoever stops it ends the command. */
int exec_with_input(struct process *p, const json_t *body, struct dw_err *err);
