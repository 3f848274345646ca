/* Masks modulo a product of primes: for primes that every implementation has kernels of its own for, and for larger ones. */
#include "driver_hint_table.h"

#define HINT_FIRST 5

static uint64_t *ct_hint_thresholds(void)
{
    static uint64_t thresholds[2 * HINT_THRESHOLDS];
    hint_thresholds(thresholds, HINT_THRESHOLDS, 3);
    return thresholds;
}

CASE(sa_hint_gaussian)
{
    enum { N = 1203 };
    const size_t scratch_bytes = sa_hint_scratch_bytes(1024, 0);
    const uint64_t *const thresholds = ct_hint_thresholds();
    uint8_t *key = SECRET(key, 16, ANY), *scratch = SECRET(scratch, scratch_bytes, ANY);
    int64_t *out = SECRET(out, 8 * N, ANY);
    CALL(sa_hint_gaussian(thresholds, HINT_THRESHOLDS, out, N, key, 7, 5, scratch, scratch_bytes));
    REACHED(out, 8 * N);
}

/* Length of primes, their number, the width of a value, values a coefficient, the lane. */
static const struct {
    unsigned bits, primes, width, per;
    int lane;
} ct_hints[] = {
    {50, 2, 16, 5, 0},
    {46, 2, 23, 3, 1},
#ifndef CT_TRACE
    {60, 2, 55, 1, 2},
    {60, 1, 11, 3, 0},
#endif
};

/* The chunk of setting k: a whole polynomial and a part of another. */
static struct hint ct_hint(size_t k)
{
    static uint64_t *tables[COUNT(ct_hints)], *table[COUNT(ct_hints)];
    struct hint h = {.degree = 1024, .primes = ct_hints[k].primes, .bits = ct_hints[k].bits, .width = ct_hints[k].width,
                     .per = ct_hints[k].per, .lane = ct_hints[k].lane, .spread = 64};
    const size_t words = sa_ring_table_words(h.degree), rest = 131;
    hint_primes(h.bits, h.primes, h.q);
    if (tables[k] == NULL) {
        tables[k] = allocate(8 * h.primes * words);
        for (size_t i = 0; i < h.primes; i++) {
            uint64_t *const ring = ring_table(h.degree, h.q[i]);
            memcpy(tables[k] + i * words, ring, 8 * words);
            free(ring);
        }
        table[k] = hint_table(&h);
    }
    h.tables = tables[k];
    h.table = table[k];
    h.n = (h.degree + rest) * h.per;
    h.words = h.primes * (h.degree + rest);
    h.payload_bytes = h.primes * (h.degree * h.bits / 8 + (rest * h.bits + 7) / 8);
    h.scratch_bytes = sa_hint_scratch_bytes(h.degree, h.primes);
    return h;
}

#define EACH_HINT(step)                             \
    for (size_t k = 0; k < COUNT(ct_hints); k++) {  \
        ct_used = 0;                                \
        ct_secrets[0] = 0;                          \
        const struct hint h = ct_hint(k);           \
        const size_t scratch_bytes = h.scratch_bytes; \
        step                                        \
    }

/* Values of the lane's type below 2^width. */
static void ct_fit(const struct hint *h, uint8_t *values)
{
    const size_t size = (size_t)2 << h->lane;
    for (size_t i = 0; i < h->n; i++) {
        uint64_t v = 0;
        memcpy(&v, values + i * size, size);
        v &= UINT64_MAX >> (64 - h->width);
        memcpy(values + i * size, &v, size);
    }
}

CASE(sa_hint_mask)
{
    EACH_HINT(const size_t nbytes = h.n << (h.lane + 1); uint8_t *values = SECRET(values, nbytes, ANY);
              uint64_t *s = SECRET(secret, 8 * h.primes * h.degree, BELOW(h.q[h.primes - 1]));
              uint8_t *error_key = SECRET(error_key, 16, ANY); uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY);
              uint8_t *public_key = room(16); uint8_t *out = room(h.payload_bytes);
              ct_fit(&h, values);
              CALL(sa_hint_mask(h.tables, h.table, s, values, h.lane, h.n, error_key, public_key, HINT_FIRST, out,
                                h.payload_bytes, scratch, scratch_bytes));
              REACHED(out, h.payload_bytes);)
}

CASE(sa_hint_open)
{
    EACH_HINT(const size_t nbytes = 8 * h.primes * h.degree; uint64_t *s = SECRET(secret, nbytes, BELOW(h.q[h.primes - 1]));
              uint64_t *values = SECRET(values, 8 * h.n, ANY); uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY);
              uint8_t *public_key = room(16); uint8_t *payload = room(h.payload_bytes); uint64_t *acc = room(8 * h.words);
              uint8_t *zeros = room(h.n << (h.lane + 1));
              SHOW(s, nbytes);
              SHOW(scratch, scratch_bytes);
              if (sa_hint_mask(h.tables, h.table, s, zeros, h.lane, h.n, public_key, public_key, HINT_FIRST, payload,
                               h.payload_bytes, scratch, scratch_bytes) != SA_OK)
                  abort();
              SHOW(payload, h.payload_bytes); /* samples are marked, whatever their key */
              if (sa_hint_add(h.tables, h.table, acc, h.n, payload, h.payload_bytes, scratch, scratch_bytes) != SA_OK)
                  abort();
              SHOW(acc, 8 * h.words);
              HIDE(s, nbytes);
              HIDE(scratch, scratch_bytes);
              CALL(sa_hint_open(h.tables, h.table, acc, h.n, s, public_key, HINT_FIRST, values, scratch, scratch_bytes));
              REACHED(values, 8 * h.n);)
}
