/* VAES on 256-bit registers: 16 blocks in flight. Sixteen registers do not hold states, counters and accumulators: the
 * latter two come from the stack, which costs nothing beside eighty rounds. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include "aesni_key.h"

#define SA_ISA vaes256
#define SA_ISA_TARGET SA_TARGET("aes,sse4.1,avx2,vaes")
#define SA_VEC __m256i
#define SA_KEY(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(p)))
#define SA_XOR _mm256_xor_si256
#define SA_AES_ENC _mm256_aesenc_epi128
#define SA_AES_LAST _mm256_aesenclast_epi128

/* Counters are added as native 64-bit words and turned big-endian by one byte shuffle. */
#define SA_COUNTER(i) \
    const __m256i c##i = _mm256_shuffle_epi8(_mm256_add_epi64(first, _mm256_set_epi64x(2 * i + 1, 0, 2 * i, 0)), swap);
#define SA_COUNTERS(stream_id, ctr)                                                                              \
    const __m256i swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607));    \
    const __m256i first = _mm256_broadcastsi128_si256(_mm_set_epi64x((int64_t)(ctr), (int64_t)(stream_id)));     \
    SA_EIGHT(SA_COUNTER)

#include "mask_x86.inc.c"
#endif
