/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of a corpus folder, each input ending right before an unmapped page. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prefixes shorter than this are all run; of longer inputs the whole and every 97th prefix are. */
#define SWEEP_ALL 512

static void run_at_guard(const uint8_t *data, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (size + page - 1) / page * page + page;
	uint8_t *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + room - page, page, PROT_NONE) != 0) {
		perror("mmap");
		exit(2);
	}
	uint8_t *at = map + room - page - size;
	if (size)
		memcpy(at, data, size);
	LLVMFuzzerTestOneInput(at, size);
	munmap(map, room);
}

static int replay_file(const char *dir, const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		return -1;
	}
	static uint8_t data[1 << 20];
	size_t size = fread(data, 1, sizeof(data), f);
	fclose(f);
	for (size_t n = 0; n < size; n += n < SWEEP_ALL ? 1 : 97)
		run_at_guard(data, n);
	run_at_guard(data, size);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: replay FOLDER\n");
		return 2;
	}
	DIR *d = opendir(argv[1]);
	if (!d) {
		perror(argv[1]);
		return 2;
	}
	unsigned files = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		if (replay_file(argv[1], e->d_name) != 0)
			return 2;
		files++;
	}
	closedir(d);
	printf("%u inputs replayed\n", files);
	return files ? 0 : 1;
}
