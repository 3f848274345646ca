/* Four doubles at a time. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#define SA_ISA avx2
#define SA_ISA_TARGET SA_TARGET("avx2")
#define SA_WIDTH 4

#define SA_MAX(a, b) ((fvec)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define SA_MIN(a, b) ((fvec)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define SA_FLOOR(v) ((fvec)_mm256_floor_pd((__m256d)(v)))
#define SA_TIMES_32(code, weight) ((uvec)_mm256_mul_epu32((__m256i)(code), (__m256i)(weight)))
/* code < 2^32: its low half times both halves of the weight. */
#define SA_TIMES_64(code, weight) (SA_TIMES_32(code, weight) + (SA_TIMES_32(code, (weight) >> 32) << 32))
#define SA_WIDEN_32(x) ((fvec)_mm256_cvtps_pd(_mm_loadu_ps(x)))
#define SA_WIDEN_WORDS(words)                                                                                          \
    ((uvec)_mm256_cvtepu32_epi64(_mm_xor_si128(_mm_loadu_si128((const __m128i *)(words)), _mm_set1_epi32(-1))))
/* Of each 64-bit lane the low 32 or 16 bits, side by side. */
#define SA_LOW_DWORDS(v) \
    _mm256_castsi256_si128(_mm256_permutevar8x32_epi32((__m256i)(v), _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)))
#define SA_STORE_16(to, v)             \
    _mm_storel_epi64((__m128i *)(to), \
                     _mm_shuffle_epi8(SA_LOW_DWORDS(v), _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13)));
#define SA_STORE_32(to, v) _mm_storeu_si128((__m128i *)(to), SA_LOW_DWORDS(v));

#include "encode_lanes.inc.c"
#else
typedef int sa_encode_avx2_unused; /* ISO C forbids an empty translation unit */
#endif
