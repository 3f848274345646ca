/* AES-128 key expansion with AES-NI, for both x86 kernels: eleven round keys, 16 bytes each (FIPS 197, section 5.2). */
#ifndef SA_AESNI_KEY_H
#define SA_AESNI_KEY_H

#include <immintrin.h>

#include "../common/load.h"

/* CT: secret=schedule, key; public=none */
SA_TARGET("aes,sse4.1") static inline void sa_aesni_expand(uint8_t *schedule, const uint8_t *key)
{
    __m128i k = _mm_loadu_si128((const __m128i *)key);
    _mm_storeu_si128((__m128i *)schedule, k);
#define SA_NEXT_KEY(round, rcon)                                                  \
    {                                                                             \
        const __m128i g = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k, rcon), 0xff); \
        k = _mm_xor_si128(k, _mm_slli_si128(k, 4));                               \
        k = _mm_xor_si128(k, _mm_slli_si128(k, 8));                               \
        k = _mm_xor_si128(k, g);                                                  \
        _mm_storeu_si128((__m128i *)(schedule + 16 * (round)), k);                \
    }
    SA_NEXT_KEY(1, 0x01)
    SA_NEXT_KEY(2, 0x02)
    SA_NEXT_KEY(3, 0x04)
    SA_NEXT_KEY(4, 0x08)
    SA_NEXT_KEY(5, 0x10)
    SA_NEXT_KEY(6, 0x20)
    SA_NEXT_KEY(7, 0x40)
    SA_NEXT_KEY(8, 0x80)
    SA_NEXT_KEY(9, 0x1b)
    SA_NEXT_KEY(10, 0x36)
#undef SA_NEXT_KEY
}

#endif
