/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/host.h"

#include <string.h>

#define LABEL_MAX 63

static enum dw_host_status bad(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return DW_HOST_BAD;
}

/* NULL when c may stand in a label, else why not. */
static const char *why_not_char(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
		return NULL;
	if (c == '\0')
		return "a NUL byte in the host name";
	if (c == ' ' || (c >= '\t' && c <= '\r'))
		return "white space in the host name";
	if (c < 0x20 || c == 0x7f)
		return "a control character in the host name";
	if (c >= 0x80)
		return "a non-ASCII byte in the host name (write the xn-- form)";
	return "a character that host names cannot have";
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static const char *why_not_label(const char *label, size_t n)
{
	if (n == 0)
		return "an empty label in the host name";
	if (n > LABEL_MAX)
		return "a label of more than 63 characters";
	if (label[0] == '-' || label[n - 1] == '-')
		return "a label that starts or ends with '-'";
	return NULL;
}

/* Resolvers take a name that ends in a number for an address in an odd spelling: 127.1, 0x7f.1, 2130706433. */
static bool is_number(const char *label, size_t n)
{
	if (n >= 2 && label[0] == '0' && lower(label[1]) == 'x')
		return true;
	for (size_t i = 0; i < n; i++) {
		if (label[i] < '0' || label[i] > '9')
			return false;
	}
	return true;
}

enum dw_host_status dw_host_canon(const char *s, size_t n, char ret[static DW_HOST_SIZE], const char **ret_why)
{
	if (n > 0 && s[n - 1] == '.')
		n--;
	if (n == 0)
		return bad(ret_why, "an empty host name");
	if (n > DW_HOST_MAX)
		return bad(ret_why, "a host name of more than 253 characters");

	/* Checked to the end before anything is written: a policy has thousands of names, so there is no copy in between. */
	size_t label = 0; /* start of the current label */
	for (size_t i = 0; i <= n; i++) {
		bool end = i == n || s[i] == '.';
		const char *why = end ? why_not_label(s + label, i - label) : why_not_char((unsigned char)lower(s[i]));
		if (why)
			return bad(ret_why, why);
		if (end && i < n)
			label = i + 1;
	}
	if (is_number(s + label, n - label))
		return bad(ret_why, "a number where a host name must end (write addresses as 1.2.3.4)");
	for (size_t i = 0; i < n; i++)
		ret[i] = lower(s[i]);
	ret[n] = '\0';
	return DW_HOST_OK;
}
