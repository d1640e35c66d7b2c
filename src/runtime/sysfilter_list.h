/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names, NULL at the end. clone, socket, personality and ioctl's exceptions are in sysfilter.c. */
extern const char *const dw_seccomp_allowed[];
extern const char *const dw_seccomp_refused[];
extern const char *const dw_seccomp_builder[];
