/* The x86 mask kernels: eight registers of blocks in flight. The including file defines SA_ISA, SA_ISA_TARGET, SA_VEC (its
 * register type), SA_COUNTERS(stream_id, ctr) -> c0..c7, and for one register SA_KEY(p) (a round key, in every block),
 * SA_XOR, SA_AES_ENC and SA_AES_LAST. */
#define SA_SCHEDULE 176

/* CT: secret=schedule, key; public=none */
SA_ISA_TARGET void SA_CAT(sa_key_expand_, SA_ISA)(uint8_t *schedule, const uint8_t *key)
{
    sa_aesni_expand(schedule, key);
}

#define SA_WHITEN(i) SA_VEC s##i = SA_XOR(c##i, rk);
#define SA_ENC(i) s##i = SA_AES_ENC(s##i, rk);
#define SA_ENC_LAST(i) s##i = SA_AES_LAST(s##i, rk);
#define SA_ROUND(schedule, round, op)       \
    rk = SA_KEY((schedule) + 16 * (round)); \
    SA_EIGHT(op)
#define SA_ENCRYPT(schedule)             \
    SA_VEC rk;                           \
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
#include "aes_rounds.inc.c"
