/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declawd: start, serve, stop.
 *
 * The order of the start matters. The runtime's keeper is forked first, while there is one thread and nothing that it should not
 * inherit; the gate next, because sandboxes are linked into what it sets up; the store before requests; requests
 * last. A stop goes backwards: no new requests, those under way end, records, gate, sandboxes.
 */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "daemon/clock.h"
#include "daemon/http.h"
#include "daemon/log.h"
#include "daemon/place.h"
#include "daemon/tls.h"
#include "daemon/snapshots.h"
#include "daemon/template_find.h"
#include "daemon/volumes.h"
#include "daemon/token.h"
#include "e2b/routes.h"
#include "e2b/watchers.h"

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 2,
};

/* Requests get this part of the grace to end by themselves; then they are cancelled. */
#define FINISH_MS 2000

struct daemon {
	struct app app;
	struct http_server *http;
	int lock_fd, signal_fd;
};

static void on_decision(void *arg, json_t *event, size_t bytes)
{
	struct app *app = arg;
	const json_t *dropped = json_object_get(event, "dropped");
	if (json_integer_value(dropped) > 0)
		log_event(LOG_LEVEL_WARN, "decisions dropped by the gate", "count",
			  LOG_NUM(json_integer_value(dropped)), NULL);
	/* Of an unknown source: nobody's log. */
	if (!json_is_string(json_object_get(event, "sandbox"))) {
		json_decref(event);
		return;
	}
	/* The gate observes a moment before whoever asked it to has its answer. */
	const bool observing = json_object_get(event, "would") ||
			       manager_observes(app->manager, json_string_value(json_object_get(event, "sandbox")));
	store_log_add(app->store, event, bytes, observing);
}

/* It may end before anything else has begun. */
static void on_gate_end(void *arg)
{
	struct app *app = arg;
	if (app && app->store)
		store_log_gate_ended(app->store);
}

static void on_gate_restart(void *arg)
{
	struct app *app = arg;
	atomic_fetch_add(&app->gate_restarts, 1);
	manager_gate_restarted(app->manager);
}

static void raise_event(int fd)
{
	const uint64_t one = 1;
	DW_IGNORE(write(fd, &one, sizeof(one))); /* a counter far from full */
}

static void on_keeper_lost(void *arg)
{
	struct app *app = arg;
	log_event(LOG_LEVEL_ERROR, "the keeper of the sandboxes ended: every sandbox is gone", NULL);
	raise_event(app->fatal_fd);
}

/* Before any thread, so that every thread has them blocked; after the keeper, so that sandboxes do not inherit it. */
static int take_signals(struct daemon *d, struct dw_err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	/* Without a certificate there is nothing to read again, and a terminal that closes ends the daemon as ever. */
	if (d->app.options.tls_cert[0])
		sigaddset(&set, SIGHUP);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return dw_err_errno(err, errno, "setting signals up");
	int e = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (e)
		return dw_err_errno(err, e, "setting signals up");
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	d->app.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->app.fatal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->signal_fd < 0 || d->app.stop_fd < 0 || d->app.fatal_fd < 0)
		return dw_err_errno(err, errno, "setting signals up");
	return 0;
}

static int start_runtime(struct app *app, struct dw_err *err)
{
	char agent[PATH_MAX];
	if (place_program("agent", "declaw-agent", agent, err) < 0)
		return -1;
	const struct dw_runtime_config config = {
		.data_dir = app->options.data_dir,
		.agent_path = agent,
		.pool = DAEMON_POOL,
		.max_sandboxes = DAEMON_SANDBOX_MAX,
		.no_ipv6 = app->options.no_ipv6,
	};
	return dw_runtime_start(&config, &app->runtime, err);
}

static int start_gate(struct app *app, struct dw_err *err)
{
	static char path[PATH_MAX]; /* the supervisor starts it again from there */
	struct gatectl_config config = {
		.path = path,
		.options = &app->options,
		.gate_netns_fd = dw_runtime_gate_netns_fd(app->runtime),
		.on_decision = on_decision,
		.on_end = on_gate_end,
		.on_restart = on_gate_restart,
	};
	if (place_program("gate", "declaw-gate", path, err) < 0 ||
	    place_uplink(&app->options, &config.uplink_netns_fd, err) < 0)
		return -1;
	return gatectl_start(&config, &app->gate, err);
}

static int start_store(struct app *app, struct dw_err *err)
{
	int n = 0;
	if (keys_open(app->options.data_dir, app->file_key, &app->keys, err) < 0 ||
	    store_open(app->options.data_dir, &app->store, err) < 0 ||
	    store_kill_leftovers(app->store, "server restarted", clock_wall_us(), &n, err) < 0)
		return -1;
	if (n)
		log_event(LOG_LEVEL_INFO, "sandboxes of a previous life marked killed", "count", LOG_NUM(n), NULL);
	return 0;
}

static int start_manager(struct app *app, struct dw_err *err)
{
	if (procs_new(&app->procs, err) < 0)
		return -1;
	const struct manager_config config = {
		.procs = app->procs,
		.data_dir = app->options.data_dir,
		.template_mb = template_mb_max(app->options.template_mb),
		.stop_fd = app->stop_fd,
		.runtime = app->runtime,
		.gate = app->gate,
		.store = app->store,
		.limits = app->options.limits,
		.on_keeper_lost = on_keeper_lost,
		.arg = app,
	};
	if (manager_new(&config, &app->manager, err) < 0 || watchers_new(&app->watchers, err) < 0)
		return -1;
	const struct templates_config templates = {
		.manager = app->manager,
		.store = app->store,
		.options = &app->options,
		.unpack_path = app->unpack_path,
	};
	if (templates_new(&templates, &app->templates, err) < 0)
		return -1;
	app->idem = idem_new();
	if (!app->idem)
		return dw_err_errno(err, ENOMEM, "starting");
	return gatectl_supervise(app->gate, app, err);
}

static int start_volumes(struct app *app, struct dw_err *err)
{
	const struct volumes_config config = {
		.data_dir = app->options.data_dir,
		.unpack_path = app->unpack_path,
		.store = app->store,
		.max_bytes = (uint64_t)app->options.volume_mb << 20,
		.stop_fd = app->stop_fd,
	};
	return volumes_open(&config, &app->volumes, err);
}

static int start_snapshots(struct app *app, struct dw_err *err)
{
	const struct snapshots_config config = {
		.data_dir = app->options.data_dir,
		.store = app->store,
		.max_owner = app->options.snapshots,
		.max_bytes = (uint64_t)app->options.snapshot_mb << 20,
	};
	return snapshots_open(&config, &app->snapshots, err);
}

static int start_files(struct daemon *d, struct dw_err *err)
{
	struct app *app = &d->app;
	bool made = false;
	if (app->options.tls_cert[0] && tls_load(app->options.tls_cert, app->options.tls_key, err) < 0)
		return -1;
	if (place_data_dir(app->options.data_dir, &d->lock_fd, err) < 0 ||
	    auth_load(app->options.api_key_file, app->file_key, &made, err) < 0)
		return -1;
	if (made)
		log_event(LOG_LEVEL_INFO, "API key made", "file", app->options.api_key_file, NULL);
	token_init(app);
	place_resolvers(&app->options);
	return place_program("unpack", "declaw-unpack", app->unpack_path, err);
}

static int start(struct daemon *d, struct dw_err *err)
{
	struct app *app = &d->app;
	struct options_endpoint at;
	char text[OPTIONS_ENDPOINT_STRLEN];
	if (start_files(d, err) < 0 || start_runtime(app, err) < 0 || take_signals(d, err) < 0)
		return -1;
	place_raise_limits();
	if (start_gate(app, err) < 0 || dw_runtime_fill(app->runtime, err) < 0 || start_store(app, err) < 0 ||
	    start_volumes(app, err) < 0 || start_snapshots(app, err) < 0 || start_manager(app, err) < 0 ||
	    http_start(app, &d->http, &at, err) < 0)
		return -1;
	printf("declawd: listening on %s://%s\n", app->options.tls_cert[0] ? "https" : "http",
	       options_format_endpoint(&at, text));
	fflush(stdout);
	return 0;
}

static void reload(const struct options *o)
{
	struct dw_err err = { 0 };
	if (tls_load(o->tls_cert, o->tls_key, &err) == 0)
		log_event(LOG_LEVEL_INFO, "certificate read again", "file", o->tls_cert, NULL);
	else
		log_event(LOG_LEVEL_ERROR, "certificate not read again: the earlier one stays", "error", err.message,
			  NULL);
}

/* True: a signal asked for the end; false: the daemon can not go on. */
static bool serve(struct daemon *d)
{
	struct pollfd p[] = {
		{ .fd = d->signal_fd, .events = POLLIN },
		{ .fd = d->app.fatal_fd, .events = POLLIN },
	};
	for (;;) {
		if (poll(p, DW_COUNT(p), -1) < 0)
			continue;
		if (p[1].revents)
			return false;
		struct signalfd_siginfo info;
		if (read(d->signal_fd, &info, sizeof(info)) != sizeof(info) || info.ssi_signo != SIGHUP)
			return true;
		reload(&d->app.options);
	}
}

/* Also after a start that failed half-way. Returns when nothing of the daemon is left. */
static void stop(struct daemon *d)
{
	struct app *app = &d->app;
	if (d->http)
		http_quiesce(d->http, FINISH_MS);
	if (app->stop_fd >= 0)
		raise_event(app->stop_fd);
	if (d->http)
		http_quiesce(d->http, DAEMON_STOP_GRACE_MS - FINISH_MS);
	http_stop(d->http);
	watchers_free(app->watchers);
	templates_stop(app->templates);
	procs_free(app->procs);
	if (app->manager)
		manager_kill_all(app->manager, "server stopped");
	gatectl_stop(app->gate);
	if (app->runtime)
		dw_runtime_stop(app->runtime);
	templates_free(app->templates);
	manager_free(app->manager);
	idem_free(app->idem);
	volumes_close(app->volumes);
	snapshots_close(app->snapshots);
	store_close(app->store);
	keys_close(app->keys);
	tls_done();
}

static const char *environment(const char *name)
{
	return getenv(name);
}

/*
 * A large policy's memory would go back to the kernel with each request and be faulted in by the next one, a tenth of its time;
 * and without bounds glibc moves its own up with whatever was freed, as far as 64 MiB kept for each thread's arena.
 */
static void bound_malloc(void)
{
	mallopt(M_MMAP_THRESHOLD, DAEMON_MALLOC_MAPPED);
	mallopt(M_TRIM_THRESHOLD, DAEMON_MALLOC_KEPT);
}

static const struct route_table *const tables[] = { &e2b_routes, &e2b_signed_routes, &e2b_port_routes, &daemon_routes };
static const struct route_tables all_routes = { .table = tables, .n = DW_COUNT(tables), .choose = e2b_choose };

static void print_routes(void)
{
	const struct route *r;
	for (size_t i = 0; (r = route_at(&all_routes, i)); i++)
		printf("%s %s\n", r->method, r->pattern);
}

int main(int argc, char **argv)
{
	/* Too large for a stack's frame. */
	static struct daemon d = { .lock_fd = -1, .signal_fd = -1, .app = { .stop_fd = -1, .fatal_fd = -1 } };
	struct dw_err err = { 0 };
	d.app.routes = all_routes;
	bound_malloc();
	switch (options_parse(&d.app.options, argc, argv, environment, &err)) {
	case OPTIONS_RUN:
		break;
	case OPTIONS_HELP:
		options_print_help();
		return EXIT_CODE_OK;
	case OPTIONS_VERSION:
		puts("declawd " DECLAW_VERSION);
		return EXIT_CODE_OK;
	case OPTIONS_ROUTES:
		print_routes();
		return EXIT_CODE_OK;
	case OPTIONS_BAD:
		fprintf(stderr, "declawd: %s\n", err.message);
		return EXIT_CODE_USAGE;
	}
	bool ok = start(&d, &err) == 0;
	if (!ok)
		fprintf(stderr, "declawd: %s\n", err.message);
	ok = ok && serve(&d);
	if (ok)
		log_event(LOG_LEVEL_INFO, "stopping", NULL);
	stop(&d);
	return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}
