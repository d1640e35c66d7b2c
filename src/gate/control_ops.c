/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon can ask: fields are read strictly, then one function per operation. The daemon is trusted to say
 * which policy is in force, but not to be free of bugs: everything it sends is checked here as if it were not (this
 * process is what stands between a sandbox and the network).
 */
#include "gate/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/netplan.h"
#include "gate/flow.h"
#include "gate/sandbox.h"
#include "gate/udp.h"
#include "proto/gatep.h"

/* Addresses of the machine shown by "status"; the answer must fit one datagram. */
#define STATUS_HOSTS_MAX 256u
#define NUMBER_MAX       ((json_int_t)1 << 53) /* larger integers do not survive every JSON reader */

/* Reading of fields. */

static int bad_request(struct dw_err *err, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "bad_request", "%s", what);
}

static bool number_of(const json_t *root, const char *key, json_int_t *ret)
{
	const json_t *v = json_object_get(root, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > NUMBER_MAX)
		return false;
	*ret = json_integer_value(v);
	return true;
}

static const char *id_of(const struct gate_request *rq, struct dw_err *err)
{
	const json_t *v = json_object_get(rq->root, "sandbox");
	const char *s = json_string_value(v);
	size_t n = s ? json_string_length(v) : 0;

	for (size_t i = 0; i < n; i++) {
		char ch = s[i];
		bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
			  ch == '-' || ch == '_';

		if (!ok)
			n = 0;
	}
	if (n == 0 || n > 64) {
		bad_request(err, "\"sandbox\" is not an id: 1 to 64 letters, digits, '-' and '_'");
		return NULL;
	}
	return s;
}

static uint32_t low32(const struct dw_addr *a)
{
	const uint8_t *b = a->family == DW_AF_4 ? a->b : a->b + 12;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The only addresses a sandbox can have are those of a slot; its IPv6 address repeats the slot. */
static int addrs_of(const struct gate_request *rq, struct dw_addr *addr4, struct dw_addr *addr6, struct dw_err *err)
{
	const json_t *v4 = json_object_get(rq->root, "addr4");
	const json_t *v6 = json_object_get(rq->root, "addr6");
	struct dw_addr want;
	uint32_t slot;

	if (!json_is_string(v4) || !dw_addr_parse(json_string_value(v4), json_string_length(v4), addr4) ||
	    addr4->family != DW_AF_4)
		return bad_request(err, "\"addr4\" is not an IPv4 address");
	slot = low32(addr4) - DW_NET4_FIRST - 255; /* wraps below the range, which the limit then catches */
	if (slot < 1 || slot > DW_SLOT_MAX)
		return bad_request(err, "\"addr4\" is not the address of a slot");
	*addr6 = (struct dw_addr){ 0 };
	if (!v6 || json_is_null(v6))
		return 0; /* a machine without IPv6 */
	if (!json_is_string(v6) || !dw_addr_parse(json_string_value(v6), json_string_length(v6), addr6))
		return bad_request(err, "\"addr6\" is not an IPv6 address");
	want = dw_slot_addr6(slot);
	if (!dw_addr_eq(addr6, &want))
		return bad_request(err, "\"addr6\" is not that of the same slot as \"addr4\"");
	return 0;
}

/* Any number that the member can hold: dw_limits_fill makes one within its range of it. */
static int limits_of(const struct gate_request *rq, struct dw_limits *ret, struct dw_err *err)
{
	const json_t *root = json_object_get(rq->root, "limits");
	size_t known = 0;

	*ret = (struct dw_limits){ 0 };
	if (!root || json_is_null(root))
		return 0;
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++) {
		const struct dw_limit *t = &dw_limit_table[i];
		json_int_t v = 0;

		if (!json_object_get(root, t->name))
			continue;
		if (!number_of(root, t->name, &v) || (!t->wide && v > (json_int_t)UINT32_MAX))
			return dw_err_set(err, DW_ERR_INVALID, "bad_request", "\"limits\": \"%s\" is not a number",
					  t->name);
		dw_limit_set(ret, t, (uint64_t)v);
		known++;
	}
	if (!json_is_object(root) || known != json_object_size(root))
		return bad_request(err, "\"limits\" has members that are no limits");
	return 0;
}

struct image {
	void *p;
	size_t n;
	struct dw_policy *policy;
};

static int bad_policy(struct dw_err *err, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "bad_policy", "%s", what);
}

/* Sealed, so that nobody can change or shorten the bytes under the mapping later. */
static int image_map(const struct gate_request *rq, struct image *ret, struct dw_err *err)
{
	const int want = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat st;
	int seals;
	void *p;

	if (rq->fd < 0)
		return bad_request(err, "the policy image is missing: one descriptor must come along");
	seals = fcntl(rq->fd, F_GET_SEALS);
	if (seals < 0 || (seals & want) != want)
		return bad_policy(err, "the policy image is not a sealed memfd");
	if (fstat(rq->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return bad_policy(err, "the policy image is not a file");
	if (st.st_size <= 0 || st.st_size > (off_t)DW_GATEP_IMAGE_MAX)
		return bad_policy(err, "the policy image is empty or too large");
	/* Not populated: a decision touches a few pages, and attaching must not cost more for a larger policy. */
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, rq->fd, 0);
	if (p == MAP_FAILED)
		return dw_err_errno(err, errno, "mapping the policy image");
	*ret = (struct image){ .p = p, .n = (size_t)st.st_size };
	return 0;
}

static int image_open(const struct gate_request *rq, struct image *ret, struct dw_err *err)
{
	struct image im;

	if (image_map(rq, &im, err) < 0)
		return -1;
	if (dw_policy_open(im.p, im.n, &im.policy, err) < 0) {
		munmap(im.p, im.n);
		snprintf(err->code, sizeof(err->code), "bad_policy");
		return -1;
	}
	*ret = im;
	return 0;
}

/* Operations: an answer without "seq" (owned by the caller), or NULL with err. */

static json_t *answer_ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

static json_t *op_attach(struct gate *g, const struct gate_request *rq, struct dw_err *err)
{
	const char *id = id_of(rq, err);
	json_int_t generation;
	struct dw_addr addr4;
	struct dw_addr addr6;
	struct dw_limits limits;
	struct image im;

	if (!id || addrs_of(rq, &addr4, &addr6, err) < 0)
		return NULL;
	if (!number_of(rq->root, "generation", &generation)) {
		bad_request(err, "\"generation\" is not a number");
		return NULL;
	}
	if (limits_of(rq, &limits, err) < 0 || image_open(rq, &im, err) < 0)
		return NULL;
	if (gate_sandbox_attach(g, id, &addr4, &addr6, (uint64_t)generation, &limits, im.p, im.n, im.policy, err) < 0)
		return NULL;
	return answer_ok();
}

static struct gate_sandbox *sandbox_of(struct gate *g, const struct gate_request *rq, struct dw_err *err)
{
	const char *id = id_of(rq, err);
	struct gate_sandbox *s = id ? gate_sandbox_by_id(g, id) : NULL;

	if (id && !s)
		dw_err_set(err, DW_ERR_NOT_FOUND, "not_found", "sandbox %s is not attached", id);
	return s;
}

static json_t *op_update(struct gate *g, const struct gate_request *rq, struct dw_err *err)
{
	struct gate_sandbox *s = sandbox_of(g, rq, err);
	json_int_t generation;
	struct dw_limits limits;
	struct image im;

	if (!s)
		return NULL;
	if (!number_of(rq->root, "generation", &generation)) {
		bad_request(err, "\"generation\" is not a number");
		return NULL;
	}
	if (limits_of(rq, &limits, err) < 0 || image_open(rq, &im, err) < 0)
		return NULL;
	if (gate_sandbox_update(g, s, (uint64_t)generation, &limits, im.p, im.n, im.policy) < 0) {
		dw_err_set(err, DW_ERR_INTERNAL, "internal", "updating sandbox %s", s->id);
		return NULL;
	}
	return answer_ok();
}

static json_t *op_detach(struct gate *g, const struct gate_request *rq, struct dw_err *err)
{
	const char *id = id_of(rq, err);
	struct gate_sandbox *s;

	if (!id)
		return NULL;
	s = gate_sandbox_by_id(g, id);
	if (s)
		gate_sandbox_detach(g, s);
	return json_pack("{s:b,s:b}", "ok", 1, "found", s != NULL);
}

static uint32_t udp_flows_of(const struct gate_sandbox *s)
{
	uint32_t n = 0;

	for (const struct gate_udp_flow *f = s->udp_flows; f; f = f->next)
		n++;
	return n;
}

static json_t *limits_json(const struct dw_limits *l)
{
	json_t *o = json_object();

	for (size_t i = 0; i < DW_LIMIT_COUNT; i++) {
		const struct dw_limit *t = &dw_limit_table[i];

		if (json_object_set_new(o, t->name, json_integer((json_int_t)dw_limit_get(l, t))) < 0) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

static json_t *op_query(struct gate *g, const struct gate_request *rq, struct dw_err *err)
{
	const struct gate_sandbox *s = sandbox_of(g, rq, err);

	if (!s)
		return NULL;
	return json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "ok", 1, "generation", (json_int_t)s->generation,
			 "flows", (json_int_t)s->flow_n, "udp_flows", (json_int_t)udp_flows_of(s), "pins",
			 (json_int_t)dw_pins_count(s->pins), "half_open", (json_int_t)s->half_open_n, "queries",
			 (json_int_t)s->query_n, "bytes_out", (json_int_t)s->bytes_out, "bytes_in",
			 (json_int_t)s->bytes_in, "limits", limits_json(&s->limits));
}

static json_t *op_status(struct gate *g, const struct gate_request *rq, struct dw_err *err)
{
	json_t *host = json_array();

	for (size_t i = 0; host && i < g->floor.host_n && i < STATUS_HOSTS_MAX; i++) {
		char text[DW_ADDR_STRLEN];

		json_array_append_new(host, json_string(dw_addr_format(&g->floor.host[i], text)));
	}
	return json_pack("{s:b,s:I,s:I,s:s,s:o}", "ok", 1, "sandboxes", (json_int_t)gate_sandboxes_count(g), "flows",
			 (json_int_t)gate_flows_total(g), "version", DECLAW_VERSION, "host", host);
}

static const struct op {
	const char *name;
	json_t *(*fn)(struct gate *g, const struct gate_request *rq, struct dw_err *err);
	bool takes_fd;
} op_table[] = {
	{ "attach", op_attach, true }, { "update", op_update, true },  { "detach", op_detach, false },
	{ "query", op_query, false },  { "status", op_status, false },
};

static const struct op *op_of(const struct gate_request *rq, struct dw_err *err)
{
	const char *name = json_string_value(json_object_get(rq->root, "op"));

	if (!name) {
		bad_request(err, "\"op\" is missing");
		return NULL;
	}
	for (size_t i = 0; i < DW_COUNT(op_table); i++) {
		if (strcmp(op_table[i].name, name) == 0)
			return &op_table[i];
	}
	dw_err_set(err, DW_ERR_INVALID, "unknown_op", "this gate does not know the operation");
	return NULL;
}

json_t *gate_control_serve(struct gate *g, struct gate_request *rq, const char *text, size_t n, struct dw_err *err)
{
	const struct op *op;

	rq->root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(rq->root)) {
		bad_request(err, "the request is not a JSON object");
		return NULL;
	}
	if (!number_of(rq->root, "seq", &rq->seq)) {
		bad_request(err, "\"seq\" is not a number");
		return NULL;
	}
	op = op_of(rq, err);
	if (!op)
		return NULL;
	if (rq->lost_fd) {
		dw_err_set(err, DW_ERR_INTERNAL, "internal",
			   "the gate has no descriptor left for the policy; try again");
		return NULL;
	}
	if (rq->extra_fds || (rq->fd >= 0 && !op->takes_fd)) {
		bad_request(err, "more descriptors came along than the operation takes");
		return NULL;
	}
	return op->fn(g, rq, err);
}
