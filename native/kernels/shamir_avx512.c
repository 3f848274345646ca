/* Eight points in a register. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#define SA_ISA avx512
#define SA_ISA_TARGET SA_TARGET("avx512f,avx512bw,avx512vl,avx512dq")
#define SA_WIDTH 8
#define SA_MUL32(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#include "shamir_lanes.inc.c"
#else
typedef int sa_shamir_avx512_unused; /* ISO C forbids an empty translation unit */
#endif
