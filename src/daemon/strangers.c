/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/strangers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "daemon/bounds.h"
#include "daemon/clock.h"

#define TICK_MS 100

struct stranger {
	struct stranger *older, *newer;
	int64_t since_ms;
	int fd;
	bool listed; /* in the list: neither vouched for nor ended */
};

struct strangers {
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the list is no longer empty, or stop */
	pthread_t thread;
	struct stranger *oldest, *newest;
	unsigned n;
	bool stop;
};

/* The lock is held. */
static void unlist(struct strangers *all, struct stranger *s)
{
	if (!s->listed)
		return;
	*(s->older ? &s->older->newer : &all->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &all->newest) = s->older;
	s->listed = false;
	all->n--;
}

static bool is_due(const struct strangers *all, int64_t now_ms)
{
	const int64_t may_ms = all->n > DAEMON_STRANGERS ? DAEMON_STRANGER_CROWD_MS : DAEMON_STRANGER_MS;
	return all->oldest && now_ms - all->oldest->since_ms >= may_ms;
}

static void *end_them(void *arg)
{
	struct strangers *all = arg;
	pthread_mutex_lock(&all->lock);
	while (!all->stop) {
		if (!all->oldest) {
			pthread_cond_wait(&all->wake, &all->lock);
			continue;
		}
		for (const int64_t now_ms = clock_mono_ms(); is_due(all, now_ms);) {
			/* Its own thread sees the end of file and closes it. */
			shutdown(all->oldest->fd, SHUT_RDWR);
			unlist(all, all->oldest);
		}
		pthread_mutex_unlock(&all->lock);
		nanosleep(&(struct timespec){ .tv_nsec = TICK_MS * 1000000L }, NULL);
		pthread_mutex_lock(&all->lock);
	}
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

struct strangers *strangers_new(void)
{
	struct strangers *all = calloc(1, sizeof(*all));
	if (!all)
		return NULL;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->wake, NULL);
	if (pthread_create(&all->thread, NULL, end_them, all)) {
		free(all);
		return NULL;
	}
	return all;
}

void strangers_free(struct strangers *all)
{
	if (!all)
		return;
	pthread_mutex_lock(&all->lock);
	all->stop = true;
	pthread_cond_signal(&all->wake);
	pthread_mutex_unlock(&all->lock);
	pthread_join(all->thread, NULL);
	pthread_cond_destroy(&all->wake);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

struct stranger *strangers_enter(struct strangers *all, int fd)
{
	struct stranger *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	*s = (struct stranger){ .since_ms = clock_mono_ms(), .fd = fd, .listed = true };
	pthread_mutex_lock(&all->lock);
	s->older = all->newest;
	*(s->older ? &s->older->newer : &all->oldest) = s;
	all->newest = s;
	if (all->n++ == 0)
		pthread_cond_signal(&all->wake);
	pthread_mutex_unlock(&all->lock);
	return s;
}

void strangers_vouch(struct strangers *all, struct stranger *s)
{
	pthread_mutex_lock(&all->lock);
	unlist(all, s);
	pthread_mutex_unlock(&all->lock);
}

bool strangers_has(struct strangers *all, struct stranger *s)
{
	pthread_mutex_lock(&all->lock);
	bool listed = s->listed;
	pthread_mutex_unlock(&all->lock);
	return listed;
}

void strangers_leave(struct strangers *all, struct stranger *s)
{
	strangers_vouch(all, s);
	free(s);
}
