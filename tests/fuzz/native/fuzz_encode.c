/* Fixed-point encoding and the one-pass protection, of any floats: NaN, infinity, denormals, huge clips and weights. */
#include "fuzz.h"

#define MOST 300

#define DEFINE(real, type)                                                                                             \
    static void run_##real(struct recipe r, int first)                                                                 \
    {                                                                                                                  \
        const unsigned bits = (unsigned)below(&r, 36), w = (unsigned)below(&r, 70);                                    \
        const size_t n = below(&r, MOST), nkeys = below(&r, 4), rounded = below(&r, 2), kind = below(&r, 4);           \
        const uint64_t weight = number(&r, 1 + (unsigned)below(&r, 8)), start = number(&r, 1 + (unsigned)below(&r, 8)); \
        const double clips[] = {1.0, 0.37, 1e-300, 1e300, 0.0, -1.0, 0x1p-1074, 65504.0};                              \
        const double clip = clips[below(&r, 8)];                                                                       \
        const size_t room = sa_mask_scratch_bytes(nkeys);                                                              \
        struct exact x = exact(n * sizeof(type), 0), keys = exact(16 * (nkeys + 1), 0), signs = exact(nkeys, 0);       \
        struct exact scratch = exact(room, 3), out = exact(kind == 3 ? (n * w + 7) / 8 : n << (kind + 1), 0);          \
        uint64_t clipped = 0;                                                                                          \
        fill(&r, x.at, x.nbytes);                                                                                      \
        fill(&r, keys.at, keys.nbytes);                                                                                \
        memset(signs.at, 1, nkeys);                                                                                    \
        memset(out.at, 0, out.nbytes);                                                                                 \
        memset(scratch.at, 0, room);                                                                                   \
        const type *const values = (const type *)(const void *)x.at;                                                   \
        const uint8_t *const key = rounded ? keys.at : NULL;                                                           \
        void *const to = out.at;                                                                                       \
        int code;                                                                                                      \
        if (kind == 0)                                                                                                 \
            code = sa_fixed_encode_##real##_u16(values, n, clip, bits, to, key, 5, start, weight, &clipped);           \
        else if (kind == 1)                                                                                            \
            code = sa_fixed_encode_##real##_u32(values, n, clip, bits, to, key, 5, start, weight, &clipped);           \
        else if (kind == 2)                                                                                            \
            code = sa_fixed_encode_##real##_u64(values, n, clip, bits, to, key, 5, start, weight, &clipped);           \
        else                                                                                                           \
            code = sa_fixed_protect_##real(values, n, clip, bits, weight, key, keys.at + 16, (const int8_t *)signs.at, \
                                           nkeys, 5, start, w, out.at, out.nbytes, scratch.at, room, &clipped);        \
        agree(first, code, out.at, code == SA_OK ? out.nbytes : 0);                                                    \
        static uint64_t clipped_first;                                                                                 \
        clipped_first = first ? clipped : clipped_first;                                                               \
        MUST(code != SA_OK || clipped == clipped_first);                                                               \
        drop(x);                                                                                                       \
        drop(keys);                                                                                                    \
        drop(signs);                                                                                                   \
        drop(scratch);                                                                                                 \
        drop(out);                                                                                                     \
    }

DEFINE(f32, float)
DEFINE(f64, double)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recipe r = {data, size};
    on_each(below(&r, 2) ? run_f64 : run_f32, r);
    return 0;
}
