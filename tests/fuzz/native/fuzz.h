/* What every C target uses: decisions read from the input, buffers of exactly their length at odd addresses, and every
 * implementation against the portable one. */
#ifndef SA_FUZZ_H
#define SA_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secagg_native.h"

#define MUST(condition)                                                                                     \
    do {                                                                                                    \
        if (!(condition)) {                                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, sa_selected(), #condition);              \
            abort();                                                                                        \
        }                                                                                                   \
    } while (0)

struct recipe {
    const uint8_t *data;
    size_t left;
};

static uint64_t number(struct recipe *r, unsigned bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && r->left > 0; bytes--, r->data++, r->left--)
        value = value << 8 | *r->data;
    return value;
}

static size_t below(struct recipe *r, size_t count)
{
    return (size_t)(number(r, count > 256 ? 2 : 1) % count);
}

/* The rest of the input, again and again, and then zeros if there is none. */
static void fill(struct recipe *r, void *out, size_t nbytes)
{
    uint8_t *to = out;
    if (r->left == 0) {
        memset(out, 0, nbytes);
        return;
    }
    for (size_t i = 0; i < nbytes; i++)
        to[i] = r->data[i % r->left] ^ (uint8_t)(i / r->left * 29);
}

/* A buffer whose first byte is `shift` bytes into a heap block that ends with it: reading or writing one byte too far is seen. */
struct exact {
    uint8_t *block, *at;
    size_t nbytes;
};

static struct exact exact(size_t nbytes, size_t shift)
{
    struct exact made = {malloc(nbytes + shift + (nbytes + shift == 0)), NULL, nbytes};
    MUST(made.block != NULL);
    made.at = made.block + shift;
    return made;
}

static struct exact copy_of(struct exact from, size_t shift)
{
    struct exact made = exact(from.nbytes, shift);
    memcpy(made.at, from.at, from.nbytes);
    return made;
}

static void drop(struct exact made)
{
    free(made.block);
}

/* Runs `once(recipe, first)` on the portable implementation, then on every one of this machine; it compares with what it kept. */
static void on_each(void (*once)(struct recipe, int), struct recipe r)
{
    MUST(sa_select("portable") == SA_OK);
    once(r, 1);
    for (size_t i = 0; sa_available(i) != NULL; i++) {
        MUST(sa_select(sa_available(i)) == SA_OK);
        once(r, 0);
    }
}

/* Keeps what the portable implementation gave, and holds the others to it. */
static struct exact kept_output;
static int kept_code;

static void agree(int first, int code, const void *output, size_t nbytes)
{
    if (first) {
        free(kept_output.block);
        kept_output = exact(nbytes, 0);
        memcpy(kept_output.at, output, nbytes);
        kept_code = code;
    }
    MUST(code == kept_code && nbytes == kept_output.nbytes && memcmp(output, kept_output.at, nbytes) == 0);
}

#endif
