/* Bit packing on 256-bit registers, for lanes of 16 and 32 bits; in units, as in bits_avx512.c, of which a register holds four.
 * Lanes of 64 bits gain nothing over plain C, which moves one word at a time as well. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include <immintrin.h>

#include "../common/load.h"

#define SA_BITS_TARGET SA_TARGET("avx2")

/* Widths whose units have 32 to 62 bits. */
SA_INLINE int in_units(unsigned lane_bits, unsigned w)
{
    return 64 / lane_bits * w >= 32 && w < lane_bits;
}

/* CT: secret=a, b, mask; public=none */
SA_BITS_TARGET SA_INLINE __m256i choose(__m256i mask, __m256i a, __m256i b)
{
    return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}

/* Values in their lanes become units. CT: secret=v; public=lane_bits, w */
SA_BITS_TARGET SA_INLINE __m256i close_gaps(unsigned lane_bits, unsigned w, __m256i v)
{
    if (lane_bits == 16) {
        v = choose(_mm256_set1_epi32((1 << w) - 1), v, _mm256_srl_epi32(v, _mm_cvtsi32_si128((int)(16 - w))));
        w *= 2;
    }
    return choose(_mm256_set1_epi64x((1ll << w) - 1), v, _mm256_srl_epi64(v, _mm_cvtsi32_si128((int)(32 - w))));
}

/* The inverse, but for bits above w. CT: secret=v; public=lane_bits, w */
SA_BITS_TARGET SA_INLINE __m256i open_gaps(unsigned lane_bits, unsigned w, __m256i v)
{
    const unsigned half = lane_bits == 16 ? 2 * w : w;
    v = _mm256_blend_epi32(v, _mm256_sll_epi64(v, _mm_cvtsi32_si128((int)(32 - half))), 0xaa);
    if (lane_bits == 16)
        v = _mm256_blend_epi16(v, _mm256_sll_epi32(v, _mm_cvtsi32_si128((int)(16 - w))), 0xaa);
    return v;
}

/* CT: secret=values; public=n, w */
SA_BITS_TARGET SA_INLINE uint64_t pack(unsigned lane_bits, const uint8_t *values, size_t n, unsigned w, uint8_t *out,
                                       size_t out_bytes, sa_pack_fn *rest)
{
    const unsigned unit = 64 / lane_bits * w, step = 256 / lane_bits;
    __m256i all = _mm256_setzero_si256();
    size_t i = 0, at = 0;
    if (!in_units(lane_bits, w))
        return rest(values, n, w, out, out_bytes);
    uint32_t from[3][8];
    uint64_t shift[3][4];
    for (unsigned word = 0; word < 4; word++)
        for (unsigned k = 0; k < 3; k++) {
            const unsigned u = 64 * word / unit + k, begin = u * unit;
            from[k][2 * word] = 2 * u & 7;
            from[k][2 * word + 1] = (2 * u + 1) & 7;
            shift[k][word] = u > 3 ? 64 : k == 0 ? 64 * word - begin : begin - 64 * word;
        }
    const __m256i from0 = _mm256_loadu_si256((const __m256i *)from[0]), shift0 = _mm256_loadu_si256((const __m256i *)shift[0]);
    const __m256i from1 = _mm256_loadu_si256((const __m256i *)from[1]), shift1 = _mm256_loadu_si256((const __m256i *)shift[1]);
    const __m256i from2 = _mm256_loadu_si256((const __m256i *)from[2]), shift2 = _mm256_loadu_si256((const __m256i *)shift[2]);
    for (; i + step <= n && at + 32 <= out_bytes; i += step, at += unit / 2) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(values + i * (lane_bits / 8)));
        const __m256i units = close_gaps(lane_bits, w, v);
        const __m256i a = _mm256_srlv_epi64(_mm256_permutevar8x32_epi32(units, from0), shift0);
        const __m256i b = _mm256_sllv_epi64(_mm256_permutevar8x32_epi32(units, from1), shift1);
        const __m256i c = _mm256_sllv_epi64(_mm256_permutevar8x32_epi32(units, from2), shift2);
        all = _mm256_or_si256(all, v);
        /* What is too much is written again by the next step. */
        _mm256_storeu_si256((__m256i *)(out + at), _mm256_or_si256(_mm256_or_si256(a, b), c));
    }
    uint64_t lanes[4];
    _mm256_storeu_si256((__m256i *)lanes, all);
    uint64_t over = lanes[0] | lanes[1] | lanes[2] | lanes[3];
    over |= over >> 32;
    over = lane_bits == 16 ? (over | over >> 16) & 0xffff : over & 0xffffffff;
    return over | rest(values + i * (lane_bits / 8), n - i, w, out + at, out_bytes - at);
}

/* lanes = values, or lanes += values modulo 2^w. CT: secret=buf, lanes; public=n, w, add */
SA_BITS_TARGET SA_INLINE void unpack(unsigned lane_bits, int add, const uint8_t *buf, size_t buf_bytes, unsigned w,
                                     uint8_t *lanes, size_t n, sa_unpack_fn *rest)
{
    const unsigned unit = 64 / lane_bits * w, step = 256 / lane_bits;
    size_t i = 0, at = 0;
    if (!in_units(lane_bits, w)) {
        rest(buf, buf_bytes, w, lanes, n);
        return;
    }
    uint32_t low[8], high[8];
    uint64_t shift[4], back[4];
    for (unsigned u = 0; u < 4; u++) {
        const unsigned word = u * unit / 32;
        low[2 * u] = word;
        low[2 * u + 1] = word + 1;
        high[2 * u] = (word + 2) & 7;
        high[2 * u + 1] = (word + 3) & 7; /* shifted out */
        shift[u] = u * unit % 32;
        back[u] = 64 - shift[u];
    }
    const __m256i low_v = _mm256_loadu_si256((const __m256i *)low), shift_v = _mm256_loadu_si256((const __m256i *)shift);
    const __m256i high_v = _mm256_loadu_si256((const __m256i *)high), back_v = _mm256_loadu_si256((const __m256i *)back);
    const __m256i mask = lane_bits == 16 ? _mm256_set1_epi16((short)sa_low_bits(w)) : _mm256_set1_epi32((int)sa_low_bits(w));
    for (; i + step <= n && at + 32 <= buf_bytes; i += step, at += unit / 2) {
        __m256i *const to = (__m256i *)(lanes + i * (lane_bits / 8));
        const __m256i packed = _mm256_loadu_si256((const __m256i *)(buf + at));
        __m256i v = _mm256_or_si256(_mm256_srlv_epi64(_mm256_permutevar8x32_epi32(packed, low_v), shift_v),
                                    _mm256_sllv_epi64(_mm256_permutevar8x32_epi32(packed, high_v), back_v));
        v = open_gaps(lane_bits, w, v);
        if (add) {
            const __m256i old = _mm256_loadu_si256(to);
            v = lane_bits == 16 ? _mm256_add_epi16(v, old) : _mm256_add_epi32(v, old);
        }
        _mm256_storeu_si256(to, _mm256_and_si256(v, mask));
    }
    rest(buf + at, buf_bytes - at, w, lanes + i * (lane_bits / 8), n - i);
}

#define SA_BITS_LANE(bits)                                                                                          \
    /* CT: secret=values; public=n, w */                                                                            \
    SA_BITS_TARGET uint64_t sa_pack_run_u##bits##_avx2(const void *values, size_t n, unsigned w, uint8_t *out,      \
                                                       size_t out_bytes)                                            \
    {                                                                                                               \
        return pack(bits, values, n, w, out, out_bytes, sa_pack_run_u##bits##_portable);                            \
    }                                                                                                               \
    /* CT: secret=buf, lanes; public=n, w */                                                                        \
    SA_BITS_TARGET void sa_unpack_run_u##bits##_avx2(const uint8_t *buf, size_t buf_bytes, unsigned w, void *lanes, \
                                                     size_t n)                                                      \
    {                                                                                                               \
        unpack(bits, 0, buf, buf_bytes, w, lanes, n, sa_unpack_run_u##bits##_portable);                             \
    }                                                                                                               \
    /* CT: secret=buf, lanes; public=n, w */                                                                        \
    SA_BITS_TARGET void sa_unpack_add_run_u##bits##_avx2(const uint8_t *buf, size_t buf_bytes, unsigned w,          \
                                                         void *lanes, size_t n)                                     \
    {                                                                                                               \
        unpack(bits, 1, buf, buf_bytes, w, lanes, n, sa_unpack_add_run_u##bits##_portable);                         \
    }
SA_BITS_LANE(16)
SA_BITS_LANE(32)
#endif
