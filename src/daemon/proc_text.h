/* SPDX-License-Identifier: Apache-2.0 */
/* A program with its arguments, as text for those who list processes. Pure. */
#pragma once

#include "daemon/agentc.h"

/* As a shell would have to be told; malloc'ed. NULL: no memory. */
char *proc_text_quote(const struct agent_command *c);
/* {"cmd", "args", "cwd" if there is one}; malloc'ed. NULL: no memory. */
char *proc_text_program(const struct agent_command *c);
