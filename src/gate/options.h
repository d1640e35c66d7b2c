/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of declaw-gate. */
#pragma once

#include "gate/gate.h"

/* Exit codes of the program. */
enum gate_exit {
	GATE_EXIT_OK = 0,     /* --help, --version; the control socket closed or SIGTERM came, after an orderly end */
	GATE_EXIT_FAILED = 1, /* could not start, or could not go on; one line on stderr says why */
	GATE_EXIT_USAGE = 2,  /* the command line is wrong */
};

enum gate_options_result {
	GATE_OPTIONS_BAD = 0, /* err says why */
	GATE_OPTIONS_RUN,
	GATE_OPTIONS_HELP,
	GATE_OPTIONS_VERSION,
};

/* Fills ret on RUN only. Nothing is opened or looked up. */
enum gate_options_result gate_options_parse(int argc, char **argv, struct gate_config *ret, struct dw_err *err);

/* The text of --help. */
extern const char gate_options_help[];
