/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new policy for a running sandbox. The store is told first, because a row can be put back while a policy in force can not
 * be taken back; the gate answers when the new policy holds and every live flow has been judged by it.
 */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/log.h"

/* A copy of the parts that clients wrote, with another network. Copies, because a doc may be read by other threads. */
static struct record_doc *doc_with_network(const struct record_doc *old, const json_t *network)
{
	struct record_doc *doc = record_doc_new();
	if (!doc)
		return NULL;
	doc->metadata = json_deep_copy(old->metadata);
	doc->envs = json_deep_copy(old->envs);
	doc->lifecycle = json_deep_copy(old->lifecycle);
	doc->security = json_deep_copy(old->security);
	doc->network = json_deep_copy(network);
	return doc;
}

/* The gate's part; gate_lock is held. A gate that started meanwhile does not have the sandbox yet: attaching it is the update. */
static int put_in_force(struct sandbox *s, int policy_fd, struct dw_err *err)
{
	struct gatectl *g = s->m->config.gate;
	const uint64_t now = gatectl_instance(g);
	if (s->detached)
		return sandbox_lost(s, err);
	if (now && s->attached_in == now)
		return gatectl_update(g, s->record.id, s->generation + 1, policy_fd, err);
	const struct gatectl_attach a = {
		.sandbox = s->record.id,
		.addr4 = s->addr4,
		.addr6 = s->addr6,
		.generation = s->generation + 1,
		.policy_fd = policy_fd,
		.wait_ms = DAEMON_GATE_WAIT_MS,
	};
	return gatectl_attach(g, &a, &s->attached_in, err);
}

static int replace(struct sandbox *s, int *policy_fd, struct record *next, struct dw_err *err)
{
	struct store *store = s->m->config.store;
	if (store_sandbox_network(store, next, err) < 0)
		return -1;
	if (put_in_force(s, *policy_fd, err) < 0) {
		struct dw_err back = { 0 };
		if (store_sandbox_network(store, &s->record, &back) < 0)
			log_event(LOG_LEVEL_WARN, "policy not put back", "id", s->record.id, "error", back.message,
				  NULL);
		return -1;
	}
	close(s->policy_fd);
	s->policy_fd = DW_TAKE_FD(*policy_fd);
	s->generation++;
	return 0;
}

int manager_set_network(struct manager *m, const char *id, const json_t *network, int *policy_fd,
			uint64_t *ret_generation, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_enter(m, id, &s, err) < 0)
		return -1;
	pthread_mutex_lock(&s->gate_lock);
	auto_record struct record next = { 0 };
	pthread_mutex_lock(&m->lock);
	record_copy(&next, &s->record);
	pthread_mutex_unlock(&m->lock);

	struct record_doc *doc = doc_with_network(next.doc, network);
	record_done(&next);
	next.doc = doc;
	int r = doc ? replace(s, policy_fd, &next, err) : dw_err_errno(err, ENOMEM, "changing the policy");
	if (r == 0) {
		pthread_mutex_lock(&m->lock);
		struct record old = s->record;
		s->record.doc = next.doc;
		pthread_mutex_unlock(&m->lock);
		next.doc = NULL;
		record_done(&old);
		*ret_generation = s->generation;
		log_event(LOG_LEVEL_INFO, "policy changed", "id", id, NULL);
	}
	pthread_mutex_unlock(&s->gate_lock);
	manager_leave(s);
	return r;
}
