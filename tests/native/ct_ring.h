/* The ring and RLWE, for a modulus of each size that has kernels of its own. */
#include "driver_ring_table.h"

static const uint64_t ct_moduli[] = {
    4294475777u, 1125899906826241u,
#ifndef CT_TRACE /* above 2^50 every implementation runs plain C, which memcheck sees; the tracer is slow */
    1152921504606830593u,
#endif
};

static const uint64_t *ct_table(size_t m)
{
    static const uint64_t *tables[COUNT(ct_moduli)];
    if (tables[m] == NULL)
        tables[m] = ring_table(1024, ct_moduli[m]);
    return tables[m];
}

/* `step` for each table, with names of its own. */
#define EACH_RING(step)                                        \
    for (size_t m = 0; m < COUNT(ct_moduli); m++) {            \
        const uint64_t *const table = ct_table(m), q = table[0]; \
        const size_t n = (size_t)table[1];                     \
        ct_secrets[0] = 0;                                     \
        ct_used = 0;                                           \
        (void)q;                                               \
        step                                                   \
    }

CASE(sa_ring_forward)
{
    EACH_RING(uint64_t *polys = SECRET(polys, 16 * n, BELOW(q));
              CALL(sa_ring_forward(table, polys, 2));
              REACHED(polys, 16 * n);)
}

CASE(sa_ring_inverse)
{
    EACH_RING(uint64_t *polys = SECRET(polys, 16 * n, BELOW(q));
              CALL(sa_ring_inverse(table, polys, 2));
              REACHED(polys, 16 * n);)
}

CASE(sa_ring_add)
{
    EACH_RING(uint64_t *acc = SECRET(acc, 8 * 301, BELOW(q)); uint64_t *other = SECRET(other, 8 * 301, BELOW(q)); (void)n;
              for (int minus = 0; minus < 2; minus++) CALL(sa_ring_add(table, acc, other, 301, minus));
              REACHED(acc, 8 * 301);)
}

CASE(sa_ring_multiply_add)
{
    EACH_RING(uint64_t *acc = SECRET(acc, 8 * 301, BELOW(q)); uint64_t *a = SECRET(a, 8 * 301, BELOW(q)); (void)n;
              uint64_t *b = SECRET(b, 8 * 301, BELOW(q));
              CALL(sa_ring_multiply_add(table, acc, a, b, 301));
              REACHED(acc, 8 * 301);)
}

CASE(sa_ring_sample)
{
    EACH_RING(const size_t scratch_bytes = sa_ring_scratch_bytes(n); uint8_t *key = SECRET(key, 16, ANY);
              uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY); uint64_t *out = SECRET(out, 8 * n, ANY);
              for (int distribution = SA_UNIFORM; distribution <= SA_BINOMIAL; distribution++) {
                  CALL(sa_ring_sample(table, distribution, out, 1, key, 7, 5, scratch, scratch_bytes));
                  REACHED(out, 8 * n);
              })
}

CASE(sa_ring_add_uniform)
{
    EACH_RING(const size_t scratch_bytes = sa_ring_scratch_bytes(n); uint8_t *key = SECRET(key, 16, ANY);
              uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY); uint64_t *acc = SECRET(acc, 8 * 1023, BELOW(q));
              for (int minus = 0; minus < 2; minus++)
                  CALL(sa_ring_add_uniform(table, acc, 1023, key, 7, 5, minus, scratch, scratch_bytes));
              REACHED(acc, 8 * 1023);)
}

#define RLWE_VALUES 1037
#define RLWE_PAYLOAD(n, bits) (2 * ((n) * (bits) / 8) + (n) * (bits) / 8 + ((RLWE_VALUES - (n)) * (bits) + 7) / 8)

CASE(sa_rlwe_encrypt)
{
    EACH_RING(const size_t scratch_bytes = sa_ring_scratch_bytes(n); const size_t payload = RLWE_PAYLOAD(n, table[2]);
              uint64_t *values = SECRET(values, 8 * RLWE_VALUES, BELOW(q / 1000)); uint8_t *key = SECRET(key, 16, ANY);
              uint8_t *pad = SECRET(pad, 16, ANY); uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY);
              uint64_t *public_key = room(16 * n); uint8_t *out = room(payload); random_residues(public_key, 2 * n, q);
              CALL(sa_rlwe_encrypt(table, public_key, values, RLWE_VALUES, 1000, key, pad, 3, out, payload, scratch,
                                   scratch_bytes));
              REACHED(out, payload);)
}

CASE(sa_rlwe_encrypt_seeded)
{
    EACH_RING(const size_t scratch_bytes = sa_ring_scratch_bytes(n);
              const size_t payload = n * table[2] / 8 + ((RLWE_VALUES - n) * table[2] + 7) / 8; static const uint8_t seed[16] = {9};
              uint64_t *values = SECRET(values, 8 * RLWE_VALUES, BELOW(q / 1000)); uint8_t *key = SECRET(key, 16, ANY);
              uint64_t *s = SECRET(secret, 8 * n, BELOW(q)); uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY);
              uint8_t *out = room(payload);
              CALL(sa_rlwe_encrypt_seeded(table, s, values, RLWE_VALUES, 1000, key, seed, 3, out, payload, scratch,
                                          scratch_bytes));
              REACHED(out, payload);)
}

CASE(sa_rlwe_decrypt)
{
    EACH_RING(const size_t scratch_bytes = sa_ring_scratch_bytes(n); uint64_t *s = SECRET(secret, 8 * n, BELOW(q));
              uint64_t *c0 = SECRET(c0, 8 * RLWE_VALUES, BELOW(q)); uint64_t *values = SECRET(values, 8 * RLWE_VALUES, ANY);
              uint64_t *worst = SECRET(worst, 8, ANY); uint8_t *scratch = SECRET(scratch, scratch_bytes, ANY);
              uint64_t *c1 = room(16 * n); random_residues(c1, 2 * n, q);
              CALL(sa_rlwe_decrypt(table, s, c1, c0, RLWE_VALUES, 1000, values, worst, scratch, scratch_bytes));
              REACHED(values, 8 * RLWE_VALUES);
              REACHED(worst, 8);)
}
