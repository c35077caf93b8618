/*
 * The least that polling costs: poller held|open PID... reads /proc/PID/statm of each once a second.
 *
 * "held" keeps a descriptor on each file and reads it by pread(2); "open" opens, reads and closes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static unsigned long sum; /* so that nothing is optimised away */

static void parse(const char *line)
{
	char *rest;
	strtoul(line, &rest, 10);
	unsigned long resident = strtoul(rest, &rest, 10);
	sum += resident - strtoul(rest, &rest, 10);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	int held = strcmp(argv[1], "held") == 0, many = argc - 2;
	char path[64], line[256];
	int *files = calloc((size_t)many, sizeof *files);
	struct rlimit limit;
	if (!files || getrlimit(RLIMIT_NOFILE, &limit))
		return 1;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	struct timespec due;
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (unsigned long poll = 0;; poll++, due.tv_sec++) {
		for (int k = 0; k < many; k++) {
			if (!held || poll == 0) {
				snprintf(path, sizeof path, "/proc/%s/statm", argv[k + 2]);
				files[k] = open(path, O_RDONLY | O_CLOEXEC);
			}
			ssize_t size = pread(files[k], line, sizeof line - 1, 0);
			if (size > 0) {
				line[size] = '\0';
				parse(line);
			}
			if (!held)
				close(files[k]);
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
}
