/* Bit packing on 512-bit registers.
 *
 * The values of one 64-bit word (four of 16 bits, two of 32, one of 64) first become a unit of per * w bits without gaps. A
 * register holds eight units, `unit` bytes once packed. Unit k begins at bit k * unit, so that a packed word has pieces of
 * at most three units when these have 32 bits or more, and a unit lies in at most two packed words. */
#include "../dispatch.h"

#ifdef SA_X86_64
#include <immintrin.h>

#include "../common/load.h"

#define SA_BITS_TARGET SA_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2")

/* Widths whose units have 32 to 63 bits. */
SA_INLINE int in_units(unsigned lane_bits, unsigned w)
{
    return 64 / lane_bits * w >= 32 && w < lane_bits;
}

/* The words of eight lanes-in-gaps as units. CT: secret=v; public=lane_bits, w */
SA_BITS_TARGET SA_INLINE __m512i close_gaps(unsigned lane_bits, unsigned w, __m512i v)
{
    enum { SELECT = 0xca }; /* a ? b : c */
    if (lane_bits == 16) {
        const __m512i moved = _mm512_srl_epi32(v, _mm_cvtsi32_si128((int)(16 - w)));
        v = _mm512_ternarylogic_epi64(_mm512_set1_epi32((1 << w) - 1), v, moved, SELECT);
        w *= 2;
    }
    if (lane_bits <= 32) {
        const __m512i moved = _mm512_srl_epi64(v, _mm_cvtsi32_si128((int)(32 - w)));
        v = _mm512_ternarylogic_epi64(_mm512_set1_epi64((1ll << w) - 1), v, moved, SELECT);
    }
    return v;
}

/* CT: secret=values; public=n, w */
SA_BITS_TARGET SA_INLINE uint64_t pack(unsigned lane_bits, const uint8_t *values, size_t n, unsigned w, uint8_t *out,
                                       size_t out_bytes, sa_pack_fn *rest)
{
    const unsigned unit = 64 / lane_bits * w, step = 512 / lane_bits;
    __m512i all = _mm512_setzero_si512();
    size_t i = 0, at = 0;
    if (!in_units(lane_bits, w))
        return rest(values, n, w, out, out_bytes);
    uint64_t from[3][8], shift[3][8];
    for (unsigned word = 0; word < 8; word++)
        for (unsigned k = 0; k < 3; k++) {
            const unsigned u = 64 * word / unit + k, begin = u * unit;
            from[k][word] = u & 7;
            shift[k][word] = u > 7 ? 64 : k == 0 ? 64 * word - begin : begin - 64 * word;
        }
    const __m512i from0 = _mm512_loadu_si512(from[0]), shift0 = _mm512_loadu_si512(shift[0]);
    const __m512i from1 = _mm512_loadu_si512(from[1]), shift1 = _mm512_loadu_si512(shift[1]);
    const __m512i from2 = _mm512_loadu_si512(from[2]), shift2 = _mm512_loadu_si512(shift[2]);
    for (; i + step <= n; i += step, at += unit) {
        const __m512i v = _mm512_loadu_si512(values + i * (lane_bits / 8));
        const __m512i units = close_gaps(lane_bits, w, v);
        const __m512i a = _mm512_srlv_epi64(_mm512_permutexvar_epi64(from0, units), shift0);
        const __m512i b = _mm512_sllv_epi64(_mm512_permutexvar_epi64(from1, units), shift1);
        const __m512i c = _mm512_sllv_epi64(_mm512_permutexvar_epi64(from2, units), shift2);
        const __m512i packed = _mm512_ternarylogic_epi64(a, b, c, 0xfe);
        all = _mm512_or_si512(all, v);
        if (at + 64 <= out_bytes)
            _mm512_storeu_si512(out + at, packed); /* what is too much is written again by the next step */
        else
            _mm512_mask_storeu_epi8(out + at, ((__mmask64)1 << unit) - 1, packed);
    }
    uint64_t lanes[8], over = 0;
    _mm512_storeu_si512(lanes, all);
    for (unsigned k = 0; k < 8; k++)
        over |= lane_bits == 64 ? lanes[k] : lanes[k] | lanes[k] >> 32;
    if (lane_bits < 64)
        over = lane_bits == 16 ? (over | over >> 16) & 0xffff : over & 0xffffffff;
    return over | rest(values + i * (lane_bits / 8), n - i, w, out + at, out_bytes - at);
}

/* lanes = values, or lanes += values modulo 2^w. CT: secret=buf, lanes; public=n, w, add */
SA_BITS_TARGET SA_INLINE void unpack(unsigned lane_bits, int add, const uint8_t *buf, size_t buf_bytes, unsigned w,
                                     uint8_t *lanes, size_t n, sa_unpack_fn *rest)
{
    const unsigned per = 64 / lane_bits, unit = per * w, step = 512 / lane_bits;
    size_t i = 0, at = 0;
    if (!in_units(lane_bits, w)) {
        rest(buf, buf_bytes, w, lanes, n);
        return;
    }
    uint64_t word[8], next[8], shift[8];
    uint8_t byte[64];
    for (unsigned u = 0; u < 8; u++) {
        word[u] = u * unit / 64;
        next[u] = (u * unit / 64 + 1) & 7;
        shift[u] = u * unit % 64;
    }
    for (unsigned k = 0; k < 64; k++) /* which eight bits of the unit each byte takes */
        byte[k] = (uint8_t)(k * 8 % lane_bits + k * 8 % 64 / lane_bits * w) & 63;
    const __m512i word_v = _mm512_loadu_si512(word), next_v = _mm512_loadu_si512(next);
    const __m512i shift_v = _mm512_loadu_si512(shift), byte_v = _mm512_loadu_si512(byte);
    const __m512i mask = lane_bits == 16   ? _mm512_set1_epi16((short)sa_low_bits(w))
                         : lane_bits == 32 ? _mm512_set1_epi32((int)sa_low_bits(w))
                                           : _mm512_set1_epi64((long long)sa_low_bits(w));
    for (; i + step <= n; i += step, at += unit) {
        uint8_t *const to = lanes + i * (lane_bits / 8);
        const __m512i packed = _mm512_maskz_loadu_epi8(((__mmask64)1 << unit) - 1, buf + at);
        __m512i v = _mm512_shrdv_epi64(_mm512_permutexvar_epi64(word_v, packed), _mm512_permutexvar_epi64(next_v, packed),
                                       shift_v);
        if (lane_bits < 64)
            v = _mm512_multishift_epi64_epi8(byte_v, v);
        if (add) {
            const __m512i old = _mm512_loadu_si512(to);
            v = lane_bits == 16 ? _mm512_add_epi16(v, old) : lane_bits == 32 ? _mm512_add_epi32(v, old) : _mm512_add_epi64(v, old);
        }
        _mm512_storeu_si512(to, _mm512_and_si512(v, mask));
    }
    rest(buf + at, buf_bytes - at, w, lanes + i * (lane_bits / 8), n - i);
}

#define SA_BITS_LANE(bits)                                                                                            \
    /* CT: secret=values; public=n, w */                                                                              \
    SA_BITS_TARGET uint64_t sa_pack_run_u##bits##_avx512(const void *values, size_t n, unsigned w, uint8_t *out,      \
                                                         size_t out_bytes)                                            \
    {                                                                                                                 \
        return pack(bits, values, n, w, out, out_bytes, sa_pack_run_u##bits##_portable);                              \
    }                                                                                                                 \
    /* CT: secret=buf, lanes; public=n, w */                                                                          \
    SA_BITS_TARGET void sa_unpack_run_u##bits##_avx512(const uint8_t *buf, size_t buf_bytes, unsigned w, void *lanes, \
                                                       size_t n)                                                      \
    {                                                                                                                 \
        unpack(bits, 0, buf, buf_bytes, w, lanes, n, sa_unpack_run_u##bits##_portable);                               \
    }                                                                                                                 \
    /* CT: secret=buf, lanes; public=n, w */                                                                          \
    SA_BITS_TARGET void sa_unpack_add_run_u##bits##_avx512(const uint8_t *buf, size_t buf_bytes, unsigned w,          \
                                                           void *lanes, size_t n)                                     \
    {                                                                                                                 \
        unpack(bits, 1, buf, buf_bytes, w, lanes, n, sa_unpack_add_run_u##bits##_portable);                           \
    }
SA_BITS_LANE(16)
SA_BITS_LANE(32)
SA_BITS_LANE(64)
#endif
