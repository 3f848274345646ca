/* VAES on 512-bit registers: 8 accumulators + 8 counters + 8 states + 1 round key, 32 blocks in flight. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include "aesni_key.h"

#define SA_ISA vaes512
#define SA_ISA_TARGET SA_TARGET("aes,sse4.1,vaes,avx512f,avx512bw,avx512vl,avx512dq")
#define SA_VEC __m512i
#define SA_KEY(p) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(p)))
#define SA_XOR _mm512_xor_si512
#define SA_AES_ENC _mm512_aesenc_epi128
#define SA_AES_LAST _mm512_aesenclast_epi128

/* Counters are added as native 64-bit words and turned big-endian by one byte shuffle. */
#define SA_COUNTER(i)                                                                                      \
    const __m512i c##i = _mm512_shuffle_epi8(                                                              \
        _mm512_add_epi64(first, _mm512_set_epi64(4 * i + 3, 0, 4 * i + 2, 0, 4 * i + 1, 0, 4 * i, 0)), swap);
#define SA_COUNTERS(stream_id, ctr)                                                                        \
    const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607));   \
    const __m512i first = _mm512_broadcast_i32x4(_mm_set_epi64x((int64_t)(ctr), (int64_t)(stream_id)));    \
    SA_EIGHT(SA_COUNTER)

#include "mask_x86.inc.c"
#endif
