/* The entries of encoder and decoder: keystream words for stochastic rounding in small wiped pieces, values by the chosen kernel. */
#include "../common/ct.h"
#include "../common/load.h"
#include "../common/zero.h"
#include "../dispatch.h"

#define SA_WORDS 1024

/* CT: secret=none; public=all */
int sa_encode_prepare(struct sa_encode_args *args, double clip, unsigned bits, uint64_t weight)
{
    if (bits < 1 || bits > 32 || !(clip > 0.0))
        return SA_ERR_ARGUMENT;
    const double levels = (double)sa_low_bits(bits), scale = levels / (2.0 * clip);
    /* A clip so large or small that the scale, times 2^32, leaves the range of double. */
    if (!(scale > 0.0) || scale * 0x1p32 - scale * 0x1p32 != 0.0)
        return SA_ERR_ARGUMENT;
    *args = (struct sa_encode_args){clip, levels, scale, weight, 0, 0};
    return SA_OK;
}

/* CT: secret=x, out, key, *clipped; public=n, clip, bits, whether key is NULL, stream_id, start, weight. The return code
 * reveals whether any input was NaN or infinite. */
static int fixed_encode(int real, int lane, const void *x, size_t n, double clip, unsigned bits, void *out,
                        const uint8_t *key, uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped)
{
    const struct sa_impl *impl = sa_impl();
    struct sa_encode_args args;
    if (sa_encode_prepare(&args, clip, bits, weight) != SA_OK)
        return SA_ERR_ARGUMENT;
    sa_encode_fn *fn = impl->encode[real][lane];
    if (key == NULL) {
        fn(x, n, NULL, out, &args);
    } else {
        uint8_t schedule[SA_MAX_SCHEDULE] __attribute__((aligned(64)));
        uint32_t words[SA_WORDS] __attribute__((aligned(64)));
        const struct sa_mask_keys keys = {schedule, 1, 0};
        const size_t real_bytes = (size_t)4 << real, lane_bytes = (size_t)2 << lane;
        impl->expand(schedule, key);
        for (size_t done = 0, take; done < n; done += take) {
            /* The first piece is cut so that the others start on a block. */
            take = sa_min(n - done, SA_WORDS - (size_t)((start + done) % 4));
            memset(words, 0, take * sizeof words[0]);
            sa_mask_run(impl, 1, words, take, &keys, stream_id, start + done, UINT32_MAX);
            fn((const uint8_t *)x + done * real_bytes, take, words, (uint8_t *)out + done * lane_bytes, &args);
        }
        sa_wipe(schedule, sizeof schedule);
        sa_wipe(words, sizeof words);
    }
    sa_wipe_stack();
    *clipped = args.clipped;
    return sa_ct_reveal(args.nonfinite) == 0 ? SA_OK : SA_ERR_NONFINITE;
}

#define SA_ENCODE_ENTRY(fbits, type, real, bits_, lane)                                                             \
    int sa_fixed_encode_f##fbits##_u##bits_(const type *x, size_t n, double clip, unsigned bits, uint##bits_##_t *out, \
                                            const uint8_t *key, uint64_t stream_id, uint64_t start, uint64_t weight,   \
                                            uint64_t *clipped)                                                         \
    {                                                                                                                  \
        return fixed_encode(real, lane, x, n, clip, bits, out, key, stream_id, start, weight, clipped);                \
    }
SA_ENCODE_ENTRY(32, float, 0, 16, 0)
SA_ENCODE_ENTRY(32, float, 0, 32, 1)
SA_ENCODE_ENTRY(32, float, 0, 64, 2)
SA_ENCODE_ENTRY(64, double, 1, 16, 0)
SA_ENCODE_ENTRY(64, double, 1, 32, 1)
SA_ENCODE_ENTRY(64, double, 1, 64, 2)

/* CT: secret=sums, out; public=n, total_weight, clip, bits */
int sa_fixed_decode_u64(const uint64_t *sums, size_t n, uint64_t total_weight, double clip, unsigned bits, double *out)
{
    struct sa_encode_args args;
    if (sa_encode_prepare(&args, clip, bits, 1) != SA_OK)
        return SA_ERR_ARGUMENT;
    sa_impl()->decode(sums, n, 2.0 * clip / args.levels, (double)total_weight * clip, out);
    sa_wipe_stack();
    return SA_OK;
}
