/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a sandbox, kept; and the claim of an id while a sandbox is made again under it. */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/snapshots.h"

/* The lock is held. What the record says of it, into the row. */
static int describe(const struct sandbox *s, struct snapshot_row *row, struct dw_err *err)
{
	snprintf(row->sandbox, sizeof(row->sandbox), "%s", s->record.id);
	snprintf(row->template_name, sizeof(row->template_name), "%s", s->record.template_name);
	if (!s->record.doc->volumes)
		return 0;
	row->volumes = json_deep_copy(s->record.doc->volumes);
	return row->volumes ? 0 : dw_err_errno(err, ENOMEM, "making the snapshot");
}

/* Within its turn, the lock not held. */
static int pack(struct sandbox *s, bool running, struct snapshot_draft *d, struct dw_err *err)
{
	struct dw_runtime *rt = s->m->config.runtime;
	const int64_t begun = clock_mono_ms();
	uint64_t bytes = 0;
	if (running && manager_freeze(s, err) < 0)
		return -1;
	int r = dw_runtime_pack(rt, s->slot, d->fd, d->max_bytes, &bytes, err);
	if (r < 0 && err->kind == DW_ERR_NOT_FOUND)
		r = manager_keeper_error(s, err);
	struct dw_err later = { 0 };
	if (running && dw_runtime_thaw(rt, s->slot, &later) < 0 && later.kind != DW_ERR_NOT_FOUND)
		log_event(LOG_LEVEL_ERROR, "sandbox does not go on after a snapshot", "id", s->record.id, "error",
			  later.message, NULL);
	d->row.bytes = (int64_t)bytes;
	d->row.pause_ms = running ? clock_mono_ms() - begun : 0;
	return r;
}

static int pack_in_turn(struct sandbox *s, struct snapshot_draft *d, struct dw_err *err)
{
	struct manager *m = s->m;
	bool running = false;
	pthread_mutex_lock(&m->lock);
	int r = manager_take_turn(s, err);
	if (r == 0)
		r = describe(s, &d->row, err);
	if (r == 0) {
		running = s->record.state == RECORD_RUNNING;
		s->pausing = PAUSING_SNAPSHOT;
	}
	pthread_mutex_unlock(&m->lock);
	if (r < 0)
		return -1;
	d->row.created_us = clock_wall_us();
	r = pack(s, running, d, err);
	pthread_mutex_lock(&m->lock);
	manager_end_turn(s);
	pthread_mutex_unlock(&m->lock);
	return r;
}

int manager_snapshot(struct manager *m, struct snapshots *in, const char *id, struct snapshot_row *ret,
		     struct dw_err *err)
{
	struct sandbox *s;
	if (manager_reach(m, id, &s, err) < 0)
		return -1;
	auto_snapshot_draft struct snapshot_draft d = SNAPSHOT_DRAFT_NONE;
	int r = snapshot_draft_begin(in, s->record.owner, &d, err);
	if (r == 0)
		r = pack_in_turn(s, &d, err);
	if (r == 0)
		r = snapshot_draft_finish(&d, err);
	manager_unref(s);
	if (r < 0)
		return -1;
	*ret = d.row;
	d.row.volumes = NULL;
	log_event(LOG_LEVEL_INFO, "snapshot made", "id", ret->id, "sandbox", ret->sandbox, "bytes", LOG_NUM(ret->bytes),
		  NULL);
	return 0;
}

int manager_claim(struct manager *m, const char *id, struct dw_err *err)
{
	char *free_one = NULL;
	int r = 0;
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < MANAGER_CLAIMS; i++) {
		if (!m->claims[i][0])
			free_one = m->claims[i];
		else if (strcmp(m->claims[i], id) == 0)
			r = dw_err_set(err, DW_ERR_CONFLICT, "restore_in_progress", "the sandbox is being restored");
	}
	if (r == 0 && !free_one)
		r = dw_err_set(err, DW_ERR_LIMIT, "too_many_requests", "too many sandboxes are being restored");
	if (r == 0)
		snprintf(free_one, RECORD_ID_SIZE, "%s", id);
	pthread_mutex_unlock(&m->lock);
	return r;
}

void manager_release(struct manager *m, const char *id)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < MANAGER_CLAIMS; i++) {
		if (strcmp(m->claims[i], id) == 0)
			m->claims[i][0] = '\0';
	}
	pthread_mutex_unlock(&m->lock);
}
