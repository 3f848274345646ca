/* The ring on 256-bit registers: in doubles below 2^50, else with products in scalar words. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include <immintrin.h>

#define SA_ISA avx2
#define SA_ISA_TARGET SA_TARGET("avx2,fma")
#define SA_WIDTH 4
#include "ring_lanes.inc.c"

typedef double dvec __attribute__((vector_size(32)));

#define SA_FMA(a, b, c) ((dvec)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define SA_FNMA(a, b, c) ((dvec)_mm256_fnmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define SA_ROUND(v) ((dvec)_mm256_round_pd((__m256d)(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
#include "ring_doubles.inc.c"

#define SA_LOW_HALVES(a, b) ((dvec)_mm256_permute2f128_pd((__m256d)(a), (__m256d)(b), 0x20))
#define SA_HIGH_HALVES(a, b) ((dvec)_mm256_permute2f128_pd((__m256d)(a), (__m256d)(b), 0x31))
#define SA_EVEN_LANES(a, b) ((dvec)_mm256_unpacklo_pd((__m256d)(a), (__m256d)(b)))
#define SA_ODD_LANES(a, b) ((dvec)_mm256_unpackhi_pd((__m256d)(a), (__m256d)(b)))

/* Two roots, each twice; four, in the order of the even lanes of two registers. */
SA_ISA_TARGET SA_INLINE dvec two_roots(const uint64_t *roots)
{
    const __m256i words = _mm256_castsi128_si256(_mm_loadu_si128((const void *)roots));
    return to_doubles((uvec)_mm256_permute4x64_epi64(words, 0x50));
}

SA_ISA_TARGET SA_INLINE dvec four_roots(const uint64_t *roots)
{
    return to_doubles((uvec)_mm256_permute4x64_epi64(_mm256_loadu_si256((const void *)roots), 0xd8));
}

/* t = 2 and 1. CT: secret=x, y; public=ring, i, k */
SA_ISA_TARGET static inline void forward_within(const struct sa_ring *ring, size_t i, dvec *x, dvec *y, const struct doubles *k)
{
    dvec a = SA_LOW_HALVES(*x, *y), b = SA_HIGH_HALVES(*x, *y);
    split(&a, &b, two_roots(ring->roots + (ring->n + i) / 4), k);
    const dvec first = SA_LOW_HALVES(a, b), second = SA_HIGH_HALVES(a, b);
    a = SA_EVEN_LANES(first, second);
    b = SA_ODD_LANES(first, second);
    split(&a, &b, four_roots(ring->roots + (ring->n + i) / 2), k);
    *x = SA_EVEN_LANES(a, b);
    *y = SA_ODD_LANES(a, b);
}

/* t = 1 and 2. CT: secret=x, y; public=ring, i, k */
SA_ISA_TARGET static inline void inverse_within(const struct sa_ring *ring, size_t i, dvec *x, dvec *y, const struct doubles *k)
{
    dvec a = SA_EVEN_LANES(*x, *y), b = SA_ODD_LANES(*x, *y);
    join(&a, &b, four_roots(ring->inverses + (ring->n + i) / 2), k);
    const dvec first = SA_EVEN_LANES(a, b), second = SA_ODD_LANES(a, b);
    a = SA_LOW_HALVES(first, second);
    b = SA_HIGH_HALVES(first, second);
    join(&a, &b, two_roots(ring->inverses + (ring->n + i) / 4), k);
    *x = SA_LOW_HALVES(a, b);
    *y = SA_HIGH_HALVES(a, b);
}

#define SA_LANES                                                                                        \
    add, subtract, ternary, binomial_add, scale_add, checked_add, above, gaussian, shift_add, lift_signed, \
        sa_ring_weigh_portable

const struct sa_ring_impl sa_ring_avx2_wide = {SA_CPU_AVX2 | SA_CPU_FMA, 61, &sa_ring_portable, SA_RING_WORDS, SA_LANES};
const struct sa_ring_impl sa_ring_avx2 = {
    SA_CPU_AVX2 | SA_CPU_FMA, 50, &sa_ring_avx2_wide, forward, inverse, multiply_inverse, multiply_add,
    sa_ring_uniform_portable, sa_ring_round_portable, SA_LANES,
};
#endif
