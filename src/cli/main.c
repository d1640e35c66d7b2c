/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static const struct cli_command commands[] = {
	{ "sandbox", cli_sandbox, "sandboxes: make, list, use, end" },
	{ "files", cli_files, "files of sandboxes: copy, show, list, remove" },
	{ "network", cli_network, "what sandboxes may reach, and what they tried" },
	{ "key", cli_key, "API keys: make, list, revoke" },
	{ "policy", cli_policy, "network policies: what one allows and refuses, and why" },
};

int main(int argc, char **argv)
{
	return cli_dispatch("declaw", "The command line of declaw.", commands, DW_COUNT(commands), argc, argv);
}
