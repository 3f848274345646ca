/* The ring on AArch64: in doubles below 2^50, else with products in scalar words. NEON needs no flags there. */
#include "../dispatch.h"

#ifdef SA_AARCH64
#include <arm_neon.h>

#define SA_ISA neon
#define SA_ISA_TARGET
#define SA_WIDTH 2
#define SA_POPCOUNT(v) ((uvec)vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8((uint8x16_t)(v))))))
#include "ring_lanes.inc.c"

typedef double dvec __attribute__((vector_size(16)));

#define SA_FMA(a, b, c) ((dvec)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define SA_FNMA(a, b, c) ((dvec)vfmsq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define SA_ROUND(v) ((dvec)vrndnq_f64((float64x2_t)(v)))
#include "ring_doubles.inc.c"

#define SA_FIRST(a, b) ((dvec)vtrn1q_f64((float64x2_t)(a), (float64x2_t)(b)))
#define SA_SECOND(a, b) ((dvec)vtrn2q_f64((float64x2_t)(a), (float64x2_t)(b)))

/* t = 1. CT: secret=x, y; public=ring, i, k */
static inline void forward_within(const struct sa_ring *ring, size_t i, dvec *x, dvec *y, const struct doubles *k)
{
    dvec a = SA_FIRST(*x, *y), b = SA_SECOND(*x, *y);
    split(&a, &b, to_doubles(load(ring->roots + (ring->n + i) / 2, 2)), k);
    *x = SA_FIRST(a, b);
    *y = SA_SECOND(a, b);
}

/* t = 1. CT: secret=x, y; public=ring, i, k */
static inline void inverse_within(const struct sa_ring *ring, size_t i, dvec *x, dvec *y, const struct doubles *k)
{
    dvec a = SA_FIRST(*x, *y), b = SA_SECOND(*x, *y);
    join(&a, &b, to_doubles(load(ring->inverses + (ring->n + i) / 2, 2)), k);
    *x = SA_FIRST(a, b);
    *y = SA_SECOND(a, b);
}

const struct sa_ring_impl sa_ring_neon = {
    0, 50, &sa_ring_portable, forward, inverse, multiply_inverse, multiply_add, sa_ring_uniform_portable,
    sa_ring_round_portable, add, subtract, ternary, binomial_add, scale_add, checked_add, above,
    gaussian, shift_add, lift_signed, sa_ring_weigh_portable,
};
#endif
