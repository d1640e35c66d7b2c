/* SPDX-License-Identifier: Apache-2.0 */
/* Times of dw_runtime_create and dw_runtime_destroy. Not a test: prints, judges nothing. Arguments: agent, rounds, gap in ms. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/runtime.h"

static double now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void report(const char *what, double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), compare);
	printf("%s: p50 %.0f us, p90 %.0f us, p99 %.0f us, max %.0f us\n", what, v[n / 2], v[n * 9 / 10],
	       v[n * 99 / 100], v[n - 1]);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int n = atoi(argv[2]), gap_ms = atoi(argv[3]);
	char dir[] = "/tmp/declaw-bench-XXXXXX", command[64];
	if (n <= 0 || !mkdtemp(dir))
		return 2;
	double *create = calloc((size_t)n, sizeof(double)), *destroy = calloc((size_t)n, sizeof(double));
	struct dw_runtime_config c = { .data_dir = dir, .agent_path = argv[1], .max_sandboxes = 64 };
	struct dw_sandbox_spec spec = {
		.root_fd = -1,
		.layer_fd = -1,
		.template_name = "base",
		.hostname = "bench",
		.memory_mb = 512,
		.pids_max = 256,
		.cpu_percent = 100,
		.disk_mb = 512,
	};
	struct dw_runtime *rt = NULL;
	struct dw_err err;
	if (!create || !destroy || dw_runtime_start(&c, &rt, &err) < 0 || dw_runtime_fill(rt, &err) < 0) {
		fprintf(stderr, "%s\n", rt ? "fill" : err.message);
		return 1;
	}
	usleep(300000);
	for (int i = 0; i < n; i++) {
		struct dw_sandbox_handle h;
		double t = now_us();
		if (dw_runtime_create(rt, &spec, &h, &err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			dw_runtime_stop(rt);
			return 1;
		}
		create[i] = now_us() - t;
		t = now_us();
		dw_runtime_destroy(rt, h.slot, NULL);
		destroy[i] = now_us() - t;
		close(h.agent_fd);
		usleep((useconds_t)gap_ms * 1000);
	}
	printf("%d rounds, gap %d ms\n", n, gap_ms);
	report("create ", create, n);
	report("destroy", destroy, n);
	double t = now_us();
	dw_runtime_stop(rt);
	printf("stop: %.1f ms\n", (now_us() - t) / 1e3);
	free(create);
	free(destroy);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) == 0 ? 0 : 1;
}
