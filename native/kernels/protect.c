/* Whole uploads in one pass: encode, mask and pack tile by tile, so that each value is read once and written once. */
#include "../common/ct.h"
#include "../common/load.h"
#include "../common/zero.h"
#include "../dispatch.h"

/* Values in a tile. With the rounding words it stays in the first-level cache beside a hundred key schedules; a multiple of 8,
 * so that each tile is packed from a whole byte on, and of every chunk. */
#define SA_TILE 1024

struct upload {
    const struct sa_impl *impl;
    struct sa_mask_keys keys;
    int lane;
    unsigned w;
    uint64_t stream_id, start;
    uint8_t *out;
};

static int lane_of(unsigned w)
{
    return w <= 16 ? 0 : w <= 32 ? 1 : 2;
}

static int packed_bytes_are(size_t out_bytes, size_t n, unsigned w)
{
    return w >= 1 && w <= 64 && n <= (SIZE_MAX >> 7) && out_bytes == (n * w + 7) / 8;
}

/* Masks `take` lanes from value `done` on and packs them. CT: secret=tile, up->keys; public=all else */
static void mask_and_pack(const struct upload *up, void *tile, size_t done, size_t take)
{
    const uint64_t mask = sa_low_bits(up->w);
    sa_mask_run(up->impl, up->lane, tile, take, &up->keys, up->stream_id, up->start + done, mask);
    up->impl->pack[up->lane](tile, take, up->w, up->out + done * up->w / 8, (take * up->w + 7) / 8);
}

/* CT: secret=x, rounding_key, keys, *clipped; public=all else. The return code reveals whether any input was NaN or infinite. */
static int fixed_protect(int real, const void *x, size_t n, double clip, unsigned bits, uint64_t weight,
                         const uint8_t *rounding_key, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                         uint64_t stream_id, uint64_t start, unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                         size_t scratch_bytes, uint64_t *clipped)
{
    const struct sa_impl *impl = sa_impl();
    struct upload up = {impl, {0}, lane_of(w), w, stream_id, start, out};
    struct sa_encode_args args;
    uint64_t tile[SA_TILE] __attribute__((aligned(64)));
    uint32_t words[SA_TILE] __attribute__((aligned(64)));
    uint8_t schedule[SA_MAX_SCHEDULE] __attribute__((aligned(64)));
    const struct sa_mask_keys rounding = {schedule, 1, 0};
    if (!packed_bytes_are(out_bytes, n, w) || sa_encode_prepare(&args, clip, bits, weight) != SA_OK ||
        sa_mask_expand(impl, keys, signs, nkeys, scratch, scratch_bytes, &up.keys) != SA_OK)
        return SA_ERR_ARGUMENT;
    if (rounding_key != NULL)
        impl->expand(schedule, rounding_key);
    for (size_t done = 0, take; done < n; done += take) {
        take = sa_min(n - done, SA_TILE);
        if (rounding_key != NULL) {
            memset(words, 0, take * sizeof words[0]);
            sa_mask_run(impl, 1, words, take, &rounding, stream_id, start + done, UINT32_MAX);
        }
        impl->encode[real][up.lane]((const uint8_t *)x + (done << (2 + real)), take, rounding_key != NULL ? words : NULL,
                                    tile, &args);
        mask_and_pack(&up, tile, done, take);
    }
    sa_wipe(tile, sizeof tile);
    sa_wipe(words, sizeof words);
    sa_wipe(schedule, sizeof schedule);
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    *clipped = args.clipped;
    if (sa_ct_reveal(args.nonfinite) == 0)
        return SA_OK;
    /* A mask hides one vector: what was made of the bad input must not lie about beside the upload of the mended one. */
    sa_wipe(out, out_bytes);
    return SA_ERR_NONFINITE;
}

int sa_fixed_protect_f32(const float *x, size_t n, double clip, unsigned bits, uint64_t weight, const uint8_t *rounding_key,
                         const uint8_t *keys, const int8_t *signs, size_t nkeys, uint64_t stream_id, uint64_t start,
                         unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch, size_t scratch_bytes,
                         uint64_t *clipped)
{
    return fixed_protect(0, x, n, clip, bits, weight, rounding_key, keys, signs, nkeys, stream_id, start, w, out, out_bytes,
                         scratch, scratch_bytes, clipped);
}

int sa_fixed_protect_f64(const double *x, size_t n, double clip, unsigned bits, uint64_t weight, const uint8_t *rounding_key,
                         const uint8_t *keys, const int8_t *signs, size_t nkeys, uint64_t stream_id, uint64_t start,
                         unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch, size_t scratch_bytes,
                         uint64_t *clipped)
{
    return fixed_protect(1, x, n, clip, bits, weight, rounding_key, keys, signs, nkeys, stream_id, start, w, out, out_bytes,
                         scratch, scratch_bytes, clipped);
}

/* CT: secret=values, keys; public=all else */
static int mask_pack(int lane, const void *values, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                     uint64_t stream_id, uint64_t start, unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                     size_t scratch_bytes)
{
    const struct sa_impl *impl = sa_impl();
    struct upload up = {impl, {0}, lane, w, stream_id, start, out};
    uint64_t tile[SA_TILE] __attribute__((aligned(64)));
    if (!packed_bytes_are(out_bytes, n, w) || lane != lane_of(w) ||
        sa_mask_expand(impl, keys, signs, nkeys, scratch, scratch_bytes, &up.keys) != SA_OK)
        return SA_ERR_ARGUMENT;
    for (size_t done = 0, take; done < n; done += take) {
        take = sa_min(n - done, SA_TILE);
        memcpy(tile, (const uint8_t *)values + (done << (lane + 1)), take << (lane + 1));
        mask_and_pack(&up, tile, done, take);
    }
    sa_wipe(tile, sizeof tile);
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    return SA_OK;
}

#define SA_MASK_PACK_ENTRY(bits, lane)                                                                                  \
    int sa_mask_pack_u##bits(const uint##bits##_t *values, size_t n, const uint8_t *keys, const int8_t *signs,          \
                             size_t nkeys, uint64_t stream_id, uint64_t start, unsigned w, uint8_t *out,                \
                             size_t out_bytes, uint8_t *scratch, size_t scratch_bytes)                                  \
    {                                                                                                                   \
        return mask_pack(lane, values, n, keys, signs, nkeys, stream_id, start, w, out, out_bytes, scratch,             \
                         scratch_bytes);                                                                                \
    }
SA_MASK_PACK_ENTRY(16, 0)
SA_MASK_PACK_ENTRY(32, 1)
SA_MASK_PACK_ENTRY(64, 2)
