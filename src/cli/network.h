/* SPDX-License-Identifier: Apache-2.0 */
/* The network commands that have a file of their own. */
#pragma once

/* network_log.c */
int network_log(int argc, char *const *argv);
