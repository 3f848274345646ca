/* AES-NI: eight blocks in flight. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include "aesni_key.h"

#define SA_ISA aesni
#define SA_ISA_TARGET SA_TARGET("aes,sse4.1")
#define SA_VEC __m128i
#define SA_SCHEDULE 176

/* CT: secret=schedule, key; public=none */
SA_ISA_TARGET void sa_key_expand_aesni(uint8_t *schedule, const uint8_t *key)
{
    sa_aesni_expand(schedule, key);
}

#define SA_COUNTER(i) \
    const __m128i c##i = _mm_set_epi64x((int64_t)__builtin_bswap64(first + i), (int64_t)prefix);
#define SA_COUNTERS(stream_id, ctr)                         \
    const uint64_t prefix = __builtin_bswap64(stream_id);   \
    const uint64_t first = (ctr);                           \
    SA_EIGHT(SA_COUNTER)

#define SA_WHITEN(i) __m128i s##i = _mm_xor_si128(c##i, rk);
#define SA_ENC(i) s##i = _mm_aesenc_si128(s##i, rk);
#define SA_ENC_LAST(i) s##i = _mm_aesenclast_si128(s##i, rk);
#define SA_ROUND(schedule, round, op)                                        \
    rk = _mm_loadu_si128((const __m128i *)((schedule) + 16 * (round)));      \
    SA_EIGHT(op)
#define SA_ENCRYPT(schedule)             \
    __m128i rk;                          \
    SA_ROUND(schedule, 0, SA_WHITEN)     \
    SA_ROUND(schedule, 1, SA_ENC)        \
    SA_ROUND(schedule, 2, SA_ENC)        \
    SA_ROUND(schedule, 3, SA_ENC)        \
    SA_ROUND(schedule, 4, SA_ENC)        \
    SA_ROUND(schedule, 5, SA_ENC)        \
    SA_ROUND(schedule, 6, SA_ENC)        \
    SA_ROUND(schedule, 7, SA_ENC)        \
    SA_ROUND(schedule, 8, SA_ENC)        \
    SA_ROUND(schedule, 9, SA_ENC)        \
    SA_ROUND(schedule, 10, SA_ENC_LAST)

#include "mask_lanes.inc.c"
#endif
