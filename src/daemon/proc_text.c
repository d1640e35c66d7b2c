/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/proc_text.h"

#include <string.h>

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"

/* A word that a shell reads as itself; behind out, which has room for 4 bytes a byte and 2 more. */
static char *put_word(char *out, const char *word)
{
	if (*word && !word[strspn(word, PLAIN)])
		return stpcpy(out, word);
	*out++ = '\'';
	for (; *word; word++)
		out = *word == '\'' ? stpcpy(out, "'\\''") : (*out = *word, out + 1);
	*out++ = '\'';
	return out;
}

char *proc_text_quote(const struct agent_command *c)
{
	size_t n = 4 * strlen(c->cmd) + 4;
	for (size_t i = 0; i < c->arg_n; i++)
		n += 4 * strlen(c->args[i]) + 4;
	char *text = malloc(n), *at = text;
	if (!text)
		return NULL;
	at = put_word(at, c->cmd);
	for (size_t i = 0; i < c->arg_n; i++) {
		*at++ = ' ';
		at = put_word(at, c->args[i]);
	}
	*at = '\0';
	/* Only what is kept is counted. */
	char *fit = realloc(text, (size_t)(at - text) + 1);
	return fit ? fit : text;
}

char *proc_text_program(const struct agent_command *c)
{
	auto_json json_t *args = json_array();
	for (size_t i = 0; args && i < c->arg_n; i++)
		if (json_array_append_new(args, json_string(c->args[i])) < 0)
			return NULL;
	auto_json json_t *j = json_pack("{ss sO* ss*}", "cmd", c->cmd, "args", args, "cwd", *c->cwd ? c->cwd : NULL);
	return args && j ? json_dumps(j, JSON_COMPACT) : NULL;
}
