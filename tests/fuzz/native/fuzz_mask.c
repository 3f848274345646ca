/* Masks, keystream, and masks with packing: any number of keys, start, width and alignment. */
#include "fuzz.h"

#define MOST 600

#define DEFINE(bits)                                                                                                  \
    static void run_u##bits(struct recipe r, int first)                                                               \
    {                                                                                                                 \
        const unsigned w = (unsigned)below(&r, 70), what = (unsigned)below(&r, 3);                                    \
        const size_t n = below(&r, MOST), nkeys = below(&r, 9), shift = below(&r, 16), wrong = below(&r, 8);          \
        const uint64_t stream = number(&r, 8), start = number(&r, 1 + (unsigned)below(&r, 8));                        \
        const size_t right = sa_mask_scratch_bytes(nkeys), room = wrong == 0 ? right - 1 - below(&r, 64) : right;     \
        struct exact keys = exact(16 * nkeys, shift), signs = exact(nkeys, 0), scratch = exact(room, shift);          \
        struct exact lanes = exact(n * sizeof(uint##bits##_t), 0), out = exact((n * w + 7) / 8, 15 - shift), before;  \
        fill(&r, keys.at, keys.nbytes);                                                                               \
        fill(&r, lanes.at, lanes.nbytes);                                                                             \
        for (size_t i = 0; i < nkeys; i++)                                                                            \
            ((int8_t *)signs.at)[i] = keys.at[16 * i] & 1 ? 1 : -1;                                                   \
        uint##bits##_t *const values = (uint##bits##_t *)(void *)lanes.at;                                            \
        for (size_t i = 0; w > 0 && w < bits && i < n; i++)                                                           \
            values[i] &= (uint##bits##_t)(((uint64_t)1 << w) - 1);                                                    \
        before = copy_of(lanes, 0);                                                                                   \
        memset(scratch.at, 0, room);                                                                                  \
        memset(out.at, 0, out.nbytes);                                                                                \
        int code = SA_OK;                                                                                             \
        if (what == 0 && nkeys > 0) {                                                                                 \
            struct exact stretch = exact(n, shift);                                                                   \
            code = sa_keystream_fill(keys.at, stream, start, stretch.at, n);                                          \
            agree(first, code, stretch.at, n);                                                                        \
            drop(stretch);                                                                                            \
        } else if (what == 1) {                                                                                       \
            code = sa_mask_apply_u##bits(values, n, keys.at, (const int8_t *)signs.at, nkeys, stream, start, w,       \
                                         scratch.at, room);                                                           \
            agree(first, code, lanes.at, code == SA_OK ? lanes.nbytes : 0);                                           \
            for (size_t i = 0; code == SA_OK && i < nkeys; i++) /* the opposite masks give the values back */         \
                ((int8_t *)signs.at)[i] = (int8_t)-((int8_t *)signs.at)[i];                                           \
            if (code == SA_OK) {                                                                                      \
                for (size_t i = 0; i < room; i++)                                                                     \
                    MUST(scratch.at[i] == 0);                                                                         \
                MUST(sa_mask_apply_u##bits(values, n, keys.at, (const int8_t *)signs.at, nkeys, stream, start, w,     \
                                           scratch.at, room) == SA_OK);                                               \
                MUST(memcmp(lanes.at, before.at, lanes.nbytes) == 0);                                                 \
            }                                                                                                         \
        } else if (what == 2) {                                                                                       \
            code = sa_mask_pack_u##bits(values, n, keys.at, (const int8_t *)signs.at, nkeys, stream, start, w,        \
                                        out.at, out.nbytes, scratch.at, room);                                        \
            agree(first, code, out.at, code == SA_OK ? out.nbytes : 0);                                               \
        }                                                                                                             \
        drop(keys);                                                                                                   \
        drop(signs);                                                                                                  \
        drop(scratch);                                                                                                \
        drop(lanes);                                                                                                  \
        drop(out);                                                                                                    \
        drop(before);                                                                                                 \
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
