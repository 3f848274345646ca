/* Runs every kernel on every implementation this machine has, against reference.h: odd lengths, misaligned pointers, exact
 * heap buffers (so that a sanitizer sees any byte too far), every error. Prints one line per implementation. */
#include "driver.h"

#include "driver_ring.h"
#include "driver_rlwe.h"
#include "driver_residues.h"
#include "driver_shamir.h"
#include "driver_uploads.h"

/* NIST SP 800-38A, F.5.1: CTR-AES128.Encrypt. */
static void test_vector(void)
{
    static const uint8_t key[16] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                    0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
    static const uint8_t output_blocks[64] = {
        0xec, 0x8c, 0xdf, 0x73, 0x98, 0x60, 0x7c, 0xb0, 0xf2, 0xd2, 0x16, 0x75, 0xea, 0x9e, 0xa1, 0xe4,
        0x36, 0x2b, 0x7c, 0x3c, 0x67, 0x73, 0x51, 0x63, 0x18, 0xa0, 0x77, 0xd7, 0xfc, 0x50, 0x73, 0xae,
        0x6a, 0x2c, 0xc3, 0x78, 0x78, 0x89, 0x37, 0x4f, 0xbe, 0xb4, 0xc8, 0x1b, 0x17, 0xba, 0x6c, 0x44,
        0xe8, 0x9c, 0x39, 0x9f, 0xf0, 0xf1, 0x98, 0xc6, 0xd4, 0x0a, 0x31, 0xdb, 0x15, 0x6c, 0xab, 0xfe};
    uint8_t out[64];
    sa_keystream_fill(key, 0xf0f1f2f3f4f5f6f7, 0xf8f9fafbfcfdfeff, out, 64);
    CHECK(memcmp(out, output_blocks, 64) == 0, "SP 800-38A F.5.1");
}

static void test_keystream(void)
{
    static const uint64_t blocks[] = {0, 1, 0xfffffffd, 0xfffffffffffffff0};
    for (size_t l = 0; l < COUNT(lengths); l++)
        for (size_t b = 0; b < COUNT(blocks); b++) {
            uint8_t key[17], *out = allocate(lengths[l] + 1), *expected = allocate(lengths[l]);
            random_bytes(key, 17);
            const uint64_t stream_id = next_random();
            ref_keystream(key + 1, stream_id, blocks[b], expected, lengths[l]);
            CHECK(sa_keystream_fill(key + 1, stream_id, blocks[b], out + 1, lengths[l]) == SA_OK, "keystream code");
            CHECK(memcmp(out + 1, expected, lengths[l]) == 0, "keystream, %zu bytes", lengths[l]);
            free(out);
            free(expected);
        }
}

#define DEFINE_TEST_MASK(bits)                                                                                        \
    static void mask_once_u##bits(size_t n, size_t nkeys, uint64_t start, unsigned w)                                 \
    {                                                                                                                 \
        const uint64_t stream_id = next_random(), mask = UINT64_MAX >> (64 - w);                                      \
        const size_t scratch_bytes = sa_mask_scratch_bytes(nkeys);                                                    \
        uint8_t *keys = allocate(16 * nkeys + 1), *scratch = allocate(scratch_bytes + 1);                             \
        int8_t *signs = allocate(nkeys);                                                                              \
        uint##bits##_t *whole = allocate((n + 1) * sizeof *whole), *acc = whole + 1;                                  \
        uint##bits##_t *expected = allocate(n * sizeof *whole);                                                       \
        random_bytes(keys, 16 * nkeys + 1);                                                                           \
        memset(scratch, 0, scratch_bytes + 1);                                                                        \
        for (size_t k = 0; k < nkeys; k++)                                                                            \
            signs[k] = next_random() & 1 ? 1 : -1;                                                                    \
        for (size_t i = 0; i < n; i++) {                                                                              \
            uint64_t sum = acc[i] = (uint##bits##_t)(next_random() & mask);                                           \
            for (size_t k = 0; k < nkeys; k++)                                                                        \
                sum += (uint64_t)(int64_t)signs[k] * ref_word(keys + 1 + 16 * k, stream_id, start + i, bits / 8);     \
            expected[i] = (uint##bits##_t)(sum & mask);                                                               \
        }                                                                                                             \
        const int code = sa_mask_apply_u##bits(acc, n, keys + 1, signs, nkeys, stream_id, start, w, scratch + 1,      \
                                               scratch_bytes);                                                        \
        CHECK(code == SA_OK, "mask code %d", code);                                                                   \
        CHECK(memcmp(acc, expected, n * sizeof *acc) == 0, "mask u" #bits " n=%zu keys=%zu w=%u", n, nkeys, w);       \
        for (size_t i = 0; i < scratch_bytes + 1; i++)                                                                \
            CHECK(scratch[i] == 0, "scratch byte %zu left behind", i);                                                \
        CHECK(sa_mask_apply_u##bits(acc, n, keys, signs, nkeys, 0, 0, w, scratch, scratch_bytes - 1) ==               \
                  SA_ERR_ARGUMENT, "short scratch");                                                                  \
        CHECK(sa_mask_apply_u##bits(acc, n, keys, signs, nkeys, 0, 0, bits + 1, scratch, scratch_bytes) ==            \
                  SA_ERR_ARGUMENT, "width too large");                                                                \
        free(keys);                                                                                                   \
        free(scratch);                                                                                                \
        free(signs);                                                                                                  \
        free(whole);                                                                                                  \
        free(expected);                                                                                               \
    }                                                                                                                 \
    static void test_mask_u##bits(void)                                                                               \
    {                                                                                                                 \
        static const uint64_t starts[] = {0, 1, 5, 0x1fffffffeu, 0xfffffffffffffffu};                                 \
        for (size_t l = 0; l < COUNT(lengths); l++)                                                                   \
            for (size_t s = 0; s < COUNT(starts); s++)                                                                \
                mask_once_u##bits(lengths[l], (l + s) % 4, starts[s], (l + s) % 2 ? bits : bits - 5);                 \
    }
DEFINE_TEST_MASK(16)
DEFINE_TEST_MASK(32)
DEFINE_TEST_MASK(64)

#define DEFINE_TEST_ENCODE(real, fbits, lane)                                                                         \
    static void test_encode_f##fbits##_u##lane(void)                                                                  \
    {                                                                                                                 \
        for (unsigned bits = 1; bits <= (lane < 32 ? 16 : 32); bits += 5)                                             \
            for (size_t l = 0; l < COUNT(lengths); l++) {                                                             \
                const size_t n = lengths[l];                                                                          \
                const double clip = l % 5 == 4 ? 0x1p-70 : l % 5 == 3 ? 0x1p-71 : l % 5 == 2 ? 0x1p-140 : 0.75;       \
                const uint64_t start = next_random() % 9, weight = next_random() % 1000, stream_id = next_random();   \
                real *x = allocate(n * sizeof *x);                                                                    \
                uint##lane##_t *out = allocate(n * sizeof *out);                                                      \
                uint8_t key[16];                                                                                      \
                uint64_t beyond = 0, clipped = 0;                                                                     \
                random_bytes(key, 16);                                                                                \
                for (size_t i = 0; i < n; i++) {                                                                      \
                    x[i] = (real)((double)(int64_t)next_random() / 9.3e18 * (l % 5 > 1 ? clip : 1.0));                \
                    if (i % 11 == 0)                                                                                  \
                        x[i] = (real)(i % 3 == 0 ? clip : i % 3 == 1 ? -clip : -0.0);                                 \
                }                                                                                                     \
                for (size_t i = 5; i < n; i += 9) /* subnormal, or nearly */                                          \
                    x[i] = (real)(x[i] * (i % 2 ? (fbits == 32 ? 0x1p-130 : 0x1p-1026) : 0x1p-126));                  \
                for (size_t i = 0; i < n; i++)                                                                        \
                    beyond += x[i] > clip || x[i] < -clip;                                                            \
                for (int stochastic = 0; stochastic < 2; stochastic++) {                                              \
                    const int code = sa_fixed_encode_f##fbits##_u##lane(x, n, clip, bits, out,                        \
                                                                        stochastic ? key : NULL, stream_id, start,    \
                                                                        weight, &clipped);                            \
                    CHECK(code == SA_OK && clipped == beyond, "encode code %d", code);                                \
                    for (size_t i = 0; i < n; i++) {                                                                  \
                        const uint32_t word = (uint32_t)ref_word(key, stream_id, start + i, 4);                       \
                        const uint64_t q = ref_encode((double)x[i], clip, bits, stochastic ? &word : NULL);           \
                        CHECK(out[i] == (uint##lane##_t)(q * weight), "encode f" #fbits " bits=%u n=%zu i=%zu", bits, \
                              n, i);                                                                                  \
                    }                                                                                                 \
                    if (n > 0) {                                                                                      \
                        const real kept = x[n / 2];                                                                   \
                        x[n / 2] = (real)(n % 3 == 0 ? NAN : n % 3 == 1 ? INFINITY : -INFINITY);                      \
                        CHECK(sa_fixed_encode_f##fbits##_u##lane(x, n, clip, bits, out, stochastic ? key : NULL, 0,   \
                                                                 start, weight, &clipped) == SA_ERR_NONFINITE,        \
                              "not finite");                                                                          \
                        x[n / 2] = kept;                                                                              \
                    }                                                                                                 \
                }                                                                                                     \
                free(x);                                                                                              \
                free(out);                                                                                            \
            }                                                                                                         \
    }
DEFINE_TEST_ENCODE(float, 32, 16)
DEFINE_TEST_ENCODE(float, 32, 32)
DEFINE_TEST_ENCODE(float, 32, 64)
DEFINE_TEST_ENCODE(double, 64, 16)
DEFINE_TEST_ENCODE(double, 64, 32)
DEFINE_TEST_ENCODE(double, 64, 64)

#define DEFINE_TEST_BITS(bits, first)                                                                                 \
    static void test_bits_u##bits(void)                                                                               \
    {                                                                                                                 \
        for (unsigned w = first; w <= bits; w++)                                                                      \
            for (size_t l = 0; l < COUNT(lengths); l++) {                                                             \
                const size_t n = lengths[l], nbytes = (n * w + 7) / 8;                                                \
                const uint64_t mask = UINT64_MAX >> (64 - w);                                                         \
                uint##bits##_t *v = allocate(n * sizeof *v), *back = allocate(n * sizeof *v);                         \
                uint##bits##_t *acc = allocate(n * sizeof *v), *sum = allocate(n * sizeof *v);                        \
                uint8_t *buf = (uint8_t *)allocate(nbytes + 1) + 1;                                                   \
                for (size_t i = 0; i < n; i++) {                                                                      \
                    v[i] = (uint##bits##_t)(next_random() & mask);                                                    \
                    acc[i] = (uint##bits##_t)(next_random() & mask);                                                  \
                    sum[i] = (uint##bits##_t)((acc[i] + v[i]) & mask);                                                \
                }                                                                                                     \
                CHECK(sa_bits_pack_u##bits(v, n, w, buf, nbytes) == SA_OK, "pack");                                   \
                for (size_t bit = 0; bit < 8 * nbytes; bit++)                                                         \
                    CHECK(ref_bit(buf, bit) == (bit < n * w ? (int)(v[bit / w] >> (bit % w) & 1) : 0),                \
                          "pack w=%u n=%zu bit %zu", w, n, bit);                                                      \
                CHECK(sa_bits_unpack_u##bits(buf, nbytes, w, back, n) == SA_OK, "unpack");                            \
                CHECK(memcmp(back, v, n * sizeof *v) == 0, "unpack w=%u n=%zu", w, n);                                \
                if (n * w % 8 != 0) {                                                                                 \
                    memcpy(back, acc, n * sizeof *v);                                                                 \
                    buf[nbytes - 1] |= 0x80;                                                                          \
                    CHECK(sa_bits_unpack_u##bits(buf, nbytes, w, back, n) == SA_ERR_PADDING, "padding");              \
                    CHECK(sa_bits_unpack_add_u##bits(back, n, buf, nbytes, w) == SA_ERR_PADDING, "padding");          \
                    CHECK(memcmp(back, acc, n * sizeof *v) == 0, "acc changed by an error");                          \
                    buf[nbytes - 1] &= 0x7f;                                                                          \
                }                                                                                                     \
                memcpy(back, acc, n * sizeof *v);                                                                     \
                CHECK(sa_bits_unpack_add_u##bits(back, n, buf, nbytes, w) == SA_OK, "unpack_add");                    \
                CHECK(memcmp(back, sum, n * sizeof *v) == 0, "unpack_add w=%u n=%zu", w, n);                          \
                CHECK(sa_lanes_add_u##bits(acc, v, n, w) == SA_OK, "add");                                            \
                CHECK(memcmp(acc, sum, n * sizeof *v) == 0, "add w=%u n=%zu", w, n);                                  \
                CHECK(sa_bits_pack_u##bits(v, n, w, buf, nbytes + 1) == SA_ERR_ARGUMENT, "length");                   \
                CHECK(sa_bits_unpack_u##bits(buf, nbytes + 1, w, back, n) == SA_ERR_ARGUMENT, "length");              \
                if (n > 0 && w < bits) {                                                                              \
                    v[n / 2] = (uint##bits##_t)(mask + 1);                                                            \
                    CHECK(sa_bits_pack_u##bits(v, n, w, buf, nbytes) == SA_ERR_VALUE, "value");                       \
                }                                                                                                     \
                free(v);                                                                                              \
                free(back);                                                                                           \
                free(acc);                                                                                            \
                free(sum);                                                                                            \
                free(buf - 1);                                                                                        \
            }                                                                                                         \
    }
DEFINE_TEST_BITS(16, 1)
DEFINE_TEST_BITS(32, 17)
DEFINE_TEST_BITS(64, 33)

int main(void)
{
    static uint8_t state[512];
    const char *name;
    CHECK(sa_select("no-such-isa") == SA_ERR_UNKNOWN, "unknown name");
    CHECK(strcmp(sa_selected(), sa_available(0)) == 0, "the default is the best");
    for (size_t i = 0; (name = sa_available(i)) != NULL; i++) {
        CHECK(sa_select(name) == SA_OK && strcmp(sa_selected(), name) == 0, "select %s", name);
        CHECK(sa_aes_rounds(state, sizeof state, 4096) == SA_OK, "rounds");
        CHECK(sa_aes_rounds(state, 127, 4096) == SA_ERR_ARGUMENT, "rounds on a short state");
        test_vector();
        test_keystream();
        test_mask_u16();
        test_mask_u32();
        test_mask_u64();
        test_encode_f32_u16();
        test_encode_f32_u32();
        test_encode_f32_u64();
        test_encode_f64_u16();
        test_encode_f64_u32();
        test_encode_f64_u64();
        test_bits_u16();
        test_bits_u32();
        test_bits_u64();
        test_decode();
        test_uploads();
        test_shamir();
        test_ring();
        test_residues();
        if (failures == 0)
            printf("%s ok\n", name);
    }
    test_bytes();
    if (failures == 0)
        printf("common ok\n");
    return failures != 0;
}
