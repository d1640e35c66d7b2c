/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Removes dir_fd/name with everything below it; follows no link and crosses no mount. Missing is fine; best effort. */
void dw_remove_tree(int dir_fd, const char *name);
