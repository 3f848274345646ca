/* Bit packing with any width, length, alignment and content. */
#include "fuzz.h"

#define MOST 700

#define DEFINE(bits)                                                                                                 \
    static void run_u##bits(struct recipe r, int first)                                                              \
    {                                                                                                                \
        const unsigned w = (unsigned)below(&r, 70), what = (unsigned)below(&r, 5);                                   \
        const size_t n = below(&r, MOST), shift = below(&r, 16), many = 1 + below(&r, 5), right = (n * w + 7) / 8;   \
        const unsigned wrong = (unsigned)below(&r, 8);                                                               \
        const size_t nbytes = wrong == 0 ? below(&r, 2 * MOST) : right;                                              \
        const int tidy = (int)below(&r, 2);                                                                          \
        struct exact packed = exact(nbytes, shift), lanes = exact(n * sizeof(uint##bits##_t), 0), before, others[5]; \
        const uint8_t *bufs[5];                                                                                      \
        fill(&r, packed.at, nbytes);                                                                                 \
        fill(&r, lanes.at, lanes.nbytes);                                                                            \
        uint##bits##_t *const values = (uint##bits##_t *)(void *)lanes.at;                                           \
        if (tidy && nbytes > 0 && n * w % 8 != 0)                                                                    \
            packed.at[nbytes - 1] &= (uint8_t)(0xff >> (8 - n * w % 8));                                             \
        for (size_t i = 0; tidy && w > 0 && w < bits && i < n; i++)                                                  \
            values[i] &= (uint##bits##_t)(((uint64_t)1 << w) - 1);                                                   \
        before = copy_of(lanes, 0);                                                                                  \
        for (size_t i = 0; i < many; i++) {                                                                          \
            others[i] = copy_of(packed, (shift + i) % 16);                                                           \
            bufs[i] = others[i].at;                                                                                  \
            if (i > 0 && i + 1 == many && nbytes > 0)                                                                \
                others[i].at[nbytes - 1] ^= (uint8_t)below(&r, 256);                                                 \
        }                                                                                                            \
        int code;                                                                                                    \
        if (what == 0) {                                                                                             \
            code = sa_bits_pack_u##bits(values, n, w, packed.at, nbytes);                                            \
            agree(first, code, packed.at, code == SA_OK ? nbytes : 0);                                               \
        } else if (what == 1) {                                                                                      \
            code = sa_bits_unpack_u##bits(packed.at, nbytes, w, values, n);                                          \
            agree(first, code, lanes.at, code == SA_OK ? lanes.nbytes : 0);                                          \
            if (code == SA_OK) {                                                                                     \
                struct exact again = exact(nbytes, 15 - shift);                                                      \
                MUST(sa_bits_pack_u##bits(values, n, w, again.at, nbytes) == SA_OK);                                 \
                MUST(memcmp(again.at, packed.at, nbytes) == 0);                                                      \
                drop(again);                                                                                         \
            }                                                                                                        \
        } else if (what == 2) {                                                                                      \
            code = sa_bits_unpack_add_u##bits(values, n, packed.at, nbytes, w);                                      \
            agree(first, code, lanes.at, lanes.nbytes);                                                              \
            MUST(code == SA_OK || memcmp(lanes.at, before.at, lanes.nbytes) == 0);                                   \
        } else if (what == 3) {                                                                                      \
            code = sa_bits_unpack_add_many_u##bits(values, n, bufs, many, nbytes, w);                                \
            agree(first, code, lanes.at, lanes.nbytes);                                                              \
            MUST(code == SA_OK || memcmp(lanes.at, before.at, lanes.nbytes) == 0);                                   \
        } else {                                                                                                     \
            code = sa_lanes_add_u##bits(values, (const uint##bits##_t *)(const void *)before.at, n, w);              \
            agree(first, code, lanes.at, lanes.nbytes);                                                              \
        }                                                                                                            \
        for (size_t i = 0; i < many; i++)                                                                            \
            drop(others[i]);                                                                                         \
        drop(packed);                                                                                                \
        drop(lanes);                                                                                                 \
        drop(before);                                                                                                \
    }

DEFINE(16)
DEFINE(32)
DEFINE(64)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recipe r = {data, size};
    static void (*const runs[])(struct recipe, int) = {run_u16, run_u32, run_u64};
    const size_t lane = below(&r, 3);
    on_each(runs[lane], r);
    return 0;
}
