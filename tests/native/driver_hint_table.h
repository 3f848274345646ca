/* The tables of ffi.cdef.h that a caller of the masks fills, for one prime or two. */
#ifndef SA_TEST_HINT_TABLE_H
#define SA_TEST_HINT_TABLE_H

#include "../../native/ring.h"
#include "driver_ring_table.h"

#define HINT_ROW 24

/* Probably prime, which is enough to choose a modulus for a test. */
static int seems_prime(uint64_t q)
{
    for (uint64_t base = 2; base < 40; base++)
        if (mod_power(base, q - 1, q) != 1)
            return 0;
    return 1;
}

/* The largest `count` primes of `bits` bits that are 1 mod 2048. */
static void hint_primes(unsigned bits, size_t count, uint64_t *out)
{
    uint64_t q = ((uint64_t)1 << bits) - 2047;
    for (size_t i = 0; i < count; q -= 2048)
        if (seems_prime(q))
            out[i++] = q;
}

/* Thresholds that fall by a factor; the last ones have upper words of 0, and some equal what will be drawn. */
static void hint_thresholds(uint64_t *out, size_t count, size_t zeros)
{
    uint64_t high = UINT64_MAX >> 2;
    for (size_t k = 0; k < count; k++) {
        out[k] = k + zeros < count ? high : 0;
        out[count + k] = k + zeros < count ? next_random() >> 1 : (UINT64_MAX >> 1) / (1 + k + zeros - count);
        high -= high / 3 + 1;
    }
}

struct hint {
    uint64_t *tables, *table, *secret, *plain, *acc, *opened, q[2]; /* plain: s by coefficient, modulo each prime */
    size_t n, degree, primes, words, scratch_bytes, payload_bytes;
    unsigned bits, width, per;
    uint64_t t_mod[2], spread;
    uint8_t *payload, *scratch, error_key[16], public_key[16];
    void *values;
    int lane;
};

enum { HINT_THRESHOLDS = 20 };

/* The table of ffi.cdef.h, for q below 2^128. */
static uint64_t *hint_table(struct hint *h)
{
    const size_t row_words = HINT_ROW + 2 * h->per;
    uint64_t *const table = allocate(8 * sa_hint_table_words(h->primes, h->per, HINT_THRESHOLDS));
    memset(table, 0, 8 * sa_hint_table_words(h->primes, h->per, HINT_THRESHOLDS));
    table[0] = h->primes;
    table[1] = h->width;
    table[2] = h->per;
    table[3] = HINT_THRESHOLDS;
    const unsigned __int128 limit = (unsigned __int128)(2 * h->spread) << (h->width * h->per);
    table[8] = (uint64_t)limit;
    table[9] = (uint64_t)(limit >> 64);
    for (size_t i = 0; i < h->primes; i++) {
        const uint64_t q = h->q[i];
        uint64_t *const row = table + 16 + i * row_words;
        h->t_mod[i] = mod_power(2, h->width * h->per, q);
        row[0] = h->t_mod[i];
        row[1] = quotient_of(row[0], q);
        row[2] = mod_mul(row[0], h->spread % q, q);
        row[20] = i == 0 ? 1 : h->q[0];
        if (i == 1) {
            row[4] = mod_power(h->q[0] % q, q - 2, q);
            row[5] = quotient_of(row[4], q);
        }
        for (unsigned k = 0; k < h->per; k++) {
            row[24 + 2 * k] = mod_power(2, h->width * k, q);
            row[25 + 2 * k] = quotient_of(row[24 + 2 * k], q);
        }
    }
    hint_thresholds(table + 16 + h->primes * row_words, HINT_THRESHOLDS, 3);
    return table;
}

#endif
