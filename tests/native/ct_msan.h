/* Included before everything else in the build for MemorySanitizer, which does not know some instructions: it demands that their
 * operands be public, and takes the result for public. Here a secret in any operand makes all of the result secret instead, which
 * is too much at worst. Found by running the cases: whatever is missing here is reported where it is used. */
#ifndef SA_TEST_CT_MSAN_H
#define SA_TEST_CT_MSAN_H

#if defined(__x86_64__)
#include <immintrin.h>
#include <sanitizer/msan_interface.h>

static inline int ct_taken(void *p, size_t nbytes)
{
    const int hidden = __msan_test_shadow(p, nbytes) >= 0;
    __msan_unpoison(p, nbytes);
    return hidden;
}
#define CT_GIVEN(result, hidden)               \
    if (hidden)                                \
        __msan_poison(&result, sizeof result); \
    result;

#define CT_UNARY(out, in, x, call)                     \
    __extension__({                                    \
        in a_ = (x);                                   \
        const int hidden_ = ct_taken(&a_, sizeof a_);  \
        out r_ = call;                                 \
        CT_GIVEN(r_, hidden_)                          \
    })
#define CT_BINARY(out, in, x, y, call)                                               \
    __extension__({                                                                  \
        in a_ = (x), b_ = (y);                                                       \
        const int hidden_ = ct_taken(&a_, sizeof a_) | ct_taken(&b_, sizeof b_);     \
        out r_ = call;                                                               \
        CT_GIVEN(r_, hidden_)                                                        \
    })
#define CT_TERNARY(out, in, x, y, z, call)                                                                     \
    __extension__({                                                                                            \
        in a_ = (x), b_ = (y), c_ = (z);                                                                       \
        const int hidden_ = ct_taken(&a_, sizeof a_) | ct_taken(&b_, sizeof b_) | ct_taken(&c_, sizeof c_);    \
        out r_ = call;                                                                                         \
        CT_GIVEN(r_, hidden_)                                                                                  \
    })

#undef _mm_aeskeygenassist_si128
#define _mm_aeskeygenassist_si128(x, rcon) \
    CT_UNARY(__m128i, __m128i, x, (__m128i)__builtin_ia32_aeskeygenassist128((__v2di)a_, rcon))
#undef _mm256_round_pd /* and floor_pd, which is made of it */
#define _mm256_round_pd(x, mode) CT_UNARY(__m256d, __m256d, x, (__m256d)__builtin_ia32_roundpd256((__v4df)a_, mode))
#undef _mm256_cmp_pd_mask
#define _mm256_cmp_pd_mask(x, y, predicate) \
    CT_BINARY(__mmask8, __m256d, x, y, (__mmask8)__builtin_ia32_cmppd256_mask((__v4df)a_, (__v4df)b_, predicate, (__mmask8)-1))
#define _mm256_cvttpd_epu64(x) CT_UNARY(__m256i, __m256d, x, (_mm256_cvttpd_epu64)(a_))
#define _mm512_reduce_max_epu64(x) CT_UNARY(uint64_t, __m512i, x, (_mm512_reduce_max_epu64)(a_))
#undef _mm512_ternarylogic_epi64
#define _mm512_ternarylogic_epi64(x, y, z, table)                                                                      \
    CT_TERNARY(__m512i, __m512i, x, y, z,                                                                              \
               (__m512i)__builtin_ia32_pternlogq512_mask((__v8di)a_, (__v8di)b_, (__v8di)c_, table, (__mmask8)-1))
#endif

#endif
