/* SPDX-License-Identifier: Apache-2.0 */
/* declaw template: the commands that make one. */
#pragma once

/* template_build.c */
int template_build(int argc, char *const *argv);
int template_import(int argc, char *const *argv);
int template_debian(int argc, char *const *argv);
