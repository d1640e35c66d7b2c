/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static const struct cli_command commands[] = {
	{ "policy", cli_policy, "network policies: what one allows and refuses, and why" },
};

int main(int argc, char **argv)
{
	return cli_dispatch("declaw", "The command line of declaw.", commands, DW_COUNT(commands), argc, argv);
}
