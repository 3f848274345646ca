/* Plain C: bitsliced, eight blocks at once. */
#include "aes_bitslice.h"

#include "../common/zero.h"
#include "../dispatch.h"

#define SA_ISA portable
#define SA_ISA_TARGET
#define SA_VEC sa_plane
#define SA_SCHEDULE 704

/* CT: secret=word; public=none */
static uint32_t sub_word(uint32_t word)
{
    sa_plane q[8] = {{word, 0}};
    sa_bits_transpose(q);
    sa_sub_bytes(q);
    sa_bits_transpose(q);
    const uint32_t out = (uint32_t)q[0][0] ^ 0x63636363u;
    sa_wipe(q, sizeof q);
    return out;
}

/* FIPS 197, section 5.2, then each round key into planes. CT: secret=schedule, key; public=none */
void sa_key_expand_portable(uint8_t *schedule, const uint8_t *key)
{
    uint32_t words[4];
    uint32_t rcon = 1;
    sa_plane q[8];
    memcpy(words, key, sizeof words);
    for (int round = 0; round <= 10; round++) {
        if (round > 0) {
            words[0] ^= sub_word((words[3] >> 8) | (words[3] << 24)) ^ rcon;
            for (int i = 1; i < 4; i++)
                words[i] ^= words[i - 1];
            rcon = (rcon << 1) ^ ((rcon >> 7) * 0x11b);
        }
        /* From the second round key on, the constant that sa_sub_bytes leaves out. */
        const uint64_t constant = round > 0 ? 0x6363636363636363 : 0;
        const uint64_t lo = (words[0] | (uint64_t)words[1] << 32) ^ constant;
        const uint64_t hi = (words[2] | (uint64_t)words[3] << 32) ^ constant;
        for (int i = 0; i < 8; i++)
            q[i] = (sa_plane){0, 0} + (i < 4 ? lo : hi);
        sa_bits_transpose(q);
        for (int i = 0; i < 8; i++)
            sa_store64(schedule + 64 * round + 8 * i, q[i][0]);
    }
    sa_wipe(q, sizeof q);
    sa_wipe(words, sizeof words);
}

/* Word i < 4 is the first half of block i, word i + 4 its second half; blocks 4..7 sit in the upper vector halves. */
#define SA_COUNTERS(stream_id, ctr)                                                                      \
    sa_plane c[8];                                                                                       \
    for (unsigned i = 0; i < 4; i++) {                                                                   \
        c[i] = (sa_plane){0, 0} + __builtin_bswap64(stream_id);                                          \
        c[i + 4] = (sa_plane){__builtin_bswap64((ctr) + i), __builtin_bswap64((ctr) + 4 + i)};           \
    }                                                                                                    \
    sa_bits_transpose(c);

#define SA_BLOCK(i) const sa_plane s##i = {q[i & 3][i >> 2], q[(i & 3) + 4][i >> 2]};
#define SA_ENCRYPT(schedule)             \
    sa_plane q[8];                       \
    memcpy(q, c, sizeof q);              \
    sa_bitslice_encrypt(q, schedule);    \
    sa_bits_transpose(q);                \
    SA_EIGHT(SA_BLOCK)

#include "mask_lanes.inc.c"

/* Ten rounds for every chunk, with zero as every round key. CT: secret=none; public=all */
void sa_aes_rounds_portable(uint8_t *state, size_t chunks)
{
    const uint8_t schedule[SA_SCHEDULE] = {0};
    sa_plane q[8];
    memcpy(q, state, sizeof q);
    for (; chunks != 0; chunks--)
        sa_bitslice_encrypt(q, schedule);
    memcpy(state, q, sizeof q);
}
