/*
 * Keeps cheap processes alive to be watched: forker COUNT [GROUPS] [BUSY] [GROWING] [CHURN] [PREFIX]
 *
 * Forks COUNT children named PREFIX0 .. PREFIX(GROUPS - 1) in turn, each with a few pages of its own. Of
 * them BUSY touch or give back pages every second, GROWING keep one page more every second, and CHURN
 * are replaced by new ones every second, the oldest first. Prints "ready" once they run. A line "replace N" on stdin
 * replaces the N oldest at once and is answered by "ok". All end with stdin, or with this process.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, OWN_PAGES = 16, BUSY_PAGES = 64, GROWN_PAGES = 65536, SECOND_MS = 1000 };

static long count, groups = 1, busy, growing, churn;
static const char *prefix = "lwchild";
static long started; /* children so far: the number of the next one */
static pid_t *children; /* a ring: the oldest is at `oldest` */
static long oldest;

static void touch(char *memory, long first, long pages)
{
	for (long page = first; page < first + pages; page++)
		memory[page * PAGE_BYTES] = 1;
}

static void work(char *memory, long number)
{
	long grown = OWN_PAGES;
	for (unsigned long second = 0;; second++) {
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
		if (number % count < growing) {
			touch(memory, grown, 1);
			grown += grown + 1 < GROWN_PAGES;
		} else if ((second + (unsigned long)number) % 8 == 7) {
			madvise(memory + OWN_PAGES * PAGE_BYTES, BUSY_PAGES * PAGE_BYTES, MADV_DONTNEED);
		} else {
			touch(memory, OWN_PAGES, 1 + (number + (long)second) % BUSY_PAGES);
		}
	}
}

static _Noreturn void live(long number, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	char *memory = mmap(NULL, (size_t)GROWN_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		_exit(1);
	touch(memory, 0, 1 + number % OWN_PAGES);
	if (number % count < growing + busy)
		work(memory, number);
	for (;;)
		pause();
}

static pid_t start(pid_t parent)
{
	long number = started++;
	char name[32]; /* the kernel keeps 15 characters */
	snprintf(name, sizeof name, "%s%ld", prefix, number % groups);
	prctl(PR_SET_NAME, name); /* the child has it from its first moment on */
	pid_t pid = fork();
	if (pid == 0)
		live(number, parent);
	prctl(PR_SET_NAME, "forker");
	if (pid < 0) {
		perror("fork");
		exit(1); /* the children end with us */
	}
	return pid;
}

static void replace(long many)
{
	pid_t parent = getpid();
	for (; many > 0; many--, oldest = (oldest + 1) % count) {
		kill(children[oldest], SIGKILL);
		waitpid(children[oldest], NULL, 0);
		children[oldest] = start(parent);
	}
}

static long argument(int argc, char **argv, int at, long otherwise)
{
	return argc > at ? atol(argv[at]) : otherwise;
}

int main(int argc, char **argv)
{
	count = argument(argc, argv, 1, 0);
	groups = argument(argc, argv, 2, 1);
	busy = argument(argc, argv, 3, 0);
	growing = argument(argc, argv, 4, 0);
	churn = argument(argc, argv, 5, 0);
	prefix = argc > 6 ? argv[6] : prefix;
	children = calloc((size_t)(count > 0 ? count : 1), sizeof *children);
	if (count < 1 || groups < 1 || churn > count || !children)
		return 2;
	for (long k = 0; k < count; k++)
		children[k] = start(getpid());
	puts("ready");
	fflush(stdout);

	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[64];
	for (;;) {
		int found = poll(&input, 1, churn ? SECOND_MS : -1);
		if (found == 0) {
			replace(churn);
			continue;
		}
		ssize_t size = read(STDIN_FILENO, line, sizeof line - 1);
		if (size <= 0)
			break;
		line[size] = '\0';
		long many = 0;
		if (sscanf(line, "replace %ld", &many) == 1)
			replace(many < count ? many : count);
		puts("ok");
		fflush(stdout);
	}
	for (long k = 0; k < count; k++)
		kill(children[k], SIGKILL);
	for (long k = 0; k < count; k++)
		waitpid(children[k], NULL, 0);
	return 0;
}
