/* What goes residue by residue, on vectors of 64-bit lanes. The including file defines SA_ISA, SA_ISA_TARGET and SA_WIDTH (lanes
 * in a register), and where there is one SA_MIN(a, b) of unsigned lanes, SA_POPCOUNT(v), and SA_OWN_SCALE_ADD. Residues and moduli are below 2^61, so that bit 63 of a difference tells its sign. */
#include "../ring.h"

typedef uint64_t uvec __attribute__((vector_size(SA_WIDTH * 8)));

#define SA_LANES_FN SA_ISA_TARGET static

SA_ISA_TARGET SA_INLINE uvec load(const uint64_t *p, size_t take)
{
    uvec v = {0};
    memcpy(&v, p, take * sizeof *p);
    return v;
}

SA_ISA_TARGET SA_INLINE void store(uint64_t *p, uvec v, size_t take)
{
    memcpy(p, &v, take * sizeof *p);
}

/* `step` for i = 0, SA_WIDTH, ... with take = SA_WIDTH, and once for what is left. */
#define SA_EACH(n, step)                                     \
    {                                                        \
        size_t i = 0;                                        \
        for (; i + SA_WIDTH <= (n); i += SA_WIDTH) {         \
            const size_t take = SA_WIDTH;                    \
            step                                             \
        }                                                    \
        if (i < (n)) {                                       \
            const size_t take = (n) - i;                     \
            step                                             \
        }                                                    \
    }

/* v where v < q, else v - q; v below 2^63. */
SA_ISA_TARGET SA_INLINE uvec reduce_once(uvec v, uint64_t q)
{
    const uvec less = v - q;
#ifdef SA_MIN
    return SA_MIN(v, less);
#else
    return less + (q & (0 - (less >> 63)));
#endif
}

/* v where it is not negative, else v + q. */
SA_ISA_TARGET SA_INLINE uvec lift(uvec v, uint64_t q)
{
#ifdef SA_MIN
    return SA_MIN(v, v + q);
#else
    return v + (q & (0 - (v >> 63)));
#endif
}

SA_ISA_TARGET SA_INLINE uint64_t fold_or(uvec v)
{
    uint64_t all = 0;
    for (int k = 0; k < SA_WIDTH; k++)
        all |= v[k];
    return all;
}

/* CT: secret=acc, other; public=q, n */
SA_LANES_FN void add(uint64_t q, uint64_t *acc, const uint64_t *other, size_t n)
{
    SA_EACH(n, store(acc + i, reduce_once(load(acc + i, take) + load(other + i, take), q), take);)
}

/* CT: secret=acc, other; public=q, n */
SA_LANES_FN void subtract(uint64_t q, uint64_t *acc, const uint64_t *other, size_t n)
{
    SA_EACH(n, store(acc + i, lift(load(acc + i, take) - load(other + i, take), q), take);)
}

/* floor(3 r / 2^32) - 1 mod q of 32-bit words r. CT: secret=words, out; public=q, n */
SA_LANES_FN void ternary(uint64_t q, uint64_t *out, const uint64_t *words, size_t n)
{
    const uint8_t *const from = (const uint8_t *)words;
    SA_EACH(n, {
        typedef uint32_t half __attribute__((vector_size(SA_WIDTH * 4)));
        half r = {0};
        memcpy(&r, from + 4 * i, 4 * take);
        const uvec wide = __builtin_convertvector(r, uvec);
        store(out + i, lift(((wide + (wide << 1)) >> 32) - 1, q), take);
    })
}

/* Bits set in each lane, by halves. */
#ifndef SA_POPCOUNT
SA_ISA_TARGET SA_INLINE uvec popcount(uvec v)
{
    v -= (v >> 1) & (uint64_t)0x5555555555555555;
    v = (v & (uint64_t)0x3333333333333333) + ((v >> 2) & (uint64_t)0x3333333333333333);
    v = (v + (v >> 4)) & (uint64_t)0x0f0f0f0f0f0f0f0f;
    v += v >> 8;
    v += v >> 16;
    return (v + (v >> 32)) & (uint64_t)0x7f;
}
#define SA_POPCOUNT popcount
#endif

/* The bits set among the low 21, less those among the next 21: with the latter inverted, one count less 21.
 * CT: secret=acc, words; public=q, n */
SA_LANES_FN void binomial_add(uint64_t q, uint64_t *acc, const uint64_t *words, size_t n)
{
    const uint64_t second = (uint64_t)0x1fffff << 21, both = second | 0x1fffff;
    SA_EACH(n, {
        const uvec error = (uvec)SA_POPCOUNT((load(words + i, take) & both) ^ second) - 21;
        store(acc + i, reduce_once(lift(load(acc + i, take) + error, q), q), take);
    })
}

#ifndef SA_OWN_SCALE_ADD
/* CT: secret=acc, values; public=q, n, factor */
SA_LANES_FN void scale_add(uint64_t q, uint64_t *acc, const uint64_t *values, size_t n, uint64_t factor)
{
    SA_EACH(n, store(acc + i, reduce_once(load(acc + i, take) + load(values + i, take) * factor, q), take);)
}
#endif

/* subtract() takes back whatever this has added: acc was canonical, and q came off once or not at all.
 * CT: secret=acc, other, *seen; public=q, n */
SA_LANES_FN uint64_t checked_add(uint64_t q, uint64_t *acc, const uint64_t *other, size_t n, uint64_t *seen)
{
    uvec over = {0}, any = {0};
    SA_EACH(n, {
        const uvec v = load(other + i, take);
        over |= q - 1 - v;
        any |= v;
        store(acc + i, reduce_once(load(acc + i, take) + v, q), take);
    })
    *seen |= fold_or(any);
    return fold_or(over);
}

/* A word whose top bit is set when a value is above `limit`, itself below 2^63. CT: secret=values; public=limit, n */
SA_LANES_FN uint64_t above(uint64_t limit, const uint64_t *values, size_t n)
{
    uvec over = {0};
    SA_EACH(n, {
        const uvec v = load(values + i, take);
        over |= (limit - v) | v;
    })
    return fold_or(over);
}

#include "hint_lanes.inc.c"
