/* What every part of the driver uses: checks, random inputs, exact heap buffers. */
#ifndef SA_TEST_DRIVER_H
#define SA_TEST_DRIVER_H

#include <stdio.h>
#include <stdlib.h>

#include "reference.h"
#include "secagg_native.h"

static int failures;

#define CHECK(condition, ...)                                              \
    do {                                                                   \
        if (!(condition)) {                                                \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, sa_selected()); \
            fprintf(stderr, __VA_ARGS__);                                  \
            fputc('\n', stderr);                                           \
            if (++failures > 20)                                           \
                exit(1);                                                   \
        }                                                                  \
    } while (0)

/* SplitMix64: test inputs only. */
static uint64_t random_state = 251;
static uint64_t next_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void random_bytes(uint8_t *out, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        out[i] = (uint8_t)next_random();
}

static void *allocate(size_t nbytes)
{
    void *p = malloc(nbytes ? nbytes : 1);
    if (p == NULL)
        abort();
    return p;
}

static const size_t lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255, 256, 257, 300, 771};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
