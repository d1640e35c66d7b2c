/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declaw: the command line program. main.c finds the command; a file per group of commands (policy.c, ...) holds a table of them.
 * A command gets its own words as argv (argv[0] is its name) and returns the exit code.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "core/err.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_NO = 1,    /* it ran, and the answer is no */
	CLI_USAGE = 2, /* wrong words, a bad file: nothing was done and nothing is on standard output */
};

struct cli_command {
	const char *name;
	int (*run)(int argc, char *const *argv);
	const char *summary;
};

/* Runs the command that argv[1] names. prefix: what stands before it on the command line ("declaw policy"). */
int cli_dispatch(const char *prefix, const char *about, const struct cli_command *table, size_t n, int argc,
		 char *const *argv);

struct cli_option {
	const char *name;                                            /* "--policy" */
	const char *arg;                                             /* what its value is called; NULL: a flag */
	int (*set)(void *to, const char *value, struct dw_err *err); /* value is NULL for a flag; -1 with err */
	const char *help;
};

/*
 * Hands every option, and every word that is none, to its setter, in order. "--name VALUE" and "--name=VALUE"; "--" ends
 * the options; "-" is a word. -1 with err that names the word.
 */
int DW_MUST_USE cli_parse(const struct cli_option *table, size_t n, int argc, char *const *argv, void *to,
			  int (*word)(void *to, const char *word, struct dw_err *err), struct dw_err *err);
void cli_print_options(const struct cli_option *table, size_t n);

/* "declaw: <message>" on standard error; returns CLI_USAGE. */
int cli_fail(const struct dw_err *err);
void cli_warn(const char *fmt, ...) DW_PRINTF(1, 2);

/* A whole file, or standard input for "-": malloc'ed with a NUL behind it. max bounds it in bytes. */
int DW_MUST_USE cli_read_file(const char *path, size_t max, char **ret, size_t *ret_n, struct dw_err *err);

/* Text of a user for a message: at most size - 1 bytes, what is not printable ASCII as '?'. Returns buf. */
const char *cli_printable(const char *s, size_t n, char *buf, size_t size);

/* An array that grows by one element of `size` bytes; the new, zeroed element, or NULL without memory. */
void *cli_grow(void **array, size_t *n, size_t size);

/* key.c */
int cli_key(int argc, char *const *argv);
/* files.c */
int cli_files(int argc, char *const *argv);
/* network.c */
int cli_network(int argc, char *const *argv);
/* policy.c */
int cli_policy(int argc, char *const *argv);
/* sandbox.c */
int cli_sandbox(int argc, char *const *argv);
/* snapshot.c */
int cli_snapshot(int argc, char *const *argv);
/* template.c */
int cli_template(int argc, char *const *argv);
/* volume.c */
int cli_volume(int argc, char *const *argv);
