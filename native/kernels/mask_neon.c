/* ARMv8 cryptography extension: eight blocks in flight, in the 32 registers of AArch64. */
#include "../dispatch.h"

#ifdef SA_NEON_AES
#include <arm_neon.h>

#include "../common/load.h"
#include "../common/zero.h"

#define SA_ISA neon
#ifdef __clang__
#define SA_ISA_TARGET SA_TARGET("aes")
#else
#define SA_ISA_TARGET SA_TARGET("+crypto")
#endif
#define SA_VEC uint8x16_t
#define SA_SCHEDULE 176

/* The S-box on every byte of a word: with the same word in all columns ShiftRows changes nothing. CT: secret=word; public=none */
SA_ISA_TARGET static inline uint32_t sub_word(uint32_t word)
{
    const uint8x16_t s = vaeseq_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), vdupq_n_u8(0));
    return vgetq_lane_u32(vreinterpretq_u32_u8(s), 0);
}

/* FIPS 197, section 5.2. CT: secret=schedule, key; public=none */
SA_ISA_TARGET void sa_key_expand_neon(uint8_t *schedule, const uint8_t *key)
{
    uint32_t rcon = 1, k[4];
    memcpy(k, key, 16);
    memcpy(schedule, k, 16);
    for (int round = 1; round <= 10; round++) {
        const uint32_t g = sub_word(k[3]);
        k[0] ^= ((g >> 8) | (g << 24)) ^ rcon;
        k[1] ^= k[0];
        k[2] ^= k[1];
        k[3] ^= k[2];
        rcon = (rcon << 1) ^ ((rcon >> 7) * 0x11b);
        memcpy(schedule + 16 * round, k, 16);
    }
    sa_wipe(k, sizeof k);
}

#define SA_COUNTER(i) \
    const uint8x16_t c##i = vreinterpretq_u8_u64(vcombine_u64(prefix, vcreate_u64(__builtin_bswap64(first + i))));
#define SA_COUNTERS(stream_id, ctr)                                       \
    const uint64x1_t prefix = vcreate_u64(__builtin_bswap64(stream_id));  \
    const uint64_t first = (ctr);                                         \
    SA_EIGHT(SA_COUNTER)

/* AESE adds the round key first, so the rounds are shifted by one and the last key is added at the end. AESE and AESMC of
 * one register stand together: processors fuse the pair. */
#define SA_START(i) uint8x16_t s##i = vaesmcq_u8(vaeseq_u8(c##i, rk));
#define SA_ENC(i) s##i = vaesmcq_u8(vaeseq_u8(s##i, rk));
#define SA_ENC_LAST(i) s##i = veorq_u8(vaeseq_u8(s##i, rk), last);
#define SA_ROUND(schedule, round, op)           \
    rk = vld1q_u8((schedule) + 16 * (round));   \
    SA_EIGHT(op)
#define SA_ENCRYPT(schedule)                                \
    const uint8x16_t last = vld1q_u8((schedule) + 160);     \
    uint8x16_t rk;                                          \
    SA_ROUND(schedule, 0, SA_START)                         \
    SA_ROUND(schedule, 1, SA_ENC)                           \
    SA_ROUND(schedule, 2, SA_ENC)                           \
    SA_ROUND(schedule, 3, SA_ENC)                           \
    SA_ROUND(schedule, 4, SA_ENC)                           \
    SA_ROUND(schedule, 5, SA_ENC)                           \
    SA_ROUND(schedule, 6, SA_ENC)                           \
    SA_ROUND(schedule, 7, SA_ENC)                           \
    SA_ROUND(schedule, 8, SA_ENC)                           \
    SA_ROUND(schedule, 9, SA_ENC_LAST)

#include "mask_lanes.inc.c"
#include "aes_rounds.inc.c"
#endif
