/* SPDX-License-Identifier: Apache-2.0 */
/* What runs in a build's sandbox, as its root. Everything a client chose reaches it as a variable or a file, never as its text. */
#pragma once

#include "daemon/build_spec.h"

/* Makes /build, a file system of DECLAW_DISK_MB, and the configuration of the programs. */
extern const char build_script_setup[];
/* /build/root becomes a link to the finished root directory, /build/config.json the image's configuration. */
extern const char *const build_script_make[];
/* Writes the root as an archive. */
extern const char build_script_pack[];
