/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/place.h"

#include <stdio.h>
#include <string.h>

static const char id_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

bool place_parse(const char *word, struct place *ret)
{
	const size_t n = strspn(word, id_chars);

	*ret = (struct place){ .path = word };
	if (n && n <= PLACE_ID_MAX && word[n] == ':') {
		snprintf(ret->id, sizeof(ret->id), "%.*s", (int)n, word);
		ret->path = word + n + 1;
	}
	return *ret->path;
}

bool place_is_id(const char *s)
{
	const size_t n = strspn(s, id_chars);
	return n && n <= PLACE_ID_MAX && !s[n];
}

bool place_is_name(const char *s)
{
	return *s && strlen(s) <= 255 && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 && !strchr(s, '/');
}

char *place_name(const char *path)
{
	size_t end = strlen(path);
	while (end && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start && path[start - 1] != '/')
		start--;
	char *name = strndup(path + start, end - start);
	if (name && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		*name = '\0';
	return name;
}

char *place_join(const char *a, const char *b)
{
	char *out;
	const size_t n = strlen(a);
	if (asprintf(&out, "%s%s%s", a, n && a[n - 1] != '/' ? "/" : "", b) < 0)
		return NULL;
	return out;
}

bool place_says_folder(const char *path)
{
	const size_t n = strlen(path);
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	return (n && path[n - 1] == '/') || strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}
