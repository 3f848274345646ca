/* The ring in plain C: products of 64 by 64 bits, any modulus below 2^61. */
#include "../common/ct.h"

#define SA_ISA portable
#define SA_ISA_TARGET
#define SA_WIDTH 2
#include "ring_lanes.inc.c"
#include "ring_words.inc.c"

const struct sa_ring_impl sa_ring_portable = {
    0, 61, NULL, forward, inverse, multiply, multiply_add, uniform, round_off,
    add, subtract, ternary, binomial_add, scale_add, checked_add, above,
};
