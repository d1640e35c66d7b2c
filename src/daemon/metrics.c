/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/bounds.h"

/* Of a shorter time a share says nothing: the last one that was measured is nearer to the truth. */
#define SHARE_MIN_MS 200

void metrics_begin(struct metrics *m, int64_t mono_ms)
{
	m->mono_ms = mono_ms;
}

void metrics_done(struct metrics *m)
{
	free(m->samples);
	*m = (struct metrics){ 0 };
}

const struct metrics_sample *metrics_at(const struct metrics *m, size_t i)
{
	return &m->samples[(m->first + i) % m->cap];
}

static uint32_t kilobytes(uint64_t bytes)
{
	return (uint32_t)DW_MIN(bytes >> 10, (uint64_t)UINT32_MAX);
}

/* least_ms: over a shorter time than this a share says nothing, and the one before stands. */
static struct metrics_sample measure(const struct metrics *m, const struct dw_usage *usage, int64_t wall_us,
				     int64_t mono_ms, int64_t least_ms)
{
	const int64_t ms = mono_ms - m->mono_ms;
	/* Files are in memory, and are counted there too; what both counts saw at different moments must not wrap. */
	const uint64_t memory = usage->memory_bytes - DW_MIN(usage->disk_bytes, usage->memory_bytes);
	struct metrics_sample s = { .at_us = wall_us,
				    .memory_kb = kilobytes(memory),
				    .disk_kb = kilobytes(usage->disk_bytes) };
	if (ms < least_ms && m->n)
		s.cpu_percent = metrics_at(m, m->n - 1)->cpu_percent;
	else if (ms > 0 && usage->cpu_us > m->cpu_us)
		s.cpu_percent = (float)((double)(usage->cpu_us - m->cpu_us) / 10.0 / (double)ms);
	return s;
}

struct metrics_sample metrics_measure(const struct metrics *m, const struct dw_usage *usage, int64_t wall_us,
				      int64_t mono_ms)
{
	return measure(m, usage, wall_us, mono_ms, SHARE_MIN_MS);
}

/* Room for one more, in order from the array's start. False when memory is out. */
static bool grow(struct metrics *m)
{
	if (m->n < m->cap || m->cap == DAEMON_METRICS_SAMPLES)
		return true;
	const size_t cap = m->cap ? DW_MIN(2 * m->cap, (size_t)DAEMON_METRICS_SAMPLES) : 16;
	/* Until it is as large as it gets nothing was overwritten, so first is 0. */
	struct metrics_sample *p = reallocarray(m->samples, cap, sizeof(*p));
	if (!p)
		return false;
	m->samples = p;
	m->cap = cap;
	return true;
}

void metrics_add(struct metrics *m, const struct dw_usage *usage, int64_t wall_us, int64_t mono_ms)
{
	/* Always its own: a share that was taken over from sample to sample would stand for ever. */
	const struct metrics_sample s = measure(m, usage, wall_us, mono_ms, 1);
	if (!grow(m))
		return;
	if (m->n == m->cap)
		m->first = (m->first + 1) % m->cap;
	else
		m->n++;
	m->samples[(m->first + m->n - 1) % m->cap] = s;
	m->cpu_us = usage->cpu_us;
	m->mono_ms = mono_ms;
}
