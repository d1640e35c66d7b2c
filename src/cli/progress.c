/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/text.h"

#define EVERY_MS   100
#define NAME_SHOWN 30
#define BAR_SHOWN  20

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void progress_init(struct progress *p, bool quiet)
{
	*p = (struct progress){ .on = !quiet && isatty(STDERR_FILENO) };
}

/* The end of a long name says more than its begin; whole characters of it. */
static const char *shown_part(const char *name)
{
	const size_t width = cli_width(name);
	for (size_t over = width > NAME_SHOWN ? width - NAME_SHOWN : 0; over; over--) {
		name++;
		while (((unsigned char)*name & 0xc0) == 0x80)
			name++;
	}
	return name;
}

static void draw(const struct progress *p, int64_t done)
{
	char bar[BAR_SHOWN + 1], size[CLI_SIZE_MAX], speed[CLI_SIZE_MAX];
	const int64_t ms = p->shown_ms - p->begun_ms;
	const int64_t shown = p->total > 0 ? (done < p->total ? done : p->total) : 0;
	const size_t full = p->total > 0 ? (size_t)((double)shown / (double)p->total * BAR_SHOWN) : 0;
	const char *name = shown_part(p->name ? p->name : "");

	memset(bar, '#', full);
	memset(bar + full, '-', BAR_SHOWN - full);
	bar[BAR_SHOWN] = '\0';
	cli_size((uint64_t)done, size);
	cli_size((uint64_t)(ms > 0 ? (double)done * 1000 / (double)ms : 0), speed);
	fprintf(stderr, "\r\033[K%s  ", name);
	if (p->total > 0)
		fprintf(stderr, "[%s] %3d%%  ", bar, (int)((double)shown / (double)p->total * 100));
	fprintf(stderr, "%s  %s/s", size, speed);
}

void progress_begin(struct progress *p, const char *name, int64_t total)
{
	if (!p->on)
		return;
	free(p->name);
	p->name = cli_escape(name, strlen(name));
	p->total = total;
	p->begun_ms = p->shown_ms = now_ms();
	draw(p, 0);
}

void progress_move(struct progress *p, int64_t done)
{
	const int64_t now = p->on ? now_ms() : 0;

	if (!p->on || now - p->shown_ms < EVERY_MS)
		return;
	p->shown_ms = now;
	draw(p, done);
}

void progress_end(struct progress *p)
{
	if (p->on && p->name)
		fputs("\r\033[K", stderr);
	free(p->name);
	p->name = NULL;
}
