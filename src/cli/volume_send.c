/* SPDX-License-Identifier: Apache-2.0 */
/* declaw volume create and download: archives on their way. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/place.h"
#include "cli/text.h"
#include "cli/volume.h"

static const struct cli_option options[] = {
	{ "-q", NULL, volume_set_quiet, "no progress on standard error" },
	CALL_OPTIONS,
};

static void moved(void *arg, int64_t bytes)
{
	progress_move(&((struct volume_job *)arg)->progress, bytes);
}

static int here(const char *path, struct dw_err *err)
{
	const int number = errno;
	char shown[200];
	cli_printable(path, strlen(path), shown, sizeof(shown));
	return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "%s: %s", shown, strerror(number));
}

/* A folder is packed; a file goes as it is. size -1: nobody knows. */
static int open_source(const char *from, int *ret_fd, int64_t *ret_size, struct dw_err *err)
{
	struct stat st;
	if (strcmp(from, "-") == 0) {
		*ret_fd = dup(STDIN_FILENO);
		*ret_size = -1;
		return *ret_fd < 0 ? here(from, err) : 0;
	}
	dw_autoclose int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return here(from, err);
	if (S_ISDIR(st.st_mode))
		return volume_pack(from, ret_fd, ret_size, err);
	*ret_size = S_ISREG(st.st_mode) ? st.st_size : -1;
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}

static int upload(struct volume_job *j, const char *path, json_t **ret, struct dw_err *err)
{
	dw_autoclose int fd = -1;
	int64_t size = -1;
	const char *from = j->call.word[1];
	if (open_source(from, &fd, &size, err) < 0)
		return -1;
	/* An empty file is no archive, and nothing at all would make an empty volume. */
	if (size == 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "the archive is empty");
	const struct client_request rq = {
		.method = "POST",
		.path = path,
		.arg = j,
		.upload = true,
		.upload_fd = fd,
		.upload_size = size,
		.moved = moved,
		.patient = true, /* it unpacks when all of it is there */
	};
	progress_init(&j->progress, j->quiet || j->call.json);
	progress_begin(&j->progress, from, size);
	const int r = client_do(j->call.client, &rq, ret, err);
	progress_end(&j->progress);
	return r;
}

static int check_name(void *job, struct dw_err *err)
{
	const struct volume_job *j = job;
	if (!*j->call.word[0])
		return call_invalid(err, "a volume needs a name");
	return call_check_utf8("the name", j->call.word[0], err);
}

static int create(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	dw_autofree char *name = cli_percent(j->call.word[0]);
	dw_autofree char *path = NULL;
	json_t *answer = NULL;
	if (!name || asprintf(&path, "/volumes%s?name=%s", j->call.word_n > 1 ? "" : "/empty", name) < 0) {
		path = NULL;
		return call_no_memory(err);
	}
	const int r = j->call.word_n > 1 ? upload(j, path, &answer, err)
					 : client_json(j->call.client, "POST", path, NULL, &answer, err);
	return r < 0 ? -1 : volume_made(j, answer, err);
}

struct sink {
	struct volume_job *job;
	int fd;
	int64_t done;
};

static int take(void *arg, const char *p, size_t n, struct dw_err *err)
{
	struct sink *s = arg;
	s->done += (int64_t)n;
	progress_move(&s->job->progress, s->done);
	return call_write(s->fd, p, n, err);
}

/* Into a file that takes its place when it is whole. */
static int to_file(struct volume_job *j, struct client_request *rq, const char *to, struct dw_err *err)
{
	dw_autofree char *temporary = NULL;
	struct sink *s = rq->arg;
	if (asprintf(&temporary, "%s.XXXXXX", to) < 0) {
		temporary = NULL;
		return call_no_memory(err);
	}
	dw_autoclose int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return here(to, err);
	s->fd = fd;
	progress_init(&j->progress, j->quiet);
	progress_begin(&j->progress, to, -1);
	int r = client_do(j->call.client, rq, NULL, err);
	progress_end(&j->progress);
	const mode_t mask = umask(0);
	umask(mask);
	if (r == 0 && (fchmod(fd, 0666 & ~mask) < 0 || rename(temporary, to) < 0))
		r = here(to, err);
	if (r < 0)
		unlink(temporary);
	return r;
}

static int check_download(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	if (j->call.word_n > 1 && !*j->call.word[1])
		return call_invalid(err, "the file needs a name");
	return call_check_first_id(job, err);
}

static int download(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	const char *id = j->call.word[0], *to = j->call.word_n > 1 ? j->call.word[1] : "-";
	dw_autofree char *path = NULL;
	struct sink s = { .job = j, .fd = STDOUT_FILENO };
	if (asprintf(&path, "/volumes/%s/download", id) < 0) {
		path = NULL;
		return call_no_memory(err);
	}
	struct client_request rq = { .method = "GET", .path = path, .sink = take, .arg = &s };
	if (strcmp(to, "-") != 0)
		return to_file(j, &rq, to, err);
	if (isatty(STDOUT_FILENO))
		return call_invalid(err, "an archive is nothing for a terminal: give a file");
	return client_do(j->call.client, &rq, NULL, err);
}

static const struct call_command create_command = {
	"volume create NAME [FOLDER|ARCHIVE]",
	"Makes a volume of a folder's files, or of a gzipped tar (- is standard input), and prints its id; without\n"
	"either, an empty one.",
	options,
	DW_COUNT(options),
	1,
	2,
	check_name,
	create,
};
static const struct cli_option download_options[] = {
	{ "-q", NULL, volume_set_quiet, "no progress on standard error" },
	CALL_SERVER_OPTIONS,
};
static const struct call_command download_command = {
	"volume download ID [FILE]",
	"Writes a volume's archive, a gzipped tar, to a file or to standard output.",
	download_options,
	DW_COUNT(download_options),
	1,
	2,
	check_download,
	download,
};

int volume_create(int argc, char *const *argv)
{
	return call_main(&create_command, argc, argv, &(struct volume_job){ 0 });
}

int volume_download(int argc, char *const *argv)
{
	return call_main(&download_command, argc, argv, &(struct volume_job){ 0 });
}
