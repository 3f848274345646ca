/* The ring in plain C: products of 64 by 64 bits, any modulus below 2^61. */
#include "../common/ct.h"

#define SA_ISA portable
#define SA_ISA_TARGET
#define SA_WIDTH 2
#include "ring_lanes.inc.c"

SA_INLINE uint64_t high64(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

/* v where v < m, else v - m; v and m below 2^63. CT: secret=v; public=m */
SA_INLINE uint64_t less_once(uint64_t v, uint64_t m)
{
    return v - (m & ~sa_ct_less(v, m));
}

/* x * w mod q, below 2q, of any x. CT: secret=x; public=w, quotient, q */
SA_INLINE uint64_t multiply_lazily(uint64_t x, uint64_t w, uint64_t quotient, uint64_t q)
{
    return x * w - high64(x, quotient) * q;
}

/* Decimation in time (Cooley-Tukey) to bit-reversed order, X^N + 1 merged into the roots; Harvey's butterflies keep values below 4q.
 * CT: secret=a; public=ring. Harvey, Faster arithmetic for number-theoretic transforms (JSC 2014). */
void sa_ring_forward_portable(const struct sa_ring *ring, uint64_t *a)
{
    const uint64_t q = ring->q;
    for (size_t blocks = 1, t = ring->n / 2; t != 0; blocks *= 2, t /= 2)
        for (size_t b = 0; b < blocks; b++) {
            const uint64_t w = ring->roots[blocks + b], quotient = ring->quotients[blocks + b];
            uint64_t *const low = a + 2 * b * t, *const high = low + t;
            for (size_t j = 0; j < t; j++) {
                const uint64_t x = less_once(low[j], 2 * q), y = multiply_lazily(high[j], w, quotient, q);
                low[j] = x + y;
                high[j] = x - y + 2 * q;
            }
        }
    for (size_t i = 0; i < ring->n; i++)
        a[i] = less_once(less_once(a[i], 2 * q), q);
}

/* Decimation in frequency (Gentleman-Sande) from bit-reversed order; values stay below 2q. CT: secret=a; public=ring */
void sa_ring_inverse_portable(const struct sa_ring *ring, uint64_t *a)
{
    const uint64_t q = ring->q;
    for (size_t blocks = ring->n / 2, t = 1; blocks != 0; blocks /= 2, t *= 2)
        for (size_t b = 0; b < blocks; b++) {
            const uint64_t w = ring->inverses[blocks + b], quotient = ring->inverse_quotients[blocks + b];
            uint64_t *const low = a + 2 * b * t, *const high = low + t;
            for (size_t j = 0; j < t; j++) {
                const uint64_t x = low[j], y = high[j];
                low[j] = less_once(x + y, 2 * q);
                high[j] = multiply_lazily(x - y + 2 * q, w, quotient, q);
            }
        }
    for (size_t i = 0; i < ring->n; i++)
        a[i] = less_once(multiply_lazily(a[i], ring->last, ring->last_quotient, q), q);
}

/* Barrett: the quotient is estimated from the top bits and at most 2 too small. CT: secret=a, b; public=ring */
SA_INLINE uint64_t product(const struct sa_ring *ring, uint64_t a, uint64_t b)
{
    const unsigned __int128 x = (unsigned __int128)a * b;
    const uint64_t top = (uint64_t)(x >> (ring->bits - 1));
    const uint64_t quotient = (uint64_t)(((unsigned __int128)top * ring->barrett) >> (ring->bits + 1));
    return less_once(less_once((uint64_t)x - quotient * ring->q, 2 * ring->q), ring->q);
}

/* CT: secret=out, a, b; public=ring */
void sa_ring_multiply_inverse_portable(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    for (size_t i = 0; i < ring->n; i++)
        out[i] = product(ring, a[i], b[i]);
    sa_ring_inverse_portable(ring, out);
}

/* CT: secret=out, a, b; public=ring, n */
void sa_ring_multiply_add_portable(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = less_once(out[i] + product(ring, a[i], b[i]), ring->q);
}

/* floor(x q / 2^104) for x of two 52-bit words where q < 2^50, else floor(x q / 2^128) for x of two whole words.
 * CT: secret=out, words; public=q, n */
void sa_ring_uniform_portable(uint64_t q, uint64_t *out, const uint64_t *words, size_t n)
{
    const unsigned width = q >> 50 == 0 ? 52 : 64;
    const uint64_t mask = sa_low_bits(width);
    for (size_t i = 0; i < n; i++) {
        const unsigned __int128 low = (unsigned __int128)(words[2 * i] & mask) * q;
        out[i] = (uint64_t)(((unsigned __int128)(words[2 * i + 1] & mask) * q + (uint64_t)(low >> width)) >> width);
    }
}

/* By the reciprocal of delta, whose quotient is exact or 1 too small: v < 2^61. CT: secret=values; public=q, n, delta */
uint64_t sa_ring_round_portable(uint64_t q, uint64_t *values, size_t n, uint64_t delta)
{
    const uint64_t reciprocal = UINT64_MAX / delta, half = delta / 2;
    uint64_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = less_once(values[i] + half, q), quotient = high64(v, reciprocal), rest = v - quotient * delta;
        const uint64_t more = ~sa_ct_less(rest, delta), residual = rest - (delta & more);
        const uint64_t signed_error = residual - half, negative = sa_ct_less(residual, half);
        const uint64_t error = (signed_error ^ negative) - negative;
        worst += (error - worst) & sa_ct_less(worst, error);
        values[i] = quotient - more;
    }
    return worst;
}

/* CT: secret=acc, values; public=q, n, w, quotient */
void sa_ring_weigh_portable(uint64_t q, uint64_t *acc, const uint64_t *values, size_t n, uint64_t w, uint64_t quotient)
{
    for (size_t i = 0; i < n; i++)
        acc[i] = less_once(less_once(acc[i] + multiply_lazily(values[i], w, quotient, q), 2 * q), q);
}

const struct sa_ring_impl sa_ring_portable = {
    0, 61, NULL, SA_RING_WORDS, add, subtract, ternary, binomial_add, scale_add, checked_add, above,
    gaussian, shift_add, lift_signed, sa_ring_weigh_portable,
};
