/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/layer.h"

#include <string.h>

bool dw_layer_name_ok(const char *name)
{
	const size_t n = strlen(name), first = strcspn(name, "/");
	if (n > DW_LAYER_PATH_MAX ||
	    !((first == 4 && memcmp(name, "root", 4) == 0) || (first == 3 && memcmp(name, "usr", 3) == 0)))
		return false;
	for (const char *p = name + first; *p;) {
		const size_t part = strcspn(p + 1, "/");
		if (part == 0 || (part == 1 && p[1] == '.') || (part == 2 && p[1] == '.' && p[2] == '.'))
			return false;
		p += 1 + part;
	}
	return true;
}

bool dw_layer_xattr_ok(const char *name)
{
	static const char *const exact[] = { "security.capability", "system.posix_acl_access",
					     "system.posix_acl_default" };
	static const char *const dropped[] = { "user.overlay.origin", "user.overlay.impure", "user.overlay.nlink",
					       "user.overlay.upper", "user.overlay.uuid" };
	for (size_t i = 0; i < DW_COUNT(exact); i++) {
		if (strcmp(name, exact[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < DW_COUNT(dropped); i++) {
		if (strcmp(name, dropped[i]) == 0)
			return false;
	}
	return strncmp(name, "user.", 5) == 0;
}
