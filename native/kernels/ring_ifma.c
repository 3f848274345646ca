/* The ring on 512-bit registers with products of 52 by 52 bits (AVX-512 IFMA), for moduli below 2^50. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include <immintrin.h>

#include "../common/ct.h"
#include "../common/zero.h"

#define SA_ISA ifma
#define SA_ISA_TARGET SA_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vpopcntdq")
#define SA_WIDTH 8
#define SA_MIN(a, b) ((uvec)_mm512_min_epu64((__m512i)(a), (__m512i)(b)))
#define SA_POPCOUNT(v) ((uvec)_mm512_popcnt_epi64((__m512i)(v)))
#define SA_OWN_SCALE_ADD
#define SA_OWN_GAUSSIAN
#include "ring_lanes.inc.c"

#define SA_IFMA_INLINE SA_ISA_TARGET SA_INLINE
#define SA_LOW_52 (((uint64_t)1 << 52) - 1)
/* Below 2^47 transforms reduce hardly ever: forward, values grow by 2q a stage, to 27q after the 13 stages of N = 8192; back, they
 * double a stage and are reduced at 32q. */
#define SA_LAZY_BITS 47

/* q, 2q, 2^52 - q and the mask of 52 bits, in every lane. */
struct lanes {
    __m512i q, q2, minus, mask;
};

SA_IFMA_INLINE __m512i all(uint64_t v)
{
    return _mm512_set1_epi64((long long)v);
}

SA_IFMA_INLINE struct lanes lanes_of(uint64_t q)
{
    return (struct lanes){all(q), all(2 * q), all(SA_LOW_52 + 1 - q), all(SA_LOW_52)};
}

SA_IFMA_INLINE __m512i high52(__m512i a, __m512i b)
{
    return _mm512_madd52hi_epu64(_mm512_setzero_si512(), a, b);
}

SA_IFMA_INLINE __m512i low52(__m512i a, __m512i b)
{
    return _mm512_madd52lo_epu64(_mm512_setzero_si512(), a, b);
}

SA_IFMA_INLINE __m512i once(__m512i v, __m512i m)
{
    return _mm512_min_epu64(v, _mm512_sub_epi64(v, m));
}

/* x w mod q, below 2q, of the low 52 bits of x; quotient: floor(2^52 w / q). A product sees no more of its factors than 52 bits,
 * and sums and differences carry upwards only: while true values stay below 2^52, what is above bit 51 may be anything, and is
 * cleared once, at the end. CT: secret=x; public=w, quotient, k */
SA_IFMA_INLINE __m512i times(__m512i x, __m512i w, __m512i quotient, const struct lanes *k)
{
    return _mm512_madd52lo_epu64(low52(x, w), high52(x, quotient), k->minus);
}

SA_IFMA_INLINE __m512i clean(__m512i x, const struct lanes *k)
{
    return _mm512_and_si512(x, k->mask);
}

/* x mod q, below 2q, of the low 52 bits of x; unit: floor(2^52 / q). CT: secret=x; public=unit, k */
SA_IFMA_INLINE __m512i shrink(__m512i x, __m512i unit, const struct lanes *k)
{
    return _mm512_madd52lo_epu64(x, high52(x, unit), k->minus);
}

/* A root, and its quotient for 52 bits. */
struct root {
    __m512i w, quotient;
};

SA_IFMA_INLINE struct root one_root(const uint64_t *roots, const uint64_t *quotients, size_t i)
{
    return (struct root){all(roots[i]), all(quotients[i] >> 12)};
}

/* Eight, four each twice, or two each four times. */
SA_IFMA_INLINE struct root eight_roots(const uint64_t *roots, const uint64_t *quotients, size_t i)
{
    return (struct root){_mm512_loadu_si512(roots + i), _mm512_srli_epi64(_mm512_loadu_si512(quotients + i), 12)};
}

SA_IFMA_INLINE __m512i spread4(const uint64_t *p)
{
    const __m512i places = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_epi64(places, _mm512_castsi256_si512(_mm256_loadu_si256((const void *)p)));
}

SA_IFMA_INLINE __m512i spread2(const uint64_t *p)
{
    const __m512i places = _mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0);
    return _mm512_permutexvar_epi64(places, _mm512_castsi128_si512(_mm_loadu_si128((const void *)p)));
}

SA_IFMA_INLINE struct root four_roots(const uint64_t *roots, const uint64_t *quotients, size_t i)
{
    return (struct root){spread4(roots + i), _mm512_srli_epi64(spread4(quotients + i), 12)};
}

SA_IFMA_INLINE struct root two_roots(const uint64_t *roots, const uint64_t *quotients, size_t i)
{
    return (struct root){spread2(roots + i), _mm512_srli_epi64(spread2(quotients + i), 12)};
}

/* Cooley-Tukey: y below 2^52; without `lazy`, values stay below 4q. */
SA_IFMA_INLINE void split(__m512i *x, __m512i *y, struct root r, const struct lanes *k, int lazy)
{
    const __m512i a = lazy ? *x : once(*x, k->q2), product = times(*y, r.w, r.quotient, k);
    const __m512i b = lazy ? product : clean(product, k);
    *x = _mm512_add_epi64(a, b);
    *y = _mm512_sub_epi64(_mm512_add_epi64(a, k->q2), b);
}

/* Gentleman-Sande: y below `bound`, a multiple of q. The sum is not reduced here, the product is below 2q. */
SA_IFMA_INLINE void join(__m512i *x, __m512i *y, struct root r, __m512i bound, const struct lanes *k, int lazy)
{
    const __m512i a = *x, b = *y, product = times(_mm512_sub_epi64(_mm512_add_epi64(a, bound), b), r.w, r.quotient, k);
    *x = _mm512_add_epi64(a, b);
    *y = lazy ? product : clean(product, k);
}

#define SA_LOAD(p) _mm512_loadu_si512(p)
#define SA_STORE(p, v) _mm512_storeu_si512(p, v)

/* Of pairs of lanes: (a0, b0, a2, b2) and (a1, b1, a3, b3); of halves of registers: (a0, b0) and (a1, b1). */
#define SA_EVEN_PAIRS(a, b) _mm512_permutex2var_epi64(a, _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), b)
#define SA_ODD_PAIRS(a, b) _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2), b)
#define SA_LOW_HALVES(a, b) _mm512_shuffle_i64x2(a, b, 0x44)
#define SA_HIGH_HALVES(a, b) _mm512_shuffle_i64x2(a, b, 0xee)

/* CT: secret=a; public=ring, lazy */
SA_IFMA_INLINE void forward_with(const struct sa_ring *ring, uint64_t *a, int lazy)
{
    const struct lanes k = lanes_of(ring->q);
    const uint64_t *const roots = ring->roots, *const quotients = ring->quotients;
    const __m512i unit = all(SA_LOW_52 / ring->q); /* floor(2^52 / q), for q is odd */
    size_t blocks = 1, t = ring->n / 2;
    if ((ring->log & 1) == 0) { /* an odd number of stages before the last three */
        const struct root r = one_root(roots, quotients, 1);
        for (size_t j = 0; j < t; j += 8) {
            __m512i x = SA_LOAD(a + j), y = SA_LOAD(a + j + t);
            split(&x, &y, r, &k, lazy);
            SA_STORE(a + j, x);
            SA_STORE(a + j + t, y);
        }
        blocks = 2;
        t /= 2;
    }
    for (; t >= 16; blocks *= 4, t /= 4)
        for (size_t b = blocks; b < 2 * blocks; b++) {
            const struct root r = one_root(roots, quotients, b), r0 = one_root(roots, quotients, 2 * b);
            const struct root r1 = one_root(roots, quotients, 2 * b + 1);
            uint64_t *const p = a + (b - blocks) * 2 * t;
            for (size_t j = 0; j < t / 2; j += 8) {
                __m512i v0 = SA_LOAD(p + j), v1 = SA_LOAD(p + j + t / 2), v2 = SA_LOAD(p + j + t);
                __m512i v3 = SA_LOAD(p + j + t + t / 2);
                split(&v0, &v2, r, &k, lazy);
                split(&v1, &v3, r, &k, lazy);
                split(&v0, &v1, r0, &k, lazy);
                split(&v2, &v3, r1, &k, lazy);
                SA_STORE(p + j, v0);
                SA_STORE(p + j + t / 2, v1);
                SA_STORE(p + j + t, v2);
                SA_STORE(p + j + t + t / 2, v3);
            }
        }
    /* t = 4, 2 and 1 within two registers. */
    for (size_t j = 0; j < ring->n; j += 16) {
        const __m512i first = SA_LOAD(a + j), second = SA_LOAD(a + j + 8);
        __m512i x = SA_LOW_HALVES(first, second), y = SA_HIGH_HALVES(first, second);
        split(&x, &y, two_roots(roots, quotients, (ring->n + j) / 8), &k, lazy);
        __m512i x2 = SA_EVEN_PAIRS(x, y), y2 = SA_ODD_PAIRS(x, y);
        split(&x2, &y2, four_roots(roots, quotients, (ring->n + j) / 4), &k, lazy);
        x = _mm512_unpacklo_epi64(x2, y2);
        y = _mm512_unpackhi_epi64(x2, y2);
        split(&x, &y, eight_roots(roots, quotients, (ring->n + j) / 2), &k, lazy);
        if (lazy) {
            x = clean(shrink(x, unit, &k), &k);
            y = clean(shrink(y, unit, &k), &k);
        } else {
            x = once(x, k.q2);
            y = once(y, k.q2);
        }
        x = once(x, k.q);
        y = once(y, k.q);
        x2 = _mm512_unpacklo_epi64(x, y);
        y2 = _mm512_unpackhi_epi64(x, y);
        SA_STORE(a + j, _mm512_permutex2var_epi64(x2, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), y2));
        SA_STORE(a + j + 8, _mm512_permutex2var_epi64(x2, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), y2));
    }
}

/* CT: secret=a; public=ring */
SA_ISA_TARGET static void forward(const struct sa_ring *ring, uint64_t *a)
{
    if (ring->bits <= SA_LAZY_BITS)
        forward_with(ring, a, 1);
    else
        forward_with(ring, a, 0);
}

/* a b 2^-52 mod q, below 2q, of canonical residues: Montgomery's reduction, m being what makes the low halves equal. What the factor
 * lacks, the last step of the inverse transform gives. CT: secret=a, b; public=k, inverse_of_q */
SA_IFMA_INLINE __m512i montgomery(__m512i a, __m512i b, __m512i inverse_of_q, const struct lanes *k)
{
    const __m512i m = low52(low52(a, b), inverse_of_q);
    return _mm512_sub_epi64(_mm512_madd52hi_epu64(k->q, a, b), high52(m, k->q));
}

/* Of the transform in `from`, times `factor` where there is one. CT: secret=a, from, factor; public=ring, lazy */
SA_IFMA_INLINE void inverse_with(const struct sa_ring *ring, uint64_t *a, const uint64_t *from, const uint64_t *factor, int lazy)
{
    const struct lanes k = lanes_of(ring->q);
    const uint64_t *const roots = ring->inverses, *const quotients = ring->inverse_quotients;
    const __m512i unit = all(SA_LOW_52 / ring->q), q4 = all(4 * ring->q), inverse_of_q = all(ring->inverse_of_q);
    const __m512i q8 = all(8 * ring->q), q16 = all(16 * ring->q);
    /* t = 1, 2 and 4 within two registers. */
    for (size_t j = 0; j < ring->n; j += 16) {
        __m512i first = SA_LOAD(from + j), second = SA_LOAD(from + j + 8);
        if (factor != NULL) {
            first = montgomery(first, SA_LOAD(factor + j), inverse_of_q, &k);
            second = montgomery(second, SA_LOAD(factor + j + 8), inverse_of_q, &k);
        }
        const __m512i low = _mm512_permutex2var_epi64(first, _mm512_set_epi64(13, 12, 9, 8, 5, 4, 1, 0), second);
        const __m512i high = _mm512_permutex2var_epi64(first, _mm512_set_epi64(15, 14, 11, 10, 7, 6, 3, 2), second);
        __m512i x = _mm512_unpacklo_epi64(low, high), y = _mm512_unpackhi_epi64(low, high);
        join(&x, &y, eight_roots(roots, quotients, (ring->n + j) / 2), k.q2, &k, lazy);
        x = lazy ? x : once(x, k.q2);
        __m512i x2 = _mm512_unpacklo_epi64(x, y), y2 = _mm512_unpackhi_epi64(x, y);
        join(&x2, &y2, four_roots(roots, quotients, (ring->n + j) / 4), lazy ? q4 : k.q2, &k, lazy);
        x2 = lazy ? shrink(x2, unit, &k) : once(x2, k.q2);
        x = SA_EVEN_PAIRS(x2, y2);
        y = SA_ODD_PAIRS(x2, y2);
        join(&x, &y, two_roots(roots, quotients, (ring->n + j) / 8), k.q2, &k, lazy);
        x = lazy ? x : once(x, k.q2);
        SA_STORE(a + j, SA_LOW_HALVES(x, y));
        SA_STORE(a + j + 8, SA_HIGH_HALVES(x, y));
    }
    /* Two stages at a time: with `lazy`, values below 8q make sums below 16q and 32q, and the latter are reduced to 2q. */
    size_t blocks = ring->n / 16, t = 8;
    for (; blocks >= 2; blocks /= 4, t *= 4)
        for (size_t b = blocks / 2; b < blocks; b++) {
            const struct root r0 = one_root(roots, quotients, 2 * b), r1 = one_root(roots, quotients, 2 * b + 1);
            const struct root r = one_root(roots, quotients, b);
            uint64_t *const p = a + (2 * b - blocks) * 2 * t;
            for (size_t j = 0; j < t; j += 8) {
                __m512i v0 = SA_LOAD(p + j), v1 = SA_LOAD(p + j + t), v2 = SA_LOAD(p + j + 2 * t);
                __m512i v3 = SA_LOAD(p + j + 3 * t);
                join(&v0, &v1, r0, lazy ? q8 : k.q2, &k, lazy);
                join(&v2, &v3, r1, lazy ? q8 : k.q2, &k, lazy);
                if (!lazy) {
                    v0 = once(v0, k.q2);
                    v2 = once(v2, k.q2);
                }
                join(&v0, &v2, r, lazy ? q16 : k.q2, &k, lazy);
                join(&v1, &v3, r, k.q2, &k, lazy);
                v0 = lazy ? shrink(v0, unit, &k) : once(v0, k.q2);
                v1 = lazy ? v1 : once(v1, k.q2);
                SA_STORE(p + j, v0);
                SA_STORE(p + j + t, v1);
                SA_STORE(p + j + 2 * t, v2);
                SA_STORE(p + j + 3 * t, v3);
            }
        }
    const struct root last = {all(factor != NULL ? ring->shifted : ring->last),
                              all((factor != NULL ? ring->shifted_quotient : ring->last_quotient) >> 12)};
    const struct root r = one_root(roots, quotients, 1);
    for (size_t j = 0; j < ring->n / 2; j += 8) {
        __m512i x = SA_LOAD(a + j), y = SA_LOAD(a + j + ring->n / 2);
        if (blocks == 1) /* an odd number of stages after the first three */
            join(&x, &y, r, lazy ? q8 : k.q2, &k, lazy);
        SA_STORE(a + j, once(clean(times(x, last.w, last.quotient, &k), &k), k.q));
        SA_STORE(a + j + ring->n / 2, once(clean(times(y, last.w, last.quotient, &k), &k), k.q));
    }
}

/* CT: secret=a; public=ring */
SA_ISA_TARGET static void inverse(const struct sa_ring *ring, uint64_t *a)
{
    if (ring->bits <= SA_LAZY_BITS)
        inverse_with(ring, a, a, NULL, 1);
    else
        inverse_with(ring, a, a, NULL, 0);
}

/* CT: secret=out, a, b; public=ring */
SA_ISA_TARGET static void multiply_inverse(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    if (ring->bits <= SA_LAZY_BITS)
        inverse_with(ring, out, a, b, 1);
    else
        inverse_with(ring, out, a, b, 0);
}

/* Barrett's reduction as in ring_portable.c, with the constant moved up so that the quotient is a high half.
 * CT: secret=a, b; public=k, constant, down, up */
SA_IFMA_INLINE __m512i product(__m512i a, __m512i b, const struct lanes *k, __m512i constant, __m128i down, __m128i up)
{
    const __m512i low = low52(a, b), top = _mm512_or_si512(_mm512_sll_epi64(high52(a, b), up), _mm512_srl_epi64(low, down));
    const __m512i rest = _mm512_madd52lo_epu64(low, high52(top, constant), k->minus);
    return once(once(clean(rest, k), k->q2), k->q);
}

#define SA_PRODUCTS(ring)                                                                 \
    const struct lanes k = lanes_of((ring)->q);                                           \
    const __m512i constant = all((ring)->barrett << (51 - (ring)->bits));                 \
    const __m128i down = _mm_cvtsi32_si128((int)(ring)->bits - 1);                        \
    const __m128i up = _mm_cvtsi32_si128(53 - (int)(ring)->bits);

/* CT: secret=out, a, b; public=ring, n */
SA_ISA_TARGET static void multiply_add(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n)
{
    SA_PRODUCTS(ring)
    SA_EACH(n, {
        const __m512i v = product((__m512i)load(a + i, take), (__m512i)load(b + i, take), &k, constant, down, up);
        store(out + i, (uvec)once(_mm512_add_epi64((__m512i)load(out + i, take), v), k.q), take);
    })
}

/* floor(x q / 2^104). CT: secret=out, words; public=q, n */
SA_ISA_TARGET static void uniform(uint64_t q, uint64_t *out, const uint64_t *words, size_t n)
{
    const __m512i modulus = all(q);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m512i a = SA_LOAD(words + 2 * i), b = SA_LOAD(words + 2 * i + 8);
        const __m512i x0 = _mm512_permutex2var_epi64(a, _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), b);
        const __m512i x1 = _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1), b);
        const __m512i carry = _mm512_srli_epi64(_mm512_madd52lo_epu64(high52(x0, modulus), x1, modulus), 52);
        SA_STORE(out + i, _mm512_madd52hi_epu64(carry, x1, modulus));
    }
    sa_ring_uniform_portable(q, out + i, words + 2 * i, n - i);
}

/* As in ring_portable.c, with a reciprocal of 52 bits. CT: secret=values; public=q, n, delta */
SA_ISA_TARGET static uint64_t round_off(uint64_t q, uint64_t *values, size_t n, uint64_t delta)
{
    const __m512i reciprocal = all(SA_LOW_52 / delta), step = all(delta), half = all(delta / 2), modulus = all(q);
    __m512i worst = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m512i v = once(_mm512_add_epi64(SA_LOAD(values + i), half), modulus), quotient = high52(v, reciprocal);
        const __m512i rest = _mm512_sub_epi64(v, low52(quotient, step));
        const __mmask8 more = _mm512_cmpge_epu64_mask(rest, step);
        const __m512i residual = _mm512_mask_sub_epi64(rest, more, rest, step);
        worst = _mm512_max_epu64(worst, _mm512_abs_epi64(_mm512_sub_epi64(residual, half)));
        SA_STORE(values + i, _mm512_mask_add_epi64(quotient, more, quotient, all(1)));
    }
    const uint64_t most = _mm512_reduce_max_epu64(worst), left = sa_ring_round_portable(q, values + i, n - i, delta);
    return most + ((left - most) & sa_ct_less(most, left));
}

/* CT: secret=acc, values; public=q, n, factor */
SA_ISA_TARGET static void scale_add(uint64_t q, uint64_t *acc, const uint64_t *values, size_t n, uint64_t factor)
{
    const __m512i times_factor = all(factor), modulus = all(q);
    SA_EACH(n, {
        const __m512i v = _mm512_madd52lo_epu64((__m512i)load(acc + i, take), (__m512i)load(values + i, take), times_factor);
        store(acc + i, (uvec)once(v, modulus), take);
    })
}

#include "hint_ifma.inc.c"

const struct sa_ring_impl sa_ring_ifma = {
    SA_CPU_AVX512 | SA_CPU_IFMA, 50, &sa_ring_avx2, forward, inverse, multiply_inverse, multiply_add, uniform, round_off,
    add, subtract, ternary, binomial_add, scale_add, checked_add, above,
    gaussian, shift_add, lift_signed, weigh,
};
#endif
