/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

static void print_commands(const char *prefix, const char *about, const struct cli_command *table, size_t n)
{
	printf("Usage: %s COMMAND [ARGUMENT]...\n%s\n\n", prefix, about);
	for (size_t i = 0; i < n; i++)
		printf("  %-10s %s\n", table[i].name, table[i].summary);
	printf("\n  %s COMMAND --help tells more; --version prints the version.\n", prefix);
}

int cli_dispatch(const char *prefix, const char *about, const struct cli_command *table, size_t n, int argc,
		 char *const *argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		print_commands(prefix, about, table, n);
		return CLI_OK;
	}
	if (strcmp(word, "--version") == 0) {
		puts("declaw " DECLAW_VERSION);
		return CLI_OK;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(word, table[i].name) == 0)
			return table[i].run(argc - 1, argv + 1);
	}
	char shown[64];
	cli_warn("\"%s\" is no command of %s (see %s --help)", cli_printable(word, strlen(word), shown, sizeof(shown)),
		 prefix, prefix);
	return CLI_USAGE;
}

static const struct cli_option *find(const struct cli_option *table, size_t n, const char *word, size_t word_n)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(table[i].name) == word_n && memcmp(table[i].name, word, word_n) == 0)
			return &table[i];
	}
	return NULL;
}

/* The option at argv[*i], whose value may be the word behind it. */
static int parse_option(const struct cli_option *table, size_t n, int argc, char *const *argv, int *i, void *to,
			struct dw_err *err)
{
	const char *word = argv[*i];
	const size_t name_n = strcspn(word, "=");
	const struct cli_option *op = find(table, n, word, name_n);
	char shown[128];
	if (!op || (!op->arg && word[name_n]))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "unknown option \"%s\" (see --help)",
				  cli_printable(word, strlen(word), shown, sizeof(shown)));
	if (!op->arg)
		return op->set(to, NULL, err);
	const char *value = word[name_n] ? word + name_n + 1 : argv[*i + 1];
	if (!word[name_n] && ++*i == argc)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s needs a value: %s", op->name, op->arg);
	return op->set(to, value, err) < 0 ? dw_err_wrap(err, "%s", op->name) : 0;
}

int cli_parse(const struct cli_option *table, size_t n, int argc, char *const *argv, void *to,
	      int (*word)(void *to, const char *word, struct dw_err *err), struct dw_err *err)
{
	bool options = true;
	for (int i = 1; i < argc; i++) {
		const char *w = argv[i];
		int r = 0;
		if (options && strcmp(w, "--") == 0)
			options = false;
		else if (options && w[0] == '-' && w[1])
			r = parse_option(table, n, argc, argv, &i, to, err);
		else
			r = word(to, w, err);
		if (r < 0)
			return -1;
	}
	return 0;
}

void cli_print_options(const struct cli_option *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct cli_option *op = &table[i];
		printf("  %s%s%s\n        %s\n", op->name, op->arg ? " " : "", op->arg ? op->arg : "", op->help);
	}
}

int cli_fail(const struct dw_err *err)
{
	fprintf(stderr, "declaw: %s\n", err->message);
	return CLI_USAGE;
}

void cli_warn(const char *fmt, ...)
{
	va_list ap;
	fputs("declaw: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int read_all(int fd, size_t max, char **ret, size_t *ret_n)
{
	dw_autofree char *text = NULL;
	size_t n = 0, cap = 0;
	for (;;) {
		if (n + 1 >= cap) {
			cap = cap ? cap * 2 : 65536;
			char *more = realloc(text, cap);
			if (!more)
				return -ENOMEM;
			text = more;
		}
		ssize_t got = read(fd, text + n, cap - n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		n += (size_t)got;
		if (n > max)
			return -EFBIG;
		if (got == 0)
			break;
	}
	text[n] = '\0';
	*ret = DW_TAKE(text);
	*ret_n = n;
	return 0;
}

int cli_read_file(const char *path, size_t max, char **ret, size_t *ret_n, struct dw_err *err)
{
	const bool standard = strcmp(path, "-") == 0;
	dw_autoclose int fd = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	char shown[128];
	int r = !standard && fd < 0 ? -errno : read_all(standard ? STDIN_FILENO : fd, max, ret, ret_n);
	if (r == 0)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "%s: %s",
			  cli_printable(path, strlen(path), shown, sizeof(shown)), strerror(-r));
}

const char *cli_printable(const char *s, size_t n, char *buf, size_t size)
{
	n = DW_MIN(n, size - 1);
	for (size_t i = 0; i < n; i++)
		buf[i] = s[i];
	for (size_t i = 0; i < n; i++) {
		if (buf[i] < ' ' || buf[i] > '~')
			buf[i] = '?';
	}
	buf[n] = '\0';
	return buf;
}

void *cli_grow(void **array, size_t *n, size_t size)
{
	/* Powers of two: full when the count is one. */
	if ((*n & (*n - 1)) == 0) {
		char *more = reallocarray(*array, *n ? *n * 2 : 1, size);
		if (!more)
			return NULL;
		*array = more;
	}
	void *element = (char *)*array + *n * size;
	memset(element, 0, size);
	++*n;
	return element;
}
