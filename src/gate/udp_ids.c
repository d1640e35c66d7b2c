/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IDs that QUIC connections began with lately, over all sandboxes, and which flow each of them belongs to.
 *
 * Many servers find a connection by its ID alone, wherever a packet comes from. Two flows that begin "one" connection with
 * two hellos, both of them allowed, could have its server put a third together from pieces of both. IDs are random (at least
 * 8 bytes: RFC 9000 section 7.2), so no honest client meets another's: the second to use one is refused.
 *
 * An ID is remembered longer than a server waits for the rest of a hello. When a set is full its oldest goes; to push one
 * out takes about as many Initials as all of this table has places, and those are limited (GATE_QUIC_OPEN_PER_SECOND).
 */
#include <string.h>

#include "gate/udp.h"

static uint64_t hash_of(const struct gate *g, struct dw_span dcid)
{
	uint64_t h = g->seed ^ dcid.n;

	for (size_t i = 0; i < dcid.n; i++) {
		const __uint128_t m = (__uint128_t)(h ^ dcid.p[i]) * UINT64_C(0xd6e8feb86659fd93);
		h = (uint64_t)m ^ (uint64_t)(m >> 64) ^ g->seed;
	}
	return h;
}

static struct udp_id *set_of(const struct gate *g, uint64_t hash)
{
	return &g->udp->ids[hash % (UDP_IDS / UDP_IDS_WAYS) * UDP_IDS_WAYS];
}

bool udp_id_claim(struct gate *g, struct dw_span dcid, uint64_t flow)
{
	const uint64_t hash = hash_of(g, dcid), now = g->loop.now_ms;
	struct udp_id *set = set_of(g, hash), *place = set;

	for (size_t i = 0; i < UDP_IDS_WAYS; i++) {
		struct udp_id *e = &set[i];
		if (e->hash == hash && now < e->until_ms && e->flow != flow)
			return false;
		if (e->hash == hash || e->until_ms < place->until_ms)
			place = e;
		if (e->hash == hash)
			break;
	}
	*place = (struct udp_id){ .hash = hash, .flow = flow, .until_ms = now + g->udp->id_ms };
	return true;
}

void udp_id_release(struct gate *g, struct dw_span dcid, uint64_t flow)
{
	const uint64_t hash = hash_of(g, dcid);
	struct udp_id *set = set_of(g, hash);

	for (size_t i = 0; i < UDP_IDS_WAYS; i++) {
		if (set[i].hash == hash && set[i].flow == flow)
			set[i] = (struct udp_id){ 0 };
	}
}
