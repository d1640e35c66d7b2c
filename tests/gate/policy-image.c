/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles a policy for tests: policy-image [--default-allow] [--allow ENTRY]... [--allow-none] [--deny ENTRY]...
 *                                              [--reject] [--observe] [--allow-ech]
 * The image goes to standard output; an error to standard error, with exit code 1.
 */
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

#define ENTRIES_MAX 1024

int main(int argc, char **argv)
{
	const char *allow[ENTRIES_MAX], *deny[ENTRIES_MAX];
	struct dw_policy_spec spec = { .allow = allow, .deny = deny };
	struct dw_err err = { 0 };
	dw_autofree void *image = NULL;
	size_t n = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--default-allow") == 0) {
			spec.default_allow = true;
		} else if (strcmp(argv[i], "--reject") == 0) {
			spec.reject = true;
		} else if (strcmp(argv[i], "--observe") == 0) {
			spec.observe = true;
		} else if (strcmp(argv[i], "--allow-ech") == 0) {
			spec.allow_ech = true;
		} else if (strcmp(argv[i], "--allow-none") == 0) {
			spec.allow_present = true;
		} else if (strcmp(argv[i], "--allow") == 0 && i + 1 < argc && spec.allow_n < ENTRIES_MAX) {
			spec.allow_present = true;
			allow[spec.allow_n++] = argv[++i];
		} else if (strcmp(argv[i], "--deny") == 0 && i + 1 < argc && spec.deny_n < ENTRIES_MAX) {
			deny[spec.deny_n++] = argv[++i];
		} else {
			fprintf(stderr, "policy-image: what is %s?\n", argv[i]);
			return 1;
		}
	}
	if (dw_policy_compile(&spec, &image, &n, &err) < 0) {
		fprintf(stderr, "policy-image: %s\n", err.message);
		return 1;
	}
	if (fwrite(image, 1, n, stdout) != n || fflush(stdout) != 0) {
		perror("policy-image");
		return 1;
	}
	return 0;
}
