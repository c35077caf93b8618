/* Loses what it allocates: every "grow BYTES" on its input keeps blocks of 120 bytes that nobody frees.
   "shred BYTES" frees every second block of many, so that malloc can give nothing of it back. */
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

static void shred(long bytes)
{
    static void *blocks[12000];
    long count = 0;

    for (; bytes > 0 && count < 12000; bytes -= 2000)
        blocks[count++] = memset(malloc(2000), 'x', 2000);
    while (count > 1)
        free(blocks[count -= 2]);
}

int main(void)
{
    char line[100];
    long bytes;

    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "grow %ld", &bytes) == 1)
            serve(bytes);
        else if (sscanf(line, "shred %ld", &bytes) == 1)
            shred(bytes);
        else
            break;
        puts("grown");
        fflush(stdout);
    }
    return 0;
}
