/* The entries of LSB-first bit packing: value i occupies bits i*w .. i*w + w - 1, bit 0 being the lowest of byte 0. */
#include "../common/ct.h"
#include "../common/load.h"
#include "../common/zero.h"
#include "../dispatch.h"

/* Values that several buffers are folded into at a time: a multiple of 8, so that each piece starts on a byte. */
#define SA_FOLD 2048

static int packed_length_is(size_t nbytes, size_t n, unsigned w)
{
    return n <= (SIZE_MAX >> 7) && nbytes == (n * w + 7) / 8;
}

/* CT: secret=all of buf but its padding; public=buf_bytes, n, w */
static int check_packed(const uint8_t *buf, size_t buf_bytes, size_t n, unsigned w)
{
    if (!packed_length_is(buf_bytes, n, w))
        return SA_ERR_ARGUMENT;
    const unsigned used = (unsigned)((n * w) & 7);
    return used != 0 && sa_ct_reveal(buf[buf_bytes - 1] >> used) != 0 ? SA_ERR_PADDING : SA_OK;
}

static int width_fits(unsigned w, int lane)
{
    return w <= 16u << lane && w > (lane == 0 ? 0 : 8u << lane);
}

/* CT: secret=values; public=n, w. The return code reveals whether some value is 2^w or more. */
static int bits_pack(int lane, const void *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes)
{
    if (!width_fits(w, lane) || !packed_length_is(out_bytes, n, w))
        return SA_ERR_ARGUMENT;
    const uint64_t over = sa_impl()->pack[lane](values, n, w, out, out_bytes) & ~sa_low_bits(w);
    sa_wipe_stack();
    return sa_ct_reveal(over != 0) != 0 ? SA_ERR_VALUE : SA_OK;
}

/* CT: secret=buf, out; public=buf_bytes, n, w. The return code reveals whether padding is zero. */
static int bits_unpack(int lane, const uint8_t *buf, size_t buf_bytes, unsigned w, void *out, size_t n)
{
    if (!width_fits(w, lane))
        return SA_ERR_ARGUMENT;
    const int bad = check_packed(buf, buf_bytes, n, w);
    if (bad == SA_OK) {
        sa_impl()->unpack[lane](buf, buf_bytes, w, out, n);
        sa_wipe_stack();
    }
    return bad;
}

/* CT: secret=acc, *bufs; public=n, bufs, nbufs, buf_bytes, w. The return code reveals whether padding is zero. */
static int bits_unpack_add(int lane, void *acc, size_t n, const uint8_t *const *bufs, size_t nbufs, size_t buf_bytes,
                           unsigned w)
{
    if (!width_fits(w, lane))
        return SA_ERR_ARGUMENT;
    for (size_t k = 0; k < nbufs; k++) {
        const int bad = check_packed(bufs[k], buf_bytes, n, w);
        if (bad != SA_OK)
            return bad;
    }
    sa_unpack_fn *const fn = sa_impl()->unpack_add[lane];
    uint8_t *const to = acc;
    const size_t step = nbufs == 1 ? n : SA_FOLD;
    for (size_t i = 0, take; i < n; i += take) {
        take = sa_min(step, n - i);
        const size_t at = i * w / 8, nbytes = (take * w + 7) / 8;
        for (size_t k = 0; k < nbufs; k++)
            fn(bufs[k] + at, nbytes, w, to + (i << (lane + 1)), take);
    }
    sa_wipe_stack();
    return SA_OK;
}

#define SA_BITS_ENTRY(bits, lane)                                                                                 \
    int sa_bits_pack_u##bits(const uint##bits##_t *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes)  \
    {                                                                                                             \
        return bits_pack(lane, values, n, w, out, out_bytes);                                                     \
    }                                                                                                             \
    int sa_bits_unpack_u##bits(const uint8_t *buf, size_t buf_bytes, unsigned w, uint##bits##_t *out, size_t n)   \
    {                                                                                                             \
        return bits_unpack(lane, buf, buf_bytes, w, out, n);                                                      \
    }                                                                                                             \
    /* CT: secret=acc, buf; public=n, buf_bytes, w. The return code reveals whether padding is zero. */       \
    int sa_bits_unpack_add_u##bits(uint##bits##_t *acc, size_t n, const uint8_t *buf, size_t buf_bytes, unsigned w) \
    {                                                                                                             \
        return bits_unpack_add(lane, acc, n, &buf, 1, buf_bytes, w);                                              \
    }                                                                                                             \
    /* CT: secret=acc, *bufs; public=n, bufs, nbufs, buf_bytes, w. The code: as before. */                                \
    int sa_bits_unpack_add_many_u##bits(uint##bits##_t *acc, size_t n, const uint8_t *const *bufs, size_t nbufs,  \
                                        size_t buf_bytes, unsigned w)                                             \
    {                                                                                                             \
        return bits_unpack_add(lane, acc, n, bufs, nbufs, buf_bytes, w);                                          \
    }                                                                                                             \
    /* CT: secret=acc, other; public=n, w */                                                                      \
    int sa_lanes_add_u##bits(uint##bits##_t *acc, const uint##bits##_t *other, size_t n, unsigned w)              \
    {                                                                                                             \
        if (!width_fits(w, lane))                                                                                 \
            return SA_ERR_ARGUMENT;                                                                               \
        const uint##bits##_t mask = (uint##bits##_t)sa_low_bits(w);                                               \
        for (size_t i = 0; i < n; i++)                                                                            \
            acc[i] = (uint##bits##_t)((acc[i] + other[i]) & mask);                                                \
        return SA_OK;                                                                                             \
    }
SA_BITS_ENTRY(16, 0)
SA_BITS_ENTRY(32, 1)
SA_BITS_ENTRY(64, 2)
