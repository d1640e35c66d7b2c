/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/where.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "core/addr.h"

static const char default_domain[] = "127.0.0.1:8080";
static const char local_key_file[] = "/var/lib/declaw/api-key";

/* NULL for one that is empty too. */
static const char *variable(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

static bool is_loopback(const char *host)
{
	const size_t n = strlen(host);
	const bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']';
	struct dw_addr a;

	if (strcmp(host, "localhost") == 0)
		return true;
	if (!dw_addr_parse(host + bracketed, n - (bracketed ? 2 : 0), &a))
		return false;
	static const uint8_t one[16] = { [15] = 1 };
	return a.family == DW_AF_4 ? a.b[0] == 127 : memcmp(a.b, one, sizeof(one)) == 0;
}

static int bad(struct dw_err *err, const char *what, const char *value, const char *why)
{
	char shown[128];

	/* What is before an @ may be a password, which must not get into a log. */
	if (strchr(value, '@'))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s must not hold a user or a password", what);
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s \"%s\" %s", what,
			  cli_printable(value, strlen(value), shown, sizeof(shown)), why);
}

/* Checks it, and says what host it is. */
static int take_url(char *url, char **ret_host, struct dw_err *err)
{
	static const char why[] = "is no http:// or https:// URL of a server";
	CURLU *u = curl_url();
	char *scheme = NULL, *user = NULL, *query = NULL, *fragment = NULL;
	size_t n = strlen(url);

	while (n && url[n - 1] == '/')
		url[--n] = '\0';
	if (!u)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "memory is out");
	const bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
			curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
			(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
			curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_OK &&
			curl_url_get(u, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
			curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK &&
			curl_url_get(u, CURLUPART_HOST, ret_host, 0) == CURLUE_OK;
	curl_free(scheme);
	curl_free(user);
	curl_free(query);
	curl_free(fragment);
	curl_url_cleanup(u);
	return ok ? 0 : bad(err, "the URL", url, why);
}

/* Port 443 alone means https, as for the SDKs. */
static int url_of_domain(const char *domain, char **ret, struct dw_err *err)
{
	const char *colon = strrchr(domain, ':');
	const bool has_port = colon && colon[1] && !colon[1 + strspn(colon + 1, "0123456789")];
	const size_t n = has_port ? (size_t)(colon - domain) : strlen(domain);
	const unsigned long port = has_port ? strtoul(colon + 1, NULL, 10) : 443;

	if (!n || domain[strcspn(domain, "/@?# \t\r\n")] || (memchr(domain, ':', n) && domain[0] != '['))
		return bad(err, "the domain", domain, "is not host, host:port or [IPv6 address]:port");
	if (port < 1 || port > 65535)
		return bad(err, "the domain", domain, "has a port that is not in 1 to 65535");
	if (asprintf(ret, "http%s://%.*s:%lu", port == 443 ? "s" : "", (int)n, domain, port) < 0) {
		*ret = NULL;
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "memory is out");
	}
	return 0;
}

static int find_url(const struct client_where *given, char **ret, struct dw_err *err)
{
	if (given->url && given->domain)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "--url and --domain exclude each other");
	const char *url = given->url ? given->url : given->domain ? NULL : variable("DECLAW_API_URL");
	const char *domain = given->domain ? given->domain : variable("DECLAW_DOMAIN");
	if (!url)
		return url_of_domain(domain ? domain : default_domain, ret, err);
	*ret = strdup(url);
	return *ret ? 0 : dw_err_set(err, DW_ERR_INTERNAL, "internal", "memory is out");
}

static int take_key(const char *text, size_t n, char *ret, struct dw_err *err)
{
	static const char space[] = " \t\r\n";
	while (n && strchr(space, text[n - 1]))
		n--;
	while (n && strchr(space, *text)) {
		text++;
		n--;
	}
	if (n > WHERE_KEY_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "the API key is too long");
	for (size_t i = 0; i < n; i++) {
		if (text[i] < ' ' || text[i] > '~')
			return dw_err_set(err, DW_ERR_INVALID, "invalid_option",
					  "the API key has characters that a header cannot carry");
		ret[i] = text[i];
	}
	ret[n] = '\0';
	return 0;
}

static int read_key(const char *path, char *ret, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	size_t n = 0;

	if (cli_read_file(path, WHERE_KEY_MAX, &text, &n, err) < 0) {
		err->kind = DW_ERR_UNAUTHORIZED;
		return dw_err_wrap(err, "the file of the API key");
	}
	const int r = take_key(text, n, ret, err);
	explicit_bzero(text, n);
	return r;
}

static int find_key(const struct client_where *given, const char *host, char *ret, struct dw_err *err)
{
	const char *key = variable("DECLAW_API_KEY"), *file = variable("DECLAW_API_KEY_FILE");
	struct dw_err ignored = { 0 };

	*ret = '\0';
	if (given->key_file)
		return read_key(given->key_file, ret, err);
	if (key)
		return take_key(key, strlen(key), ret, err);
	if (file)
		return read_key(file, ret, err);
	/* This machine's own key is no business of another machine. Where it cannot be read, the server says that one is missing. */
	if (is_loopback(host) && read_key(local_key_file, ret, &ignored) < 0)
		*ret = '\0';
	return 0;
}

int where_find(const struct client_where *given, struct where *ret, struct dw_err *err)
{
	char *host = NULL;

	*ret = (struct where){ 0 };
	int r = find_url(given, &ret->url, err);
	if (r == 0)
		r = take_url(ret->url, &host, err);
	if (r == 0)
		r = find_key(given, host, ret->key, err);
	curl_free(host);
	if (r < 0)
		where_done(ret);
	return r;
}

void where_done(struct where *w)
{
	free(w->url);
	w->url = NULL;
	explicit_bzero(w->key, sizeof(w->key));
}
