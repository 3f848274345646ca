/* AES-NI on 128-bit registers; the including file defines SA_ISA and SA_ISA_TARGET. */
#include "aesni_key.h"

#define SA_VEC __m128i
#define SA_KEY(p) _mm_loadu_si128((const __m128i *)(p))
#define SA_XOR _mm_xor_si128
#define SA_AES_ENC _mm_aesenc_si128
#define SA_AES_LAST _mm_aesenclast_si128

#define SA_COUNTER(i) \
    const __m128i c##i = _mm_set_epi64x((int64_t)__builtin_bswap64(first + i), (int64_t)prefix);
#define SA_COUNTERS(stream_id, ctr)                         \
    const uint64_t prefix = __builtin_bswap64(stream_id);   \
    const uint64_t first = (ctr);                           \
    SA_EIGHT(SA_COUNTER)

#include "mask_x86.inc.c"
