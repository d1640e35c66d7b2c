/* SPDX-License-Identifier: Apache-2.0 */
/* Command line, one process for each case, and the lines they print. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define AT_ONCE      12
#define CASE_SECONDS 20
#define CASES_MAX    256

const char *const eg_client_names[EG_CLIENTS] = {
	[EG_NOTHING] = "nothing",         [EG_UNAVAILABLE] = "unavailable", [EG_STRIPPED] = "stripped",
	[EG_REJECTED] = "rejected",       [EG_CLOSED] = "closed",           [EG_REFUSED] = "refused",
	[EG_UNREACHABLE] = "unreachable", [EG_TIMEOUT] = "timeout",         [EG_SILENT] = "silent",
	[EG_CONNECTED] = "connected",     [EG_ANSWERED] = "answered",
};
static const struct eg_case *const tables[] = { eg_cases_names, eg_cases_dns,    eg_cases_answers, eg_cases_ip,
						eg_cases_raw,   eg_cases_kernel, eg_cases_tls,     eg_cases_starttls,
						eg_cases_quic,  eg_cases_http };
int eg_inherited = -1;

static struct eg_config config;
static bool selected[CASES_MAX];
static bool any_selected, families[2] = { true, true };

struct job {
	const struct eg_case *c;
	bool six;
	pid_t pid;
	int fd;
	uint64_t end_ms;
	struct eg_buf line;
};
static unsigned printed, failed_controls;

void eg_note(struct eg_run *r, enum eg_which arm, enum eg_client what, int error, uint64_t since_ms)
{
	struct eg_result *a = &r->arm[arm];
	const uint64_t ms = eg_now_ms() - since_ms;

	a->steps++;
	a->ok += what == EG_ANSWERED || what == EG_STRIPPED;
	if (what > a->worst)
		a->worst = what;
	if (error)
		a->error = error;
	if (ms > a->ms)
		a->ms = ms;
}

void eg_remark(struct eg_run *r, enum eg_which arm, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->arm[arm].note, sizeof(r->arm[arm].note), format, args);
	va_end(args);
}

void eg_aim_ip(struct eg_run *r, uint8_t proto, const struct eg_addr *a, uint16_t port)
{
	if (a->family && r->aim_n < EG_AIMS)
		r->aim[r->aim_n++] = (struct eg_aim){ .proto = proto, .addr = *a, .port = port };
}

void eg_aim_name(struct eg_run *r, const char *name)
{
	if (r->aim_n >= EG_AIMS)
		return;
	struct eg_aim *a = &r->aim[r->aim_n++];
	*a = (struct eg_aim){ 0 };
	for (size_t i = 0; name[i] && i + 1 < sizeof(a->name); i++)
		a->name[i] = name[i];
}

static void put_result(struct eg_buf *b, const char *key, const struct eg_result *a)
{
	eg_text(b, ", \"%s\": ", key);
	if (!a->steps) {
		eg_text(b, "null");
		return;
	}
	eg_text(b, "{\"client\": \"%s\", \"ms\": %llu, \"steps\": %u, \"answered\": %u", eg_client_names[a->worst],
		(unsigned long long)a->ms, a->steps, a->ok);
	if (a->error)
		eg_text(b, ", \"errno\": %d", a->error);
	eg_text(b, ", \"ok\": %s", a->ok == a->steps ? "true" : "false");
	if (*a->note) {
		eg_text(b, ", \"note\": ");
		eg_json(b, a->note, strlen(a->note));
	}
	eg_text(b, "}");
}

static void put_aims(struct eg_buf *b, const struct eg_run *r)
{
	char text[INET6_ADDRSTRLEN];

	eg_text(b, ", \"aims\": [");
	for (size_t i = 0; i < r->aim_n; i++) {
		const struct eg_aim *a = &r->aim[i];
		eg_text(b, "%s{", i ? ", " : "");
		if (a->proto) {
			eg_text(b, "\"proto\": %u, \"addr\": \"%s\", \"port\": %u}", a->proto,
				eg_addr_text(&a->addr, text), a->port);
			continue;
		}
		eg_text(b, "\"name\": ");
		eg_json(b, a->name, strlen(a->name));
		eg_text(b, "}");
	}
	eg_text(b, "]");
}

static void put_head(struct eg_buf *b, const struct eg_case *c, bool six)
{
	eg_text(b, "{\"case\": \"EC-%03u\", \"technique\": \"%s\", \"family\": %d, \"uid\": %u", c->number,
		c->technique, six ? 6 : 4, (unsigned)getuid());
}

static const char *expects(const struct eg_case *c)
{
	return c->flags & EG_WORKS       ? "works"
	       : c->flags & EG_NO_RECORD ? "silent"
	       : c->flags & EG_PACKETS   ? "silent, maybe a record"
					 : "silent and a record";
}

static void run_case(const struct eg_case *c, bool six, int fd)
{
	struct eg_run r = { .config = &config, .c = c, .six = six };
	struct eg_buf b = { 0 };
	const double start = eg_wall();

	for (int arm = 0; arm < 2; arm++)
		snprintf(r.nonce[arm], sizeof(r.nonce[arm]), "eg%sx%03u%c%c", config.run, c->number, six ? '6' : '4',
			 arm ? 'c' : 'd');
	c->run(&r);
	put_head(&b, c, six);
	put_result(&b, "denied", &r.arm[EG_DENIED]);
	put_result(&b, "control", &r.arm[EG_CONTROL]);
	put_aims(&b, &r);
	eg_text(&b, ", \"nonce\": [\"%s\", \"%s\"], \"expect\": \"%s\", \"from\": %.3f, \"to\": %.3f}\n", r.nonce[0],
		r.nonce[1], expects(c), start, eg_wall());
	for (size_t at = 0; at < b.n;) {
		ssize_t n = write(fd, b.p + at, b.n - at);
		if (n <= 0)
			_exit(1);
		at += (size_t)n;
	}
	_exit(r.arm[EG_CONTROL].steps && r.arm[EG_CONTROL].ok == r.arm[EG_CONTROL].steps ? 0 : 3);
}

static void job_start(struct job *j, const struct eg_case *c, bool six)
{
	int ends[2];

	*j = (struct job){ .c = c, .six = six, .fd = -1, .end_ms = eg_now_ms() + CASE_SECONDS * 1000u };
	if (pipe2(ends, O_CLOEXEC) < 0 || (j->pid = fork()) < 0) {
		perror("egress-probe");
		exit(1);
	}
	if (j->pid == 0) {
		setpgid(0, 0);
		close(ends[0]);
		run_case(c, six, ends[1]);
	}
	close(ends[1]);
	j->fd = ends[0];
}

/* A case that ended without its line, or did not end: that is said, and is no pass. */
static void job_end(struct job *j, bool stuck)
{
	int status = 0;

	if (stuck)
		kill(-j->pid, SIGKILL);
	kill(j->pid, stuck ? SIGKILL : 0);
	while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (j->line.n == 0 || j->line.p[j->line.n - 1] != '\n') {
		j->line.n = 0;
		put_head(&j->line, j->c, j->six);
		eg_text(&j->line,
			", \"denied\": null, \"control\": null, \"aims\": [], \"expect\": \"%s\", \"broken\": "
			"\"%s\"}\n",
			expects(j->c), stuck ? "it did not end" : "it died");
	}
	printed++;
	failed_controls += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fwrite(j->line.p, 1, j->line.n, stdout);
	fflush(stdout);
	close(j->fd);
	eg_free(&j->line);
	j->pid = 0;
}

static void jobs_wait(struct job *jobs, size_t n)
{
	struct pollfd p[AT_ONCE];
	uint8_t part[4096];
	uint64_t now = eg_now_ms(), next = now + 1000;

	for (size_t i = 0; i < n; i++) {
		p[i] = (struct pollfd){ .fd = jobs[i].pid ? jobs[i].fd : -1, .events = POLLIN };
		if (jobs[i].pid && jobs[i].end_ms < next)
			next = jobs[i].end_ms;
	}
	poll(p, n, next > now ? (int)(next - now) : 0);
	for (size_t i = 0; i < n; i++) {
		if (!jobs[i].pid)
			continue;
		if (p[i].revents) {
			ssize_t got = read(jobs[i].fd, part, sizeof(part));
			if (got > 0)
				eg_put(&jobs[i].line, part, (size_t)got);
			else
				job_end(&jobs[i], false);
		} else if (eg_now_ms() >= jobs[i].end_ms) {
			job_end(&jobs[i], true);
		}
	}
}

static bool wanted(const struct eg_case *c, unsigned turn, bool six)
{
	if (any_selected && !selected[c->number])
		return false;
	if (c->flags & EG_ONCE && six && families[0])
		return false;
	return (c->flags & EG_LAST ? 2u : c->flags & EG_SOLO ? 1u : 0u) == turn;
}

static void run_all(unsigned turn, size_t at_once)
{
	struct job jobs[AT_ONCE] = { 0 };
	size_t busy;

	for (size_t t = 0; t < EG_COUNT(tables); t++) {
		for (const struct eg_case *c = tables[t]; c->number; c++) {
			for (int six = 0; six < 2; six++) {
				if (!families[six] || !wanted(c, turn, six))
					continue;
				size_t slot = at_once;
				while (slot == at_once) {
					for (slot = 0; slot < at_once && jobs[slot].pid; slot++)
						;
					if (slot == at_once)
						jobs_wait(jobs, at_once);
				}
				job_start(&jobs[slot], c, six);
			}
		}
	}
	do {
		busy = 0;
		for (size_t i = 0; i < at_once; i++)
			busy += jobs[i].pid != 0;
		if (busy)
			jobs_wait(jobs, at_once);
	} while (busy);
}

static int list(void)
{
	for (size_t t = 0; t < EG_COUNT(tables); t++) {
		for (const struct eg_case *c = tables[t]; c->number; c++)
			printf("{\"case\": \"EC-%03u\", \"section\": \"%c\", \"technique\": \"%s\", \"families\": "
			       "[%s], \"expect\": \"%s\", "
			       "\"defences\": \"%s\"}\n",
			       c->number, c->section, c->technique, c->flags & EG_ONCE ? "4" : "4, 6", expects(c),
			       c->defences ? c->defences : "");
	}
	return 0;
}

static int select_cases(const char *text)
{
	for (const char *p = text; *p;) {
		char *end;
		if (strncasecmp(p, "EC-", 3) == 0)
			p += 3;
		unsigned long n = strtoul(p, &end, 10);
		if (end == p || n == 0 || n >= CASES_MAX)
			return -1;
		selected[n] = any_selected = true;
		p = end + (*end == ',');
		if (*end && *end != ',')
			return -1;
	}
	return any_selected ? 0 : -1;
}

static int usage(void)
{
	fprintf(stderr, "usage: egress-probe --list\n"
			"       egress-probe --config FILE [--KEY VALUE ...] [--case EC-072,EC-134] [--family 4|6] "
			"[--run-id 8-HEX-DIGITS]\n"
			"Tries ways out of the sandbox it runs in; one JSON line for each case. The verdict is the far "
			"side's.\n");
	return 2;
}

static int options(int argc, char **argv)
{
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc || strncmp(argv[i], "--", 2) != 0)
			return -1;
		const char *key = argv[i] + 2, *value = argv[i + 1];
		bool ok = true;
		if (strcmp(key, "config") == 0) {
			ok = eg_config_read(&config, value) == 0;
		} else if (strcmp(key, "case") == 0) {
			ok = select_cases(value) == 0;
		} else if (strcmp(key, "family") == 0) {
			ok = strcmp(value, "4") == 0 || strcmp(value, "6") == 0;
			families[0] = *value == '4';
			families[1] = *value == '6';
		} else {
			ok = eg_config_set(&config, strcmp(key, "run-id") == 0 ? "run" : key, value);
		}
		if (!ok) {
			fprintf(stderr, "egress-probe: %s %s: not understood\n", argv[i], value);
			return -1;
		}
	}
	return config.at[EG_A1][0].family || config.at[EG_A1][1].family ? 0 : -1;
}

static void look_at_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;

	if (!d)
		return;
	eg_inherited = 0;
	while ((e = readdir(d)) != NULL) {
		long n = strtol(e->d_name, NULL, 10);
		eg_inherited += n > 2 && n != dirfd(d);
	}
	closedir(d);
}

/* Whom the sandbox asks, where the configuration does not say: for a family that has none, the other's. */
static void default_resolver(void)
{
	struct eg_addr *to = config.at[EG_RESOLVER], a;
	char line[256];
	FILE *f = to[0].family || to[1].family ? NULL : fopen("/etc/resolv.conf", "re");

	while (f && fgets(line, sizeof(line), f)) {
		char *save = NULL;
		const char *word = strtok_r(line, " \t\n", &save),
			   *value = word ? strtok_r(NULL, " \t\n", &save) : NULL;
		if (value && strcmp(word, "nameserver") == 0 && eg_addr_parse(value, &a) && !to[a.family == 6].family)
			to[a.family == 6] = a;
	}
	if (f)
		fclose(f);
	for (int six = 0; six < 2; six++) {
		if (!to[six].family)
			to[six] = to[!six];
	}
}

int main(int argc, char **argv)
{
	uint32_t run;

	look_at_descriptors();
	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list();
	eg_config_init(&config);
	if (getrandom(&run, sizeof(run), 0) == sizeof(run))
		snprintf(config.run, sizeof(config.run), "%08x", run);
	if (argc < 2 || options(argc, argv) < 0)
		return usage();
	default_resolver();
	for (int six = 0; six < 2; six++)
		families[six] = families[six] && config.at[EG_A1][six].family;
	signal(SIGPIPE, SIG_IGN);
	const double start = eg_wall();
	run_all(0, AT_ONCE);
	run_all(1, 1);
	run_all(2, 1);
	printf("{\"summary\": {\"run\": \"%s\", \"uid\": %u, \"lines\": %u, \"controls_failed\": %u, \"seconds\": "
	       "%.1f}}\n",
	       config.run, (unsigned)getuid(), printed, failed_controls, eg_wall() - start);
	return failed_controls ? 3 : 0;
}
