/* VAES on 512-bit registers: 8 accumulators + 8 counters + 8 states + 1 round key, 32 blocks in flight. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include "aesni_key.h"

#define SA_ISA vaes512
#define SA_ISA_TARGET SA_TARGET("aes,sse4.1,vaes,avx512f,avx512bw,avx512vl,avx512dq")
#define SA_VEC __m512i
#define SA_SCHEDULE 176

/* CT: secret=schedule, key; public=none */
SA_ISA_TARGET void sa_key_expand_vaes512(uint8_t *schedule, const uint8_t *key)
{
    sa_aesni_expand(schedule, key);
}

/* Counters are added as native 64-bit words and turned big-endian by one byte shuffle. */
#define SA_COUNTER(i)                                                                                      \
    const __m512i c##i = _mm512_shuffle_epi8(                                                              \
        _mm512_add_epi64(first, _mm512_set_epi64(4 * i + 3, 0, 4 * i + 2, 0, 4 * i + 1, 0, 4 * i, 0)), swap);
#define SA_COUNTERS(stream_id, ctr)                                                                        \
    const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607));   \
    const __m512i first = _mm512_broadcast_i32x4(_mm_set_epi64x((int64_t)(ctr), (int64_t)(stream_id)));    \
    SA_EIGHT(SA_COUNTER)

#define SA_WHITEN(i) __m512i s##i = _mm512_xor_si512(c##i, rk);
#define SA_ENC(i) s##i = _mm512_aesenc_epi128(s##i, rk);
#define SA_ENC_LAST(i) s##i = _mm512_aesenclast_epi128(s##i, rk);
#define SA_ROUND(schedule, round, op)                                                                      \
    rk = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)((schedule) + 16 * (round))));            \
    SA_EIGHT(op)
#define SA_ENCRYPT(schedule)             \
    __m512i rk;                          \
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
