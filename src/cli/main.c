/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

/* One that the caller closed would be the next that is opened, a socket perhaps, and get what is written for it. */
static void open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		abort();
	close(fd);
}

static const struct cli_command commands[] = {
	{ "sandbox", cli_sandbox, "sandboxes: make, list, use, end" },
	{ "files", cli_files, "files of sandboxes: copy, show, list, remove" },
	{ "network", cli_network, "what sandboxes may reach, and what they tried" },
	{ "snapshot", cli_snapshot, "snapshots: the files of sandboxes, kept" },
	{ "template", cli_template, "templates: what sandboxes are made from" },
	{ "volume", cli_volume, "volumes: folders that outlive sandboxes" },
	{ "key", cli_key, "API keys: make, list, revoke" },
	{ "policy", cli_policy, "network policies: what one allows and refuses, and why" },
};

int main(int argc, char **argv)
{
	open_standard_files();
	return cli_dispatch("declaw", "The command line of declaw.", commands, DW_COUNT(commands), argc, argv);
}
