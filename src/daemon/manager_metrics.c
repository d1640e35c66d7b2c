/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that asks the keeper, in turn, what each sandbox uses. */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/clock.h"

/* Milliseconds between two samples of a sandbox. Test builds can shorten it. */
static int interval_ms(void)
{
	return (int)clock_bound_ms("DECLAW_TEST_METRICS_MS", DAEMON_METRICS_MS);
}

/* Those that are alive, each with a reference; *ret_n of them. NULL when memory is out. */
static struct sandbox **all_alive(struct manager *m, size_t *ret_n)
{
	size_t n = 0;
	pthread_mutex_lock(&m->lock);
	struct sandbox **all = calloc((size_t)m->alive + 1, sizeof(struct sandbox *));
	for (size_t b = 0; b < MANAGER_BUCKETS && all; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain)
			if (!s->making && s->record.state != RECORD_KILLED && n < m->alive) {
				s->refs++;
				all[n++] = s;
			}
	pthread_mutex_unlock(&m->lock);
	*ret_n = n;
	return all;
}

static void sample(struct sandbox *s)
{
	struct dw_usage usage;
	/* One that has ended meanwhile has no more samples. */
	if (dw_runtime_usage(s->m->config.runtime, s->slot, &usage, NULL) < 0)
		return;
	pthread_mutex_lock(&s->m->lock);
	metrics_add(&s->metrics, &usage, clock_wall_us(), clock_mono_ms());
	pthread_mutex_unlock(&s->m->lock);
}

void *manager_sampler_main(void *arg)
{
	struct manager *m = arg;
	struct pollfd p = { .fd = m->stop_fd, .events = POLLIN };
	for (int r; (r = poll(&p, 1, interval_ms())) <= 0;) {
		size_t n = 0;
		struct sandbox **all = r == 0 ? all_alive(m, &n) : NULL;
		for (size_t i = 0; i < n; i++) {
			sample(all[i]);
			manager_unref(all[i]);
		}
		free(all);
	}
	return NULL;
}

int manager_metrics(struct manager *m, const char *id, struct metrics_sample **ret, size_t *ret_n, struct dw_err *err)
{
	struct sandbox *s;
	struct dw_usage usage;
	if (manager_look(m, id, &s, err) < 0)
		return -1;
	struct metrics_sample *all = calloc(DAEMON_METRICS_SAMPLES + 1, sizeof(*all));
	int r = all ? 0 : dw_err_errno(err, ENOMEM, "reading the metrics");
	if (r == 0)
		r = dw_runtime_usage(m->config.runtime, s->slot, &usage, err);
	if (r < 0 && err->kind == DW_ERR_NOT_FOUND)
		r = sandbox_lost(s, err);
	if (r == 0) {
		pthread_mutex_lock(&m->lock);
		const size_t n = s->metrics.n;
		for (size_t i = 0; i < n; i++)
			all[i] = *metrics_at(&s->metrics, i);
		all[n] = metrics_measure(&s->metrics, &usage, clock_wall_us(), clock_mono_ms());
		pthread_mutex_unlock(&m->lock);
		*ret_n = n + 1;
		*ret = all;
		all = NULL;
	}
	free(all);
	manager_unref(s);
	return r;
}
