/* AVX-512 instructions on 256-bit registers, four doubles at a time: multiplying doubles in 512-bit registers makes Intel
 * processors lower their clock for everything, the masks between two tiles included (docs/adr/0012). */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#define SA_ISA avx512
#define SA_ISA_TARGET SA_TARGET("avx2,avx512f,avx512bw,avx512vl,avx512dq")
#define SA_WIDTH 4

#define SA_MAX(a, b) ((fvec)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define SA_MIN(a, b) ((fvec)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define SA_COUNT_DIFFERENT(count, a, b)                                                                             \
    ((uvec)_mm256_mask_add_epi64((__m256i)(count), _mm256_cmp_pd_mask((__m256d)(a), (__m256d)(b), _CMP_NEQ_UQ),     \
                                 (__m256i)(count), _mm256_set1_epi64x(1)))
#define SA_TO_U64(v) ((uvec)_mm256_cvttpd_epu64((__m256d)(v)))
#define SA_TIMES_32(code, weight) ((uvec)_mm256_mul_epu32((__m256i)(code), (__m256i)(weight)))
/* code < 2^32: its low half times both halves of the weight. */
#define SA_TIMES_64(code, weight) (SA_TIMES_32(code, weight) + (SA_TIMES_32(code, (weight) >> 32) << 32))
#define SA_WIDEN_32(x) ((fvec)_mm256_cvtps_pd(_mm_loadu_ps(x)))
#define SA_WIDEN_WORDS(words)                                                                                          \
    ((uvec)_mm256_cvtepu32_epi64(_mm_xor_si128(_mm_loadu_si128((const __m128i *)(words)), _mm_set1_epi32(-1))))
#define SA_STORE_16(to, v) _mm_storel_epi64((__m128i *)(to), _mm256_cvtepi64_epi16((__m256i)(v)));
#define SA_STORE_32(to, v) _mm_storeu_si128((__m128i *)(to), _mm256_cvtepi64_epi32((__m256i)(v)));

#include "encode_lanes.inc.c"
#else
typedef int sa_encode_avx512_unused; /* ISO C forbids an empty translation unit */
#endif
