/* SPDX-License-Identifier: Apache-2.0 */
/* declaw key ...: works on the data directory itself, so it needs no server and no key, and root. */
#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "keydb/keydb.h"

#define TIME_SIZE 40

struct job {
	const char *data, *name, *owner, *id;
	bool json, help;
};

static int once(const char **at, const char *value, struct dw_err *err)
{
	if (*at)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "given twice");
	*at = value;
	return 0;
}

static int set_data(void *to, const char *value, struct dw_err *err)
{
	return once(&((struct job *)to)->data, value, err);
}

static int set_name(void *to, const char *value, struct dw_err *err)
{
	return once(&((struct job *)to)->name, value, err);
}

static int set_owner(void *to, const char *value, struct dw_err *err)
{
	return once(&((struct job *)to)->owner, value, err);
}

static int set_json(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->json = true;
	return 0;
}

static int set_help(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->help = true;
	return 0;
}

static int no_word(void *to, const char *word, struct dw_err *err)
{
	char shown[64];
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "\"%s\" is one word too many",
			  cli_printable(word, strlen(word), shown, sizeof(shown)));
}

static int take_id(void *to, const char *word, struct dw_err *err)
{
	struct job *j = to;
	return j->id ? no_word(to, word, err) : once(&j->id, word, err);
}

#define DATA_OPTION                                                                                        \
	{                                                                                                  \
		"--data", "DIR", set_data, "the server's data directory (DECLAW_DATA, or /var/lib/declaw)" \
	}
#define OUT_OPTIONS                                     \
	{ "--json", NULL, set_json, "one JSON value" }, \
	{                                               \
		"--help", NULL, set_help, "print this"  \
	}

static const struct cli_option create_options[] = {
	{ "--name", "NAME", set_name, "what the key is for" },
	{ "--owner", "OWNER", set_owner, "whose sandboxes it sees and makes (local)" },
	DATA_OPTION,
	OUT_OPTIONS,
};
static const struct cli_option list_options[] = {
	{ "--owner", "OWNER", set_owner, "only the keys of this one" },
	DATA_OPTION,
	OUT_OPTIONS,
};
static const struct cli_option revoke_options[] = { DATA_OPTION, OUT_OPTIONS };

struct verb {
	const char *usage, *about;
	const struct cli_option *option;
	size_t n;
	int (*word)(void *to, const char *word, struct dw_err *err);
	int (*run)(const struct job *j, struct dw_keydb *db, struct dw_err *err);
};

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* NULL for never. */
static const char *time_text(int64_t us, char buf[static TIME_SIZE])
{
	const time_t s = (time_t)(us / 1000000);
	struct tm tm;
	char day[24];
	if (!us || !gmtime_r(&s, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
		return NULL;
	snprintf(buf, TIME_SIZE, "%s.%06d+00:00", day, (int)(us % 1000000));
	return buf;
}

static json_t *key_json(const struct dw_key *k)
{
	char created[TIME_SIZE], used[TIME_SIZE], revoked[TIME_SIZE];
	return json_pack("{ss ss ss ss* ss? ss? sb ss?}", "key_id", k->id, "name", k->name, "owner", k->owner,
			 "key_hint", k->hint[0] ? k->hint : NULL, "created_at", time_text(k->created_us, created),
			 "last_used_at", time_text(k->last_used_us, used), "revoked", k->revoked_us != 0, "revoked_at",
			 time_text(k->revoked_us, revoked));
}

static int print_json(json_t *j_take, struct dw_err *err)
{
	char *text = j_take ? json_dumps(j_take, JSON_INDENT(2)) : NULL;
	json_decref(j_take);
	if (!text)
		return dw_err_errno(err, ENOMEM, "writing JSON");
	const int r = puts(text) < 0 ? dw_err_errno(err, errno, "standard output") : 0;
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	return r;
}

/* A full disk shows only when what was printed is written. */
static int flush(struct dw_err *err)
{
	if (fflush(stdout) != 0)
		return dw_err_errno(err, errno, "standard output");
	return ferror(stdout) ? dw_err_errno(err, EIO, "standard output") : 0;
}

/* A key that nobody was told must not be left valid. */
static int take_back(struct dw_keydb *db, const struct dw_key *made, struct dw_err *err)
{
	struct dw_err other = { 0 };

	if (dw_keydb_revoke(db, made->id, NULL, now_us(), &other) == 0)
		return dw_err_wrap(err, "%s could not be shown and is revoked", made->id);
	return dw_err_wrap(err, "%s could not be shown, nor be revoked (%s): revoke it by hand", made->id,
			   other.message);
}

static int create(const struct job *j, struct dw_keydb *db, struct dw_err *err)
{
	char key[DW_KEY_SIZE];
	struct dw_key made;
	json_t *name = json_string(j->name ? j->name : "");
	const bool utf8 = name != NULL;
	json_decref(name);
	if (!j->name)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "--name is needed: what the key is for");
	if (!utf8)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "--name must be UTF-8");
	if (dw_keydb_create(db, j->name, j->owner ? j->owner : "local", now_us(), key, &made, err) < 0)
		return -1;
	/* A pipe that nobody reads is an error then, that can be dealt with. */
	signal(SIGPIPE, SIG_IGN);
	int r = 0;
	if (j->json) {
		json_t *out = key_json(&made);
		if (out)
			json_object_set_new(out, "api_key", json_string(key));
		r = print_json(out, err);
	} else {
		/* The key alone on standard output, so that a script can take it. */
		puts(key);
	}
	OPENSSL_cleanse(key, sizeof(key));
	if (r == 0)
		r = flush(err);
	if (r < 0)
		return take_back(db, &made, err);
	if (!j->json)
		cli_warn("%s of owner %s is made; its key is shown this once", made.id, made.owner);
	return 0;
}

static int add_json(void *arg, const struct dw_key *k)
{
	return json_array_append_new(arg, key_json(k));
}

static int print_row(void *arg, const struct dw_key *k)
{
	char created[TIME_SIZE], used[TIME_SIZE], name[DW_KEY_NAME_MAX + 1];
	const char *created_at = time_text(k->created_us, created), *used_at = time_text(k->last_used_us, used);
	/* To the second, as people read it. */
	printf("%-17s %-8s %-9s %-20.19s %-20.19s %-16s %s\n", k->id, k->revoked_us ? "revoked" : "valid",
	       k->hint[0] ? k->hint : "-", created_at ? created_at : "-", used_at ? used_at : "never", k->owner,
	       cli_printable(k->name, strlen(k->name), name, sizeof(name)));
	return 0;
}

static int list(const struct job *j, struct dw_keydb *db, struct dw_err *err)
{
	if (!j->json) {
		printf("%-17s %-8s %-9s %-20s %-20s %-16s %s\n", "ID", "STATE", "BEGINS", "CREATED (UTC)",
		       "LAST USED (UTC)", "OWNER", "NAME");
		return dw_keydb_each(db, j->owner, print_row, NULL, err);
	}
	json_t *rows = json_array();
	dw_err_errno(err, ENOMEM, "writing JSON"); /* unless it says otherwise */
	if (!rows || dw_keydb_each(db, j->owner, add_json, rows, err) < 0) {
		json_decref(rows);
		return -1;
	}
	return print_json(rows, err);
}

static int revoke_key(const struct job *j, struct dw_keydb *db, struct dw_err *err)
{
	if (!j->id)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option",
				  "the id of a key is needed (see declaw key list)");
	if (dw_keydb_revoke(db, j->id, NULL, now_us(), err) < 0)
		return -1;
	if (j->json)
		return print_json(json_pack("{ss sb}", "key_id", j->id, "revoked", 1), err);
	printf("%s is revoked\n", j->id);
	return 0;
}

static const struct verb create_verb = {
	"declaw key create --name NAME [--owner OWNER]",
	"Makes an API key and prints it, once: only its hash is kept. A server that runs takes it within a second.",
	create_options,
	DW_COUNT(create_options),
	no_word,
	create,
};
static const struct verb list_verb = {
	"declaw key list", "Lists the API keys, revoked ones too.", list_options, DW_COUNT(list_options), no_word, list,
};
static const struct verb revoke_verb = {
	"declaw key revoke ID",
	"Ends an API key: within a second no new request is served with it. Sandboxes that it made go on.",
	revoke_options,
	DW_COUNT(revoke_options),
	take_id,
	revoke_key,
};

static int open_keys(const struct job *j, struct dw_keydb **ret, struct dw_err *err)
{
	const char *variable = getenv("DECLAW_DATA");
	const char *dir = j->data ? j->data : variable && *variable ? variable : "/var/lib/declaw";
	if (dw_keydb_open(dir, ret, err) == 0)
		return 0;
	if (err->kind == DW_ERR_FORBIDDEN)
		return dw_err_wrap(err, "keys are made and revoked as root, on the server's own machine");
	return -1;
}

static int run(const struct verb *v, int argc, char *const *argv)
{
	struct job j = { 0 };
	struct dw_err err = { 0 };
	DW_AUTO(dw_keydb_close) struct dw_keydb *db = NULL;
	if (cli_parse(v->option, v->n, argc, argv, &j, v->word, &err) < 0)
		return cli_fail(&err);
	if (j.help) {
		printf("Usage: %s\n%s\nWorks on the data directory itself: run it as root, on the server's "
		       "machine.\n\n",
		       v->usage, v->about);
		cli_print_options(v->option, v->n);
		return CLI_OK;
	}
	if (open_keys(&j, &db, &err) == 0 && v->run(&j, db, &err) == 0 && flush(&err) == 0)
		return CLI_OK;
	const int code = cli_fail(&err);
	return err.kind == DW_ERR_INVALID ? code : CLI_NO;
}

static int run_create(int argc, char *const *argv)
{
	return run(&create_verb, argc, argv);
}

static int run_list(int argc, char *const *argv)
{
	return run(&list_verb, argc, argv);
}

static int run_revoke(int argc, char *const *argv)
{
	return run(&revoke_verb, argc, argv);
}

int cli_key(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "create", run_create, "make a key and print it" },
		{ "list", run_list, "the keys, without their text" },
		{ "revoke", run_revoke, "end a key" },
	};
	return cli_dispatch("declaw key", "The API keys of a server, in its data directory.", commands,
			    DW_COUNT(commands), argc, argv);
}
