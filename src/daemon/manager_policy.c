/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new policy for a running sandbox. The store is told first, because a row can be put back while a policy in force can not
 * be taken back; the gate answers when the new policy holds and every live flow has been judged by it.
 */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/log.h"

/* A copy of the parts that clients wrote, with another network (taken). Copies, because a doc may be read by other threads. */
static struct record_doc *doc_with_network(const struct record_doc *old, json_t *network_take)
{
	struct record_doc *doc = record_doc_copy(old);
	if (!doc) {
		json_decref(network_take);
		return NULL;
	}
	json_decref(doc->network);
	doc->network = network_take;
	return doc;
}

/* The gate's part; gate_lock is held. A gate that started meanwhile does not have the sandbox yet: attaching it is the update. */
static int put_in_force(struct sandbox *s, const struct network_spec *network, struct dw_err *err)
{
	struct gatectl *g = s->m->config.gate;
	const uint64_t now = gatectl_instance(g);
	struct gatectl_attach a = manager_attachment(s, network);
	a.generation = s->record.generation + 1;
	a.wait_ms = DAEMON_GATE_WAIT_MS;
	if (now && s->attached_in == now) {
		int r = gatectl_update(g, &a, err);
		if (r == 0 || err->kind != DW_ERR_NOT_FOUND)
			return r;
		/* The gate that was asked is the next one. */
	}
	int r = gatectl_attach(g, &a, &s->attached_in, err);
	/* The instance was asked, and does not have it. */
	if (r < 0)
		s->attached_in = 0;
	return r;
}

/* Everything that is decided; gate_lock is held. */
struct next {
	json_t *network;
	struct network_spec spec;
	char *text; /* of network */
};

static void next_done(struct next *n)
{
	json_decref(n->network);
	network_spec_done(&n->spec);
	free(n->text);
}

static int prepare(struct sandbox *s, const struct manager_change *c, struct next *n, struct dw_err *err)
{
	if (c->generation && c->generation != s->record.generation)
		return dw_err_set(err, DW_ERR_CONFLICT, "generation_conflict",
				  "the network's generation is %llu, not %llu: somebody else has changed it",
				  (unsigned long long)s->record.generation, (unsigned long long)c->generation);
	/* Only changes replace the doc, and gate_lock keeps other changes out. */
	if (c->make(c->arg, s->record.doc->network, &n->network, &n->text, &n->spec, err) < 0)
		return -1;
	if (!n->text)
		n->text = json_dumps(n->network, JSON_COMPACT | JSON_ENCODE_ANY);
	return n->text ? 0 : dw_err_errno(err, ENOMEM, "changing the policy");
}

/* Told to the store, then to the gate. */
static int replace(struct sandbox *s, const struct next *n, struct dw_err *err)
{
	struct store *store = s->m->config.store;
	const uint64_t generation = s->record.generation;
	if (store_sandbox_network(store, s->record.id, n->text, generation + 1, err) < 0)
		return -1;
	if (put_in_force(s, &n->spec, err) == 0)
		return 0;
	struct dw_err back = { 0 };
	dw_autofree char *old = json_dumps(s->record.doc->network, JSON_COMPACT | JSON_ENCODE_ANY);
	if (store_sandbox_network(store, s->record.id, old ? old : "null", generation, &back) < 0)
		log_event(LOG_LEVEL_WARN, "policy not put back", "id", s->record.id, "error", back.message, NULL);
	return -1;
}

/* What nobody reads any more: up to a million bytes in ten thousand pieces, and the gate's image. */
struct manager_old {
	struct store *store;
	struct record record;
	struct network_spec network;
};

void manager_old_free(void *arg)
{
	struct manager_old *old = arg;
	if (!old)
		return;
	record_done(&old->record);
	network_spec_done(&old->network);
	store_settle(old->store);
	free(old);
}

/* It holds: from here on it is what everybody reads. */
static void enter(struct sandbox *s, struct record_doc *doc, struct next *n, struct manager_old *ret_old)
{
	struct manager *m = s->m;
	pthread_mutex_lock(&m->lock);
	*ret_old = (struct manager_old){ .store = m->config.store, .record = s->record, .network = s->network };
	s->record.doc = doc;
	s->record.generation++;
	s->network = n->spec;
	n->spec.policy_fd = -1;
	pthread_mutex_unlock(&m->lock);
}

static int change_locked(struct sandbox *s, const struct manager_change *c, struct manager_changed *ret,
			 struct dw_err *err)
{
	__attribute__((cleanup(next_done))) struct next n = { .spec = { .policy_fd = -1 } };
	dw_autofree struct manager_old *old = malloc(sizeof(*old));
	if (!old)
		return dw_err_errno(err, ENOMEM, "changing the policy");
	/* Its end may have come while this change waited for its turn. */
	if (s->detached)
		return sandbox_lost(s, err);
	if (prepare(s, c, &n, err) < 0)
		return -1;
	struct record_doc *doc = doc_with_network(s->record.doc, DW_TAKE(n.network));
	if (!doc)
		return dw_err_errno(err, ENOMEM, "changing the policy");
	if (replace(s, &n, err) < 0) {
		record_done(&(struct record){ .doc = doc });
		return -1;
	}
	enter(s, doc, &n, old);
	*ret = (struct manager_changed){ DW_TAKE(n.text), s->record.generation, DW_TAKE(old) };
	return 0;
}

int manager_change_network(struct manager *m, const char *id, const struct manager_change *change,
			   struct manager_changed *ret, struct dw_err *err)
{
	struct sandbox *s;
	/* No operation in the sandbox: a change must not wait for those, least of all one that takes rights away. */
	if (manager_look(m, id, &s, err) < 0)
		return -1;
	pthread_mutex_lock(&s->gate_lock);
	int r = change_locked(s, change, ret, err);
	if (r == 0)
		log_event(LOG_LEVEL_INFO, "policy changed", "id", id, NULL);
	pthread_mutex_unlock(&s->gate_lock);
	manager_unref(s);
	return r;
}
