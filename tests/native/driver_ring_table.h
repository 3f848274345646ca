/* Moduli, and the table of ffi.cdef.h that a caller of the ring fills, worked out the slow way. */
#ifndef SA_TEST_RING_TABLE_H
#define SA_TEST_RING_TABLE_H

#include "driver.h"

static const uint64_t ring_moduli[] = {1032193u,         133857281u,        4294475777u,       8589852673u,
                                       8796092858369u,   140737488273409u,  281474976694273u,  1125899906826241u,
                                       2251799813554177u, 1152921504606830593u, 2305843009213317121u};

static uint64_t mod_mul(uint64_t a, uint64_t b, uint64_t q)
{
    return (uint64_t)((unsigned __int128)a * b % q);
}

static uint64_t mod_power(uint64_t base, uint64_t exponent, uint64_t q)
{
    uint64_t result = 1;
    for (; exponent; exponent >>= 1, base = mod_mul(base, base, q))
        if (exponent & 1)
            result = mod_mul(result, base, q);
    return result;
}

static uint64_t quotient_of(uint64_t w, uint64_t q)
{
    return (uint64_t)(((unsigned __int128)w << 64) / q);
}

static size_t reversed(size_t i, size_t n)
{
    size_t out = 0;
    for (size_t bit = 1; bit < n; bit *= 2, i /= 2)
        out = 2 * out + i % 2;
    return out;
}

/* The table of ffi.cdef.h; table[15] is ours: psi. */
static uint64_t *ring_table(size_t n, uint64_t q)
{
    uint64_t *const table = allocate(8 * sa_ring_table_words(n)), *const arrays = table + 16, psi = 0;
    unsigned bits = 0, log = 0;
    for (uint64_t g = 2; psi == 0; g++) {
        const uint64_t x = mod_power(g, (q - 1) / (2 * n), q);
        psi = mod_power(x, n, q) == q - 1 ? x : 0;
    }
    for (; q >> bits; bits++)
        ;
    for (; (size_t)1 << log < n; log++)
        ;
    memset(table, 0, 128);
    table[0] = q;
    table[1] = n;
    table[2] = bits;
    table[3] = (uint64_t)(((unsigned __int128)1 << 2 * bits) / q);
    table[4] = mod_power(n, q - 2, q);
    table[5] = quotient_of(table[4], q);
    table[6] = log;
    table[7] = mod_mul(table[4], ((uint64_t)1 << 52) % q, q);
    table[8] = quotient_of(table[7], q);
    table[9] = 1;
    for (int i = 0; i < 6; i++) /* Newton: each step doubles the bits that are right */
        table[9] *= 2 - q * table[9];
    table[9] &= ((uint64_t)1 << 52) - 1;
    table[15] = psi;
    for (size_t i = 0; i < n; i++) {
        const uint64_t w = mod_power(psi, reversed(i, n), q), v = mod_power(w, q - 2, q);
        arrays[i] = w;
        arrays[n + i] = quotient_of(w, q);
        arrays[2 * n + i] = v;
        arrays[3 * n + i] = quotient_of(v, q);
    }
    return table;
}

static void random_residues(uint64_t *out, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++)
        out[i] = i % 7 == 3 ? q - 1 : i % 7 == 5 ? 0 : next_random() % q;
}

#endif
