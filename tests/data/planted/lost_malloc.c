/* Loses what it allocates: every "grow BYTES" on its input keeps blocks of 120 bytes that nobody frees. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile last;

__attribute__((noinline)) void remember(void)
{
    last = malloc(120);
    memset(last, 'x', 120);
}

__attribute__((noinline)) void serve(long bytes)
{
    for (; bytes > 0; bytes -= 120) {
        free(malloc(400));
        remember();
    }
}

int main(void)
{
    char line[100];
    long bytes;

    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "grow %ld", &bytes) != 1)
            break;
        serve(bytes);
        puts("grown");
        fflush(stdout);
    }
    return 0;
}
