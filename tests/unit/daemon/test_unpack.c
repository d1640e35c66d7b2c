/* SPDX-License-Identifier: Apache-2.0 */
/* Running declaw-unpack: what it reports is read with suspicion, and a program that does not do its part is ended. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "daemon/unpack_run.h"

#define COUNTS                                                                                        \
	"\"files\":1,\"dirs\":2,\"links\":3,\"bytes\":4,\"dropped\":5,\"dropped_links\":1,\"dropped_" \
	"kinds\":1,\"dropped_paths\":1,\"dropped_conflicts\":2"

struct row {
	const char *name, *text, *code; /* code NULL: a good report */
	enum dw_err_kind kind;
};

static const struct row rows[] = {
	{ "good", "{" COUNTS ",\"error\":null}", NULL, 0 },
	{ "bad archive", "{" COUNTS ",\"error\":{\"code\":\"bad_archive\",\"message\":\"m\"}}", "bad_archive",
	  DW_ERR_INVALID },
	{ "too large", "{" COUNTS ",\"error\":{\"code\":\"too_large\",\"message\":\"m\"}}", "too_large",
	  DW_ERR_TOO_LARGE },
	{ "disk full", "{" COUNTS ",\"error\":{\"code\":\"no_space\",\"message\":\"m\"}}", "no_space",
	  DW_ERR_TOO_LARGE },
	{ "a code of its own", "{" COUNTS ",\"error\":{\"code\":\"unauthorized\",\"message\":\"m\"}}", "internal",
	  DW_ERR_INTERNAL },
	{ "nothing", "", "internal", DW_ERR_INTERNAL },
	{ "no object", "[]", "internal", DW_ERR_INTERNAL },
	{ "no error", "{" COUNTS "}", "internal", DW_ERR_INTERNAL },
	{ "no counts", "{\"error\":null}", "internal", DW_ERR_INTERNAL },
	{ "error of no shape", "{" COUNTS ",\"error\":7}", "internal", DW_ERR_INTERNAL },
	{ "negative", "{\"files\":-1,\"dirs\":2,\"links\":3,\"bytes\":4,\"dropped\":5,\"error\":null}", "internal",
	  DW_ERR_INTERNAL },
	{ "twice", "{" COUNTS ",\"files\":9,\"error\":null}", "internal", DW_ERR_INTERNAL },
};

static void test_report(void **state)
{
	const struct row *r = *state;
	struct unpack_counts c = { 0 };
	struct dw_err err = { 0 };
	if (!r->code) {
		assert_int_equal(unpack_report_parse(r->text, strlen(r->text), &c, &err), 0);
		assert_true(c.files == 1 && c.dirs == 2 && c.links == 3 && c.bytes == 4 && c.dropped == 5);
		return;
	}
	assert_int_equal(unpack_report_parse(r->text, strlen(r->text), &c, &err), -1);
	assert_string_equal(err.code, r->code);
	assert_int_equal(err.kind, r->kind);
}

static void test_message_is_plain(void **state)
{
	static const char text[] = "{" COUNTS ",\"error\":{\"code\":\"bad_archive\",\"message\":\"\\u001b[2J\"}}";
	struct unpack_counts c;
	struct dw_err err = { 0 };
	assert_int_equal(unpack_report_parse(text, sizeof(text) - 1, &c, &err), -1);
	assert_null(strchr(err.message, '\x1b'));
}

/* A script in the program's place, in a directory of its own. */
struct stage {
	char dir[64], program[96];
	int fd;
	struct unpack_order order;
};

static void open_stage(struct stage *s, const char *script)
{
	make_dir(s->dir);
	snprintf(s->program, sizeof(s->program), "%s/unpack", s->dir);
	FILE *f = fopen(s->program, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", script);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(s->program, 0700), 0);
	s->fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->fd >= 0);
	s->order = (struct unpack_order){
		.path = s->program, .dir_fd = s->fd, .from_fd = -1, .stop_fd = -1, .max_bytes = 1000, .max_entries = 10
	};
}

static void close_stage(struct stage *s)
{
	close(s->fd);
	remove_dir(s->dir);
}

#define GOOD "echo '{" COUNTS ",\"error\":null}'"

static void test_fed(void **state)
{
	struct stage s;
	struct unpack_counts c;
	struct dw_err err = { 0 };
	open_stage(&s, "cat > got; echo \"$@\" > args; " GOOD);
	DW_AUTO(unpack_free) struct unpack_run *u = NULL;
	assert_int_equal(unpack_start(&s.order, &u, &err), 0);
	static char block[1 << 20];
	for (int i = 0; i < 3; i++)
		assert_int_equal(unpack_feed(u, block, sizeof(block), &err), 0);
	assert_int_equal(unpack_finish(u, &c, &err), 0);
	struct stat st;
	assert_int_equal(fstatat(s.fd, "got", &st, 0), 0); /* its working directory is the target */
	assert_int_equal(st.st_size, 3 << 20);
	char path[96], args[64] = "";
	snprintf(path, sizeof(path), "%s/args", s.dir);
	FILE *f = fopen(path, "re");
	assert_non_null(fgets(args, sizeof(args), f));
	fclose(f);
	assert_string_equal(args, "volume 1000 10\n");
	close_stage(&s);
}

static void test_from_a_file(void **state)
{
	struct stage s;
	struct unpack_counts c;
	struct dw_err err = { 0 };
	open_stage(&s, "read line; test \"$line\" = '#!/bin/sh' && test \"$1\" = template && " GOOD);
	s.order.from_fd = open(s.program, O_RDONLY | O_CLOEXEC);
	s.order.what = UNPACK_RUN_TEMPLATE;
	DW_AUTO(unpack_free) struct unpack_run *u = NULL;
	assert_int_equal(unpack_start(&s.order, &u, &err), 0);
	assert_int_equal(unpack_finish(u, &c, &err), 0);
	close(s.order.from_fd);
	close_stage(&s);
}

/* It gives up early: whoever feeds it hears why. */
static void test_early_refusal(void **state)
{
	struct stage s;
	struct dw_err err = { 0 };
	open_stage(&s, "echo '{" COUNTS ",\"error\":{\"code\":\"too_large\",\"message\":\"big\"}}'; exit 1");
	DW_AUTO(unpack_free) struct unpack_run *u = NULL;
	assert_int_equal(unpack_start(&s.order, &u, &err), 0);
	static const char block[1 << 16];
	int r = 0;
	for (int i = 0; i < 1000 && r == 0; i++)
		r = unpack_feed(u, block, sizeof(block), &err);
	assert_int_equal(r, -1);
	assert_string_equal(err.code, "too_large");
	assert_string_equal(err.message, "big");
	close_stage(&s);
}

/* A good report does not help one that is ended by a signal, that fails, or that stays when it has closed its output. */
static void test_bad_ends(void **state)
{
	static const char *const scripts[] = {
		"kill -9 $$", GOOD "; exit 3",        GOOD "; kill -9 $$",
		":",          "yes | head -c 100000", GOOD "; exec >&- 2>&-; while :; do sleep 1; done"
	};
	for (size_t i = 0; i < DW_COUNT(scripts); i++) {
		struct stage s;
		struct unpack_counts c;
		struct dw_err err = { 0 };
		open_stage(&s, scripts[i]);
		DW_AUTO(unpack_free) struct unpack_run *u = NULL;
		assert_int_equal(unpack_start(&s.order, &u, &err), 0);
		assert_int_equal(unpack_finish(u, &c, &err), -1);
		assert_string_equal(err.code, "internal");
		close_stage(&s);
	}
}

static void test_stop(void **state)
{
	struct stage s;
	struct unpack_counts c;
	struct dw_err err = { 0 };
	open_stage(&s, "exec sleep 1000");
	s.order.stop_fd = eventfd(1, EFD_CLOEXEC);
	DW_AUTO(unpack_free) struct unpack_run *u = NULL;
	assert_int_equal(unpack_start(&s.order, &u, &err), 0);
	assert_int_equal(unpack_finish(u, &c, &err), -1);
	assert_string_equal(err.code, "stopping");
	close(s.order.stop_fd);
	close_stage(&s);
}

static void test_how_many(void **state)
{
	struct stage s;
	struct unpack_run *all[64] = { NULL };
	struct dw_err err = { 0 };
	size_t n = 0;
	open_stage(&s, "exec sleep 1000");
	while (n < DW_COUNT(all) && unpack_start(&s.order, &all[n], &err) == 0)
		n++;
	assert_true(n > 1 && n < DW_COUNT(all));
	assert_int_equal(err.kind, DW_ERR_LIMIT);
	unpack_free(all[--n]);
	assert_int_equal(unpack_start(&s.order, &all[n], &err), 0);
	for (size_t i = 0; i <= n; i++)
		unpack_free(all[i]);
	close_stage(&s);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	ROW_TESTS(rows, test_report);
	const struct CMUnitTest more[] = {
		cmocka_unit_test(test_message_is_plain), cmocka_unit_test(test_fed),
		cmocka_unit_test(test_from_a_file),      cmocka_unit_test(test_early_refusal),
		cmocka_unit_test(test_bad_ends),         cmocka_unit_test(test_stop),
		cmocka_unit_test(test_how_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(more, NULL, NULL);
}
