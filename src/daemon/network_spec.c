/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/network_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/limits_spec.h"
#include "daemon/port_head.h"
#include "policy/policy.h"
#include "proto/gatep.h"

struct list {
	const char **entry; /* borrowed strings */
	size_t n;
	bool present;
};

static void list_done(struct list *l)
{
	free(l->entry);
}

static int list_read(const json_t *network, const char *key, struct list *ret, struct dw_err *err)
{
	json_t *v = json_object_get(network, key);
	if (v && !json_is_null(v) && !json_is_array(v))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "network.%s must be a list of strings", key);
	size_t n = json_array_size(v);
	if (n > DW_POLICY_MAX_ENTRIES)
		return dw_err_set(err, DW_ERR_INVALID, "network_policy_too_large",
				  "network.%s has more than %u entries", key, DW_POLICY_MAX_ENTRIES);
	ret->entry = calloc(n + 1, sizeof(*ret->entry));
	if (!ret->entry)
		return dw_err_errno(err, ENOMEM, "network.%s", key);
	for (size_t i = 0; i < n; i++) {
		const json_t *e = json_array_get(v, i);
		ret->entry[i] = jsonx_plain_string(e);
		if (!ret->entry[i] && json_is_string(e))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_network_entry",
					  "network.%s[%zu]: an entry can not hold a NUL character", key, i);
		if (!ret->entry[i])
			return dw_err_set(err, DW_ERR_INVALID, "invalid_network_entry",
					  "network.%s[%zu] must be a string", key, i);
	}
	ret->n = n;
	ret->present = v != NULL;
	return 0;
}

/* One of two words; the first is the default. */
static int read_word(const json_t *network, const char *key, const char *plain, const char *other, bool *ret_other,
		     struct dw_err *err)
{
	const char *word = plain;
	if (jsonx_string(network, key, &word, err) < 0)
		return dw_err_wrap(err, "network");
	*ret_other = strcmp(word, other) == 0;
	if (!*ret_other && strcmp(word, plain) != 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "network.%s must be \"%s\" or \"%s\"", key,
				  plain, other);
	return 0;
}

/* Ours, on top of the published contract. */
static int read_switches(const json_t *network, struct network_spec *s, struct dw_policy_spec *spec, struct dw_err *err)
{
	json_t *limits = NULL;
	if (read_word(network, "blocked", "drop", "reject", &spec->reject, err) < 0 ||
	    read_word(network, "mode", "enforce", "observe", &s->observe, err) < 0)
		return -1;
	if (jsonx_bool(network, "allow_ech", &spec->allow_ech, err) < 0 ||
	    jsonx_object(network, "limits", &limits, err) < 0 || limits_spec_parse(limits, &s->limits, err) < 0)
		return dw_err_wrap(err, "network");
	return 0;
}

/*
 * Members that this server does not know are ignored, as newer clients need it, but only beside an allow list: that lets through
 * what it names and nothing else, whatever they meant. Without one a misspelt list would be a restriction that is silently not there.
 */
static int check_unknown(const json_t *network, struct dw_err *err)
{
	static const char *const known[] = {
		"allow_out", "deny_out", "allow_public_traffic", "mask_request_host", "blocked", "mode",
		"limits",    "allow_ech"
	};
	const char *key;
	json_t *value;
	if (json_object_get(network, "allow_out"))
		return 0;
	/* The macro wants a non-const object; it does not change it. */
	json_object_foreach((json_t *)(uintptr_t)network, key, value)
	{
		size_t i = 0;
		while (i < DW_COUNT(known) && strcmp(known[i], key) != 0)
			i++;
		if (i == DW_COUNT(known))
			return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
					  "network.%.100s is not known to this server, which without an allow_out "
					  "would leave out "
					  "whatever it restricts",
					  key);
	}
	return 0;
}

static int check_others(const json_t *network, struct dw_err *err)
{
	bool ignored;
	if (jsonx_bool(network, "allow_public_traffic", &ignored, err) < 0)
		return dw_err_wrap(err, "network");
	const json_t *mask = json_object_get(network, "mask_request_host");
	const char *host = jsonx_plain_string(mask);
	/* One client types it as a boolean; false asks for nothing. */
	if (mask && !json_is_null(mask) && !json_is_false(mask) && !(host && port_host_ok(host)))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "network.mask_request_host must be a host such as \"localhost:${PORT}\"");
	return 0;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t put = write(fd, p, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* Sealed, so that neither side can change under the other what was checked. */
static int seal_image(const void *image, size_t len, int *ret_fd, struct dw_err *err)
{
	dw_autoclose int fd = memfd_create("declaw-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || write_all(fd, image, len) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return dw_err_errno(err, errno, "keeping the network policy");
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}

int network_spec_compile(const json_t *network, bool default_allow, struct network_spec *ret, struct dw_err *err)
{
	__attribute__((cleanup(list_done))) struct list allow = { 0 };
	__attribute__((cleanup(list_done))) struct list deny = { 0 };
	struct network_spec s = { .policy_fd = -1 };
	struct dw_policy_spec spec = { .default_allow = default_allow };
	if (list_read(network, "allow_out", &allow, err) < 0 || list_read(network, "deny_out", &deny, err) < 0 ||
	    check_unknown(network, err) < 0 || check_others(network, err) < 0 ||
	    read_switches(network, &s, &spec, err) < 0)
		return -1;
	spec.allow = allow.entry;
	spec.allow_n = allow.n;
	spec.allow_present = allow.present;
	spec.deny = deny.entry;
	spec.deny_n = deny.n;
	spec.observe = s.observe;
	dw_autofree void *image = NULL;
	size_t len = 0;
	if (dw_policy_compile(&spec, &image, &len, err) < 0)
		return -1;
	if (len > DW_GATEP_IMAGE_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "network_policy_too_large", "network: the policy is too large");
	if (seal_image(image, len, &s.policy_fd, err) < 0)
		return -1;
	*ret = s;
	return 0;
}
