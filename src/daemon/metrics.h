/* SPDX-License-Identifier: Apache-2.0 */
/* What one sandbox used over its last hour: a ring of samples, whose numbers the host has counted. Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/macros.h"
#include "runtime/runtime.h"

struct metrics_sample {
	int64_t at_us;      /* wall clock */
	float cpu_percent;  /* of one core, since the sample before: 200 is two cores */
	uint32_t memory_kb; /* without the files */
	uint32_t disk_kb;
};

/* Zero is an empty one; metrics_done frees what it holds. */
struct metrics {
	struct metrics_sample *samples;
	size_t cap, n, first;
	uint64_t cpu_us; /* at the last sample that was added, and when that was */
	int64_t mono_ms;
};

/* Its time begins: what the first sample is measured from. */
void metrics_begin(struct metrics *m, int64_t mono_ms);
void metrics_done(struct metrics *m);

/* The sample that usage makes at this moment. Its CPU share is of the time since the last one was added, so that should be a while ago. */
struct metrics_sample metrics_measure(const struct metrics *m, const struct dw_usage *usage, int64_t wall_us,
				      int64_t mono_ms);
/* Measures and adds, in the place of the oldest when DAEMON_METRICS_SAMPLES are there. When memory is out it is left out. */
void metrics_add(struct metrics *m, const struct dw_usage *usage, int64_t wall_us, int64_t mono_ms);
/* The i-th, oldest first, of n. */
const struct metrics_sample *metrics_at(const struct metrics *m, size_t i);
