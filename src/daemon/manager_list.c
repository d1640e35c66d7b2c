/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <string.h>

/* Sorting by age, ids where that is equal, so that pages do not shift. */
static int by_age(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	if (x->started_us != y->started_us)
		return x->started_us < y->started_us ? -1 : 1;
	return strcmp(x->id, y->id);
}

int manager_alive_each(struct manager *m, void (*visit)(void *arg, const struct record *r), void *arg,
		       struct dw_err *err)
{
	size_t n = 0;
	pthread_mutex_lock(&m->lock);
	struct record *all = calloc((size_t)m->alive + 1, sizeof(*all));
	for (size_t b = 0; b < MANAGER_BUCKETS && all; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain)
			if (!s->making && s->record.state != RECORD_KILLED && n < m->alive)
				record_copy(&all[n++], &s->record);
	pthread_mutex_unlock(&m->lock);
	if (!all)
		return dw_err_errno(err, ENOMEM, "listing sandboxes");
	qsort(all, n, sizeof(*all), by_age);
	for (size_t i = 0; i < n; i++) {
		visit(arg, &all[i]);
		record_done(&all[i]);
	}
	free(all);
	return 0;
}

unsigned manager_alive_count(struct manager *m)
{
	pthread_mutex_lock(&m->lock);
	unsigned n = m->alive;
	pthread_mutex_unlock(&m->lock);
	return n;
}

void manager_counts(struct manager *m, struct manager_counts *ret)
{
	struct manager_counts c = { 0 };
	pthread_mutex_lock(&m->lock);
	c.created = m->created;
	c.ended = m->ended;
	for (size_t b = 0; b < MANAGER_BUCKETS; b++)
		for (const struct sandbox *s = m->bucket[b]; s; s = s->chain) {
			c.running += !s->making && s->record.state == RECORD_RUNNING;
			c.paused += !s->making && s->record.state == RECORD_PAUSED;
		}
	pthread_mutex_unlock(&m->lock);
	*ret = c;
}
