/* Masks, encoding, packing, Shamir, bytes. Lengths run past whole tiles and chunks into a rest of each. */
static const int8_t ct_signs[3] = {1, -1, 1};

#define MASK_CASES(bits)                                                                                              \
    CASE(sa_mask_apply_u##bits)                                                                                       \
    {                                                                                                                 \
        enum { N = 1200 };                                                                                            \
        const size_t scratch_bytes = sa_mask_scratch_bytes(3);                                                        \
        uint##bits##_t *acc = SECRET(acc, N * sizeof *acc, ANY);                                                      \
        uint8_t *keys = SECRET(keys, 48, ANY), *scratch = room(scratch_bytes);                                        \
        CALL(sa_mask_apply_u##bits(acc, N, keys, ct_signs, 3, 7, 5, bits - 3, scratch, scratch_bytes));               \
        REACHED(acc, N * sizeof *acc);                                                                                \
    }                                                                                                                 \
    CASE(sa_mask_pack_u##bits)                                                                                        \
    {                                                                                                                 \
        enum { N = 1200, W = bits - 3, BYTES = (N * W + 7) / 8 };                                                     \
        const size_t scratch_bytes = sa_mask_scratch_bytes(3);                                                        \
        uint##bits##_t *values = SECRET(values, N * sizeof *values, ANY);                                             \
        uint8_t *keys = SECRET(keys, 48, ANY), *scratch = room(scratch_bytes), *out = room(BYTES);                    \
        CALL(sa_mask_pack_u##bits(values, N, keys, ct_signs, 3, 7, 5, W, out, BYTES, scratch, scratch_bytes));        \
        REACHED(out, BYTES);                                                                                          \
    }
MASK_CASES(16)
MASK_CASES(32)
MASK_CASES(64)

CASE(sa_keystream_fill)
{
    uint8_t *key = SECRET(key, 16, ANY), *out = SECRET(out, 1200, ANY);
    CALL(sa_keystream_fill(key, 7, 5, out, 1200));
    REACHED(out, 1200);
}

#define ENCODE_CASE(type, kind, fbits, bits, width)                                                                   \
    CASE(sa_fixed_encode_f##fbits##_u##bits)                                                                          \
    {                                                                                                                 \
        enum { N = 1203 };                                                                                            \
        type *x = SECRET(x, N * sizeof *x, kind);                                                                     \
        uint##bits##_t *out = SECRET(out, N * sizeof *out, ANY);                                                      \
        uint8_t *key = SECRET(key, 16, ANY);                                                                          \
        uint64_t *clipped = SECRET(clipped, sizeof *clipped, ANY);                                                    \
        for (int stochastic = 0; stochastic < 2; stochastic++) {                                                      \
            CALL(sa_fixed_encode_f##fbits##_u##bits(x, N, 0.75, width, out, stochastic ? key : NULL, 7, 3, 5, clipped)); \
            REACHED(out, N * sizeof *out);                                                                            \
            REACHED(clipped, sizeof *clipped);                                                                        \
        }                                                                                                             \
    }
ENCODE_CASE(float, SINGLE, 32, 16, 13)
ENCODE_CASE(float, SINGLE, 32, 32, 24)
ENCODE_CASE(float, SINGLE, 32, 64, 32)
ENCODE_CASE(double, DOUBLE, 64, 16, 13)
ENCODE_CASE(double, DOUBLE, 64, 32, 24)
ENCODE_CASE(double, DOUBLE, 64, 64, 32)

CASE(sa_fixed_decode_u64)
{
    uint64_t *sums = SECRET(sums, 303 * 8, ANY);
    double *out = SECRET(out, 303 * 8, ANY);
    CALL(sa_fixed_decode_u64(sums, 303, 12, 0.75, 24, out));
    REACHED(out, 303 * 8);
}

#define PROTECT_CASE(type, kind, fbits)                                                                               \
    CASE(sa_fixed_protect_f##fbits)                                                                                   \
    {                                                                                                                 \
        enum { N = 1203 };                                                                                            \
        static const unsigned widths[] = {16, 27, 41};                                                                \
        const size_t scratch_bytes = sa_mask_scratch_bytes(3);                                                        \
        type *x = SECRET(x, N * sizeof *x, kind);                                                                     \
        uint8_t *rounding_key = SECRET(rounding_key, 16, ANY), *keys = SECRET(keys, 48, ANY);                         \
        uint8_t *scratch = room(scratch_bytes), *out = room(8 * N);                                                   \
        uint64_t *clipped = SECRET(clipped, sizeof *clipped, ANY);                                                    \
        for (size_t k = 0; k < 6; k++) {                                                                              \
            const unsigned w = widths[k / 2];                                                                         \
            CALL(sa_fixed_protect_f##fbits(x, N, 0.75, 12, 3, k % 2 ? rounding_key : NULL, keys, ct_signs, 3, 7, 5, w, \
                                           out, (N * w + 7) / 8, scratch, scratch_bytes, clipped));                   \
            REACHED(out, (N * w + 7) / 8);                                                                            \
            REACHED(clipped, sizeof *clipped);                                                                        \
        }                                                                                                             \
    }
PROTECT_CASE(float, SINGLE, 32)
PROTECT_CASE(double, DOUBLE, 64)

/* Every width that the lane may have, for each has ways of its own through the packing. */
#define BITS_CASES(bits, first)                                                                                       \
    CASE(sa_bits_pack_u##bits)                                                                                        \
    {                                                                                                                 \
        enum { N = 300 };                                                                                             \
        uint##bits##_t *raw = SECRET(values, N * sizeof *raw, ANY), *values = room(N * sizeof *values);               \
        uint8_t *out = room(8 * N);                                                                                   \
        for (unsigned w = first; w <= bits; w++) {                                                                    \
            for (size_t i = 0; i < N; i++)                                                                            \
                values[i] = (uint##bits##_t)(raw[i] & UINT64_MAX >> (64 - w));                                        \
            CALL(sa_bits_pack_u##bits(values, N, w, out, (N * w + 7) / 8));                                           \
            REACHED(out, (N * w + 7) / 8);                                                                            \
        }                                                                                                             \
    }                                                                                                                 \
    CASE(sa_bits_unpack_u##bits)                                                                                      \
    {                                                                                                                 \
        enum { N = 304 }; /* whole bytes of any width: the padding would be random here */                            \
        uint8_t *buf = SECRET(buf, 8 * N, ANY);                                                                       \
        uint##bits##_t *out = SECRET(out, N * sizeof *out, ANY);                                                      \
        for (unsigned w = first; w <= bits; w++) {                                                                    \
            CALL(sa_bits_unpack_u##bits(buf, N * w / 8, w, out, N));                                                  \
            REACHED(out, N * sizeof *out);                                                                            \
        }                                                                                                             \
    }                                                                                                                 \
    CASE(sa_bits_unpack_add_u##bits)                                                                                  \
    {                                                                                                                 \
        enum { N = 304 };                                                                                             \
        uint8_t *buf = SECRET(buf, 8 * N, ANY);                                                                       \
        uint##bits##_t *acc = SECRET(acc, N * sizeof *acc, ANY);                                                      \
        for (unsigned w = first; w <= bits; w++) {                                                                    \
            CALL(sa_bits_unpack_add_u##bits(acc, N, buf, N * w / 8, w));                                              \
            REACHED(acc, N * sizeof *acc);                                                                            \
        }                                                                                                             \
    }                                                                                                                 \
    CASE(sa_bits_unpack_add_many_u##bits)                                                                             \
    {                                                                                                                 \
        enum { N = 4104 };                                                                                            \
        uint8_t *first_buf = SECRET(bufs, 8 * N, ANY);                                                                \
        const uint8_t *const bufs[] = {first_buf, first_buf + 8};                                                     \
        uint##bits##_t *acc = SECRET(acc, N * sizeof *acc, ANY);                                                      \
        CALL(sa_bits_unpack_add_many_u##bits(acc, N, bufs, 2, N * (bits - 3) / 8, bits - 3));                         \
        REACHED(acc, N * sizeof *acc);                                                                                \
    }                                                                                                                 \
    CASE(sa_lanes_add_u##bits)                                                                                        \
    {                                                                                                                 \
        uint##bits##_t *acc = SECRET(acc, 300 * sizeof *acc, ANY), *other = SECRET(other, 300 * sizeof *acc, ANY);    \
        CALL(sa_lanes_add_u##bits(acc, other, 300, bits - 3));                                                        \
        REACHED(acc, 300 * sizeof *acc);                                                                              \
    }
BITS_CASES(16, 1)
BITS_CASES(32, 17)
BITS_CASES(64, 33)

/* Points of both paths: below 2^31, for the vectors, and above. */
CASE(sa_shamir_split_u64)
{
    enum { M = 13, T = 5, N = 9 };
    uint64_t *secrets = SECRET(secrets, 8 * M, BELOW(REF_P)), *coeffs = SECRET(coeffs, 8 * (T - 1) * M, BELOW(REF_P));
    uint64_t *shares = SECRET(shares, 8 * N * M, ANY), *xs = room(8 * N);
    for (int large = 0; large < 2; large++) {
        for (size_t i = 0; i < N; i++)
            xs[i] = large ? REF_P - 1 - i : i + 1;
        CALL(sa_shamir_split_u64(secrets, M, coeffs, T, xs, N, shares));
        REACHED(shares, 8 * N * M);
    }
}

CASE(sa_shamir_combine_u64)
{
    enum { M = 13, T = 5 };
    uint64_t *shares = SECRET(shares, 8 * T * M, BELOW(REF_P)), *out = SECRET(out, 8 * M, ANY);
    uint64_t *xs = room(8 * T), *weights = room(8 * T), *scratch = room(8 * T);
    for (size_t i = 0; i < T; i++)
        xs[i] = 2 * i + 1;
    if (sa_shamir_weights_u64(xs, T, weights, scratch) != SA_OK)
        abort();
    CALL(sa_shamir_combine_u64(weights, T, shares, M, out));
    REACHED(out, 8 * M);
}

/* What comes out is for the caller to reveal. */
CASE(sa_ct_equal)
{
    uint8_t *a = SECRET(a, 33, ANY), *b = SECRET(b, 33, ANY);
    int *const results = room(4 * 34);
    for (size_t n = 0; n <= 33; n++)
        STEPWISE(results[n] = sa_ct_equal(a, b, n));
    REACHED(results + 1, 4 * 33);
}

/* Afterwards nothing is secret any more. */
CASE(sa_zero)
{
    uint8_t *p = SECRET(p, 33, ANY);
    STEPWISE(sa_zero(p, 33));
    for (size_t i = 0; i < 33; i++)
        if (p[i] != 0)
            ct_faults++;
}
