/* The ring against its definitions: schoolbook products, values at points, keystream words taken one by one. */
#include "driver_ring_table.h"

/* out = a * b modulo X^n + 1. */
static void schoolbook(const uint64_t *a, const uint64_t *b, uint64_t *out, size_t n, uint64_t q)
{
    memset(out, 0, 8 * n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; a[i] != 0 && j < n; j++) {
            const uint64_t product = a[i] == 1 ? b[j] : a[i] == q - 1 ? (q - b[j]) % q : mod_mul(a[i], b[j], q);
            const size_t k = (i + j) % n;
            out[k] = (out[k] + (i + j < n ? product : (q - product) % q)) % q;
        }
}

static void ref_uniform(const uint8_t *key, uint64_t stream_id, uint64_t index, size_t n, uint64_t q, uint64_t *out)
{
    const unsigned width = q >> 50 == 0 ? 52 : 64;
    const uint64_t mask = UINT64_MAX >> (64 - width);
    for (size_t i = 0; i < n; i++) {
        uint8_t block[16];
        uint64_t words[2];
        ref_keystream(key, stream_id, index * n + i, block, 16);
        memcpy(words, block, 16);
        const unsigned __int128 low = (unsigned __int128)(words[0] & mask) * q, high = (unsigned __int128)(words[1] & mask) * q;
        out[i] = (uint64_t)((high + (low >> width)) >> width);
    }
}

static void ref_ternary(const uint8_t *key, uint64_t stream_id, uint64_t index, size_t n, uint64_t q, uint64_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (3 * ref_word(key, stream_id, index * n + i, 4) / 4294967296u + q - 1) % q;
}

static void ref_binomial(const uint8_t *key, uint64_t stream_id, uint64_t index, size_t n, uint64_t q, uint64_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t word = ref_word(key, stream_id, index * n + i, 8);
        uint64_t sum = q;
        for (int bit = 0; bit < 21; bit++)
            sum += (word >> bit & 1) - (word >> (21 + bit) & 1);
        out[i] = sum % q;
    }
}

static void expect_zero(const uint8_t *scratch, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        CHECK(scratch[i] == 0, "scratch byte %zu left behind", i);
}

static void test_ring_transform(const uint64_t *table)
{
    const uint64_t q = table[0], psi = table[15];
    const size_t n = (size_t)table[1];
    uint64_t *const a = (uint64_t *)allocate(8 * (2 * n + 1)) + 1, *const before = allocate(16 * n);
    random_residues(a, 2 * n, q);
    for (size_t i = 0; i < n; i++)
        a[i] = q - 1; /* the sums that grow most */
    memcpy(before, a, 16 * n);
    CHECK(sa_ring_forward(table, a, 2) == SA_OK, "forward");
    for (size_t k = 0; k < 12; k++) {
        const size_t place = k < 4 ? k : next_random() % n;
        const uint64_t point = mod_power(psi, 2 * reversed(place, n) + 1, q);
        uint64_t value = 0;
        for (size_t i = n; i-- > 0;)
            value = (mod_mul(value, point, q) + before[n + i]) % q;
        CHECK(a[n + place] == value, "value %zu of %zu, q=%llu", place, n, (unsigned long long)q);
    }
    CHECK(sa_ring_inverse(table, a, 2) == SA_OK && memcmp(a, before, 16 * n) == 0, "inverse n=%zu", n);
    CHECK(sa_ring_inverse(table, a, 2) == SA_OK && sa_ring_forward(table, a, 2) == SA_OK, "inverse first");
    CHECK(memcmp(a, before, 16 * n) == 0, "inverse, then forward, n=%zu", n);
    a[2 * n - 1] = q;
    before[2 * n - 1] = q;
    CHECK(sa_ring_forward(table, a, 2) == SA_ERR_RESIDUE && sa_ring_inverse(table, a, 2) == SA_ERR_RESIDUE, "q");
    CHECK(memcmp(a, before, 16 * n) == 0, "changed by an error");
    free(a - 1);
    free(before);
}

/* Headers that no plan has: nothing behind them may be read. */
static void test_ring_headers(const uint64_t *table)
{
    static const uint64_t degrees[] = {0, 1, 512, 1000, 1025, 16384, (uint64_t)1 << 20, (uint64_t)1 << 60, UINT64_MAX};
    uint64_t *const header = allocate(8 * 16), word = 1;
    uint8_t key[16] = {0}, scratch[64];
    memcpy(header, table, 8 * 16);
    for (size_t k = 0; k < COUNT(degrees); k++) {
        header[1] = degrees[k];
        CHECK(sa_ring_forward(header, &word, 1) == SA_ERR_ARGUMENT && sa_ring_inverse(header, &word, 1) == SA_ERR_ARGUMENT,
              "transform of degree %llu", (unsigned long long)degrees[k]);
        CHECK(sa_ring_sample(header, SA_UNIFORM, &word, 1, key, 0, 0, scratch, SIZE_MAX) == SA_ERR_ARGUMENT, "sample");
        CHECK(sa_ring_add_uniform(header, &word, 1, key, 0, 0, 0, scratch, SIZE_MAX) == SA_ERR_ARGUMENT, "add uniform");
    }
    CHECK(word == 1, "written to");
    free(header);
}

static void test_ring_lanes(const uint64_t *table)
{
    const uint64_t q = table[0];
    for (size_t l = 0; l < COUNT(lengths); l++) {
        const size_t n = lengths[l];
        uint64_t *const a = allocate(8 * n), *const b = allocate(8 * n), *const acc = allocate(8 * n), *const out = allocate(8 * n);
        random_residues(a, n, q);
        random_residues(b, n, q);
        random_residues(acc, n, q);
        memcpy(out, acc, 8 * n);
        CHECK(sa_ring_multiply_add(table, out, a, b, n) == SA_OK, "multiply_add");
        for (size_t i = 0; i < n; i++)
            CHECK(out[i] == (acc[i] + mod_mul(a[i], b[i], q)) % q, "multiply_add n=%zu i=%zu", n, i);
        memcpy(out, acc, 8 * n);
        CHECK(sa_ring_add(table, out, a, n, 0) == SA_OK, "add");
        for (size_t i = 0; i < n; i++)
            CHECK(out[i] == (acc[i] + a[i]) % q, "add n=%zu i=%zu", n, i);
        CHECK(sa_ring_add(table, out, a, n, 1) == SA_OK && memcmp(out, acc, 8 * n) == 0, "subtract n=%zu", n);
        if (n != 0) {
            a[n - 1] = q + (next_random() >> 1);
            CHECK(sa_ring_add(table, out, a, n, 0) == SA_ERR_RESIDUE, "add of more than q");
            CHECK(sa_ring_multiply_add(table, out, b, a, n) == SA_ERR_RESIDUE, "product with more than q");
            CHECK(memcmp(out, acc, 8 * n) == 0, "changed by an error");
        }
        free(a);
        free(b);
        free(acc);
        free(out);
    }
}

static void test_ring_samples(const uint64_t *table)
{
    const uint64_t q = table[0], stream_id = next_random(), first = next_random() >> 12;
    const size_t n = (size_t)table[1], scratch_bytes = sa_ring_scratch_bytes(n);
    uint64_t *const out = (uint64_t *)allocate(8 * (2 * n + 1)) + 1, *const expected = allocate(16 * n);
    uint8_t *const scratch = (uint8_t *)allocate(scratch_bytes + 1) + 1, key[16];
    random_bytes(key, 16);
    for (int distribution = SA_UNIFORM; distribution <= SA_BINOMIAL; distribution++) {
        for (size_t k = 0; k < 2; k++)
            (distribution == SA_UNIFORM ? ref_uniform : distribution == SA_TERNARY ? ref_ternary : ref_binomial)(
                key, stream_id, first + k, n, q, expected + k * n);
        CHECK(sa_ring_sample(table, distribution, out, 2, key, stream_id, first, scratch, scratch_bytes) == SA_OK, "sample");
        CHECK(memcmp(out, expected, 16 * n) == 0, "distribution %d, q=%llu", distribution, (unsigned long long)q);
        expect_zero(scratch, scratch_bytes);
    }
    CHECK(sa_ring_sample(table, 3, out, 2, key, 0, 0, scratch, scratch_bytes) == SA_ERR_ARGUMENT, "distribution");
    CHECK(sa_ring_sample(table, 0, out, 2, key, 0, 0, scratch, scratch_bytes - 1) == SA_ERR_ARGUMENT, "scratch");
    CHECK(sa_ring_sample(table, 0, expected, 2, key, 5, 9, scratch, scratch_bytes) == SA_OK, "sample");
    for (size_t count = 1; count < 2 * n; count += 509) {
        memset(out, 0, 8 * count);
        CHECK(sa_ring_add_uniform(table, out, count, key, 5, 9, 0, scratch, scratch_bytes) == SA_OK, "add_uniform");
        CHECK(memcmp(out, expected, 8 * count) == 0, "add_uniform of %zu", count);
        expect_zero(scratch, scratch_bytes);
        CHECK(sa_ring_add_uniform(table, out, count, key, 5, 9, 1, scratch, scratch_bytes) == SA_OK, "take away");
        for (size_t i = 0; i < count; i++)
            CHECK(out[i] == 0, "not taken away at %zu", i);
        out[count - 1] = q;
        CHECK(sa_ring_add_uniform(table, out, count, key, 5, 9, 0, scratch, scratch_bytes) == SA_ERR_RESIDUE, "q");
        CHECK(sa_ring_add_uniform(table, out, count, key, 5, 9, 0, scratch, 9) == SA_ERR_ARGUMENT, "scratch");
    }
    free(out - 1);
    free(expected);
    free(scratch - 1);
}
