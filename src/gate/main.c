/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declaw-gate: start, serve, end.
 *
 * The order of the start is the security argument: what needs privileges (gate_setup) is done before a single byte of
 * anybody else is read, then they are given up for good (gate_confine), and only then come the parts that talk to the
 * world. libunbound's thread is started after that too, so that it inherits the confinement.
 *
 * The end has one form: the loop stops (control socket closed, SIGTERM) and the process exits. The kernel then closes
 * the TUN and the sockets, and nothing leaves any more; there is nothing to undo.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "gate/gate.h"
#include "gate/options.h"

static struct dw_watch signal_watch;

static void on_signal(void *arg, uint32_t events)
{
	struct gate *g = arg;

	g->loop.stop = true;
}

/* SIGTERM and SIGINT end the loop. Blocked before any thread exists, so that none takes them in another way. */
static int take_signals(struct gate *g, struct dw_err *err)
{
	sigset_t set;
	int fd;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return dw_err_errno(err, errno, "setting signals up");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return dw_err_errno(err, errno, "signalfd");
	r = dw_watch_add(&g->loop, &signal_watch, fd, EPOLLIN, on_signal, g);
	if (r < 0)
		return dw_err_errno(err, -r, "watching signals");
	return 0;
}

/* Inherited descriptors are nobody else's. */
static int own_descriptors(const struct gate_config *c, struct dw_err *err)
{
	const int fds[] = { c->gate_netns_fd, c->uplink_netns_fd, c->control_fd };

	for (size_t i = 0; i < DW_COUNT(fds); i++) {
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0)
			return dw_err_errno(err, errno, "descriptor %d", fds[i]);
	}
	return 0;
}

static int init(int r, const char *what, struct dw_err *err)
{
	return r < 0 ? dw_err_errno(err, -r, "%s", what) : 0;
}

/* While root. */
static int start_privileged(struct gate *g, struct dw_err *err)
{
	if (own_descriptors(&g->config, err) < 0 || gate_setup(&g->config, &g->fds, err) < 0)
		return -1;
	/* A namespace descriptor would be a way back; without it there is none, whatever else fails. */
	close(g->config.gate_netns_fd);
	close(g->config.uplink_netns_fd);
	g->config.gate_netns_fd = -1;
	g->config.uplink_netns_fd = -1;
	return gate_confine(err);
}

static int start_serving(struct gate *g, struct dw_err *err)
{
	g->floor.exceptions = g->config.allow_private;
	g->floor.exceptions_n = g->config.allow_private_n;
	if (init(dw_loop_init(&g->loop), "event loop", err) < 0 || take_signals(g, err) < 0)
		return -1;
	if (gate_hostaddr_init(g, err) < 0 || gate_resolver_init(g, err) < 0)
		return -1;
	if (init(gate_sandboxes_init(g), "sandbox table", err) < 0 ||
	    init(gate_records_init(g), "decision records", err) < 0 || init(gate_dns_init(g), "DNS server", err) < 0 ||
	    init(gate_flows_init(g), "flows", err) < 0 || init(gate_udp_init(g), "UDP flows", err) < 0)
		return -1;
	return gate_control_init(g, err);
}

static int fail(const struct dw_err *err)
{
	fprintf(stderr, "declaw-gate: %s\n", err->message);
	return GATE_EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static struct gate g;
	struct dw_err err = { 0 };
	int r;

	switch (gate_options_parse(argc, argv, &g.config, &err)) {
	case GATE_OPTIONS_RUN:
		break;
	case GATE_OPTIONS_HELP:
		fputs(gate_options_help, stdout);
		return GATE_EXIT_OK;
	case GATE_OPTIONS_VERSION:
		puts("declaw-gate " DECLAW_VERSION);
		return GATE_EXIT_OK;
	case GATE_OPTIONS_BAD:
		fprintf(stderr, "declaw-gate: %s\n", err.message);
		return GATE_EXIT_USAGE;
	}
	if (start_privileged(&g, &err) < 0 || start_serving(&g, &err) < 0)
		return fail(&err);
	r = dw_loop_run(&g.loop);
	if (r < 0) {
		dw_err_errno(&err, -r, "event loop");
		return fail(&err);
	}
	/* Not exit(): libunbound's thread may be at work, and there is nothing to flush. */
	_exit(GATE_EXIT_OK);
}
