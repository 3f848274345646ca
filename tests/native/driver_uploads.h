/* Decoding, and the fused uploads: the bytes of their parts, which driver.c holds against reference.h. */
static void test_decode(void)
{
    static const uint64_t special[] = {0, 1, 0xffffffff, 0x100000000, (1ull << 53) + 1, (1ull << 54) + 2, UINT64_MAX,
                                       UINT64_MAX - 1024, (1ull << 63) + 1025};
    for (size_t l = 0; l < COUNT(lengths); l++)
        for (unsigned bits = 1; bits <= 32; bits += 31) {
            const size_t n = lengths[l];
            const uint64_t weight = next_random() >> (n % 64);
            const double clip = 0.3, step = 2.0 * clip / (ldexp(1.0, (int)bits) - 1.0), offset = (double)weight * clip;
            uint64_t *sums = allocate(n * 8);
            double *out = allocate(n * 8);
            for (size_t i = 0; i < n; i++)
                sums[i] = i < COUNT(special) ? special[i] : next_random() >> (i % 64);
            CHECK(sa_fixed_decode_u64(sums, n, weight, clip, bits, out) == SA_OK, "decode");
            for (size_t i = 0; i < n; i++) {
                const double product = (double)sums[i] * step, expected = product - offset;
                CHECK(memcmp(&out[i], &expected, 8) == 0, "decode n=%zu i=%zu", n, i);
            }
            CHECK(sa_fixed_decode_u64(sums, n, weight, -clip, bits, out) == SA_ERR_ARGUMENT, "decode clip");
            free(sums);
            free(out);
        }
}

/* mask_pack and protect of float and double, for one length, width and start. */
#define DEFINE_TEST_UPLOAD(lane, code_bits)                                                                           \
    static void upload_once_u##lane(size_t n, unsigned w, size_t nkeys, uint64_t start)                               \
    {                                                                                                                 \
        const size_t nbytes = (n * w + 7) / 8, scratch_bytes = sa_mask_scratch_bytes(nkeys);                          \
        const uint64_t stream_id = next_random(), weight = 1 + next_random() % 3;                                     \
        const unsigned bits = w < code_bits ? w : code_bits;                                                          \
        uint8_t *keys = allocate(16 * nkeys), *scratch = allocate(scratch_bytes), rounding[16];                       \
        int8_t *signs = allocate(nkeys);                                                                              \
        uint##lane##_t *values = allocate(n * sizeof *values), *kept = allocate(n * sizeof *values);                  \
        uint8_t *expected = allocate(nbytes), *out = allocate(nbytes + 1);                                            \
        float *x = allocate(n * sizeof *x);                                                                           \
        double *wide = allocate(n * sizeof *wide);                                                                    \
        uint64_t clipped, found;                                                                                      \
        random_bytes(keys, 16 * nkeys);                                                                               \
        random_bytes(rounding, 16);                                                                                   \
        for (size_t k = 0; k < nkeys; k++)                                                                            \
            signs[k] = next_random() & 1 ? 1 : -1;                                                                    \
        for (size_t i = 0; i < n; i++)                                                                                \
            wide[i] = x[i] = (float)((double)(int64_t)next_random() / 9.3e18);                                        \
        for (int stochastic = 0; stochastic < 2; stochastic++) {                                                      \
            const uint8_t *const key = stochastic ? rounding : NULL;                                                  \
            sa_fixed_encode_f32_u##lane(x, n, 0.9, bits, values, key, stream_id, start, weight, &clipped);            \
            memcpy(kept, values, n * sizeof *values);                                                                 \
            sa_mask_apply_u##lane(values, n, keys, signs, nkeys, stream_id, start, w, scratch, scratch_bytes);        \
            CHECK(sa_bits_pack_u##lane(values, n, w, expected, nbytes) == SA_OK, "pack of masked");                   \
            CHECK(sa_mask_pack_u##lane(kept, n, keys, signs, nkeys, stream_id, start, w, out + 1, nbytes, scratch,    \
                                       scratch_bytes) == SA_OK, "mask_pack");                                         \
            CHECK(memcmp(out + 1, expected, nbytes) == 0, "mask_pack u" #lane " n=%zu w=%u", n, w);                   \
            memset(out, 0x55, nbytes + 1);                                                                            \
            CHECK(sa_fixed_protect_f32(x, n, 0.9, bits, weight, key, keys, signs, nkeys, stream_id, start, w, out + 1, \
                                       nbytes, scratch, scratch_bytes, &found) == SA_OK && found == clipped,          \
                  "protect f32");                                                                                     \
            CHECK(memcmp(out + 1, expected, nbytes) == 0, "protect f32 n=%zu w=%u", n, w);                            \
            memset(out, 0x55, nbytes + 1);                                                                            \
            CHECK(sa_fixed_protect_f64(wide, n, 0.9, bits, weight, key, keys, signs, nkeys, stream_id, start, w,      \
                                       out + 1, nbytes, scratch, scratch_bytes, &found) == SA_OK && found == clipped, \
                  "protect f64");                                                                                     \
            CHECK(memcmp(out + 1, expected, nbytes) == 0, "protect f64 n=%zu w=%u", n, w);                            \
            for (size_t i = 0; i < scratch_bytes; i++)                                                                \
                CHECK(scratch[i] == 0, "scratch byte %zu left behind", i);                                            \
        }                                                                                                             \
        CHECK(sa_fixed_protect_f32(x, n, 0.9, bits, weight, NULL, keys, signs, nkeys, stream_id, start, w, out,       \
                                   nbytes + 1, scratch, scratch_bytes, &found) == SA_ERR_ARGUMENT, "length");         \
        CHECK(sa_mask_pack_u##lane(values, n, keys, signs, nkeys, stream_id, start, w, out, nbytes + 1, scratch,      \
                                   scratch_bytes) == SA_ERR_ARGUMENT, "length");                                      \
        CHECK(sa_mask_pack_u##lane(values, n, keys, signs, nkeys, stream_id, start, w, out, nbytes, scratch,          \
                                   scratch_bytes - 1) == SA_ERR_ARGUMENT, "scratch");                                 \
        if (n > 0) {                                                                                                  \
            x[n / 2] = n % 2 ? NAN : INFINITY;                                                                        \
            CHECK(sa_fixed_protect_f32(x, n, 0.9, bits, weight, NULL, keys, signs, nkeys, stream_id, start, w,        \
                                       out + 1, nbytes, scratch, scratch_bytes, &found) == SA_ERR_NONFINITE, "NaN");  \
            for (size_t i = 0; i < nbytes; i++)                                                                       \
                CHECK(out[1 + i] == 0, "output left behind by an error");                                             \
        }                                                                                                             \
        free(keys);                                                                                                   \
        free(scratch);                                                                                                \
        free(signs);                                                                                                  \
        free(values);                                                                                                 \
        free(kept);                                                                                                   \
        free(expected);                                                                                               \
        free(out);                                                                                                    \
        free(x);                                                                                                      \
        free(wide);                                                                                                   \
    }                                                                                                                 \
    static void add_many_once_u##lane(size_t n, unsigned w, size_t nbufs)                                             \
    {                                                                                                                 \
        const size_t nbytes = (n * w + 7) / 8;                                                                        \
        uint##lane##_t *acc = allocate(n * sizeof *acc), *expected = allocate(n * sizeof *acc);                       \
        uint8_t **bufs = allocate(nbufs * sizeof *bufs);                                                              \
        memset(acc, 0, n * sizeof *acc);                                                                              \
        memset(expected, 0, n * sizeof *acc);                                                                         \
        for (size_t k = 0; k < nbufs; k++) {                                                                          \
            bufs[k] = allocate(nbytes);                                                                               \
            random_bytes(bufs[k], nbytes);                                                                            \
            if (n * w % 8 != 0)                                                                                       \
                bufs[k][nbytes - 1] &= (uint8_t)((1 << n * w % 8) - 1);                                               \
            sa_bits_unpack_add_u##lane(expected, n, bufs[k], nbytes, w);                                              \
        }                                                                                                             \
        const uint8_t *const *given = (const uint8_t *const *)bufs;                                                   \
        CHECK(sa_bits_unpack_add_many_u##lane(acc, n, given, nbufs, nbytes, w) == SA_OK, "add_many");                 \
        CHECK(memcmp(acc, expected, n * sizeof *acc) == 0, "add_many n=%zu w=%u", n, w);                              \
        if (nbufs > 1 && n * w % 8 != 0) {                                                                            \
            bufs[1][nbytes - 1] |= 0x80;                                                                              \
            CHECK(sa_bits_unpack_add_many_u##lane(acc, n, given, nbufs, nbytes, w) == SA_ERR_PADDING, "padding");     \
            CHECK(memcmp(acc, expected, n * sizeof *acc) == 0, "acc changed by an error");                            \
        }                                                                                                             \
        for (size_t k = 0; k < nbufs; k++)                                                                            \
            free(bufs[k]);                                                                                            \
        free(bufs);                                                                                                   \
        free(acc);                                                                                                    \
        free(expected);                                                                                               \
    }
DEFINE_TEST_UPLOAD(16, 16)
DEFINE_TEST_UPLOAD(32, 24)
DEFINE_TEST_UPLOAD(64, 32)

static void test_uploads(void)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 33, 257, 1023, 1024, 1025, 2049, 4099};
    static const uint64_t starts[] = {0, 3, 8, 0x1fffffffeu};
    for (size_t l = 0; l < COUNT(sizes); l++)
        for (size_t s = 0; s < COUNT(starts); s++) {
            upload_once_u16(sizes[l], l % 3 == 0 ? 16 : l % 3 == 1 ? 5 : 11, (l + s) % 3, starts[s]);
            upload_once_u32(sizes[l], l % 3 == 0 ? 32 : l % 3 == 1 ? 23 : 17, (l + s) % 3, starts[s]);
            upload_once_u64(sizes[l], l % 3 == 0 ? 64 : l % 3 == 1 ? 41 : 63, (l + s) % 3, starts[s]);
            add_many_once_u16(sizes[l], l % 2 ? 13 : 16, s);
            add_many_once_u32(sizes[l], l % 2 ? 31 : 32, s);
            add_many_once_u64(sizes[l], l % 2 ? 39 : 64, s);
        }
}
