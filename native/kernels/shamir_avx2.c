/* Four points in a register. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#define SA_ISA avx2
#define SA_ISA_TARGET SA_TARGET("avx2")
#define SA_WIDTH 4
#define SA_MUL32(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#include "shamir_lanes.inc.c"
#else
typedef int sa_shamir_avx2_unused; /* ISO C forbids an empty translation unit */
#endif
