/* Sums of residues against 128-bit arithmetic, at every alignment, and the refusal of any residue that is not below its modulus. */
static void residues_once(size_t n, size_t npolys, const uint64_t *moduli, size_t nmoduli)
{
    const size_t count = npolys * nmoduli * n;

    for (size_t skip = 0; skip < 8; skip++) {
        uint8_t *raw = allocate(8 * count + skip), *x = raw + skip;
        uint64_t *acc = allocate(8 * count), *expected = allocate(8 * count), *before = allocate(8 * count);
        const uint8_t *const bufs[] = {x};
        for (size_t i = 0; i < count; i++) {
            const uint64_t q = moduli[i / n % nmoduli];
            const uint64_t a = i % 5 == 0 ? q - 1 : next_random() % q, v = i % 3 == 0 ? q - 1 : next_random() % q;
            memcpy(x + 8 * i, &v, 8);
            acc[i] = before[i] = a;
            expected[i] = (uint64_t)(((unsigned __int128)a + v) % q);
        }
        CHECK(sa_residues_add_u64(acc, 1, bufs, 1, n, moduli, nmoduli, npolys) == SA_OK, "residues");
        CHECK(memcmp(acc, expected, 8 * count) == 0, "residues n=%zu polys=%zu moduli=%zu", n, npolys, nmoduli);
        for (size_t bad = 0; bad < count; bad += 1 + count / 7) {
            const uint64_t q = moduli[bad / n % nmoduli], over[] = {q, q + 1, (uint64_t)1 << 63, UINT64_MAX};
            uint8_t good[8];
            memcpy(good, x + 8 * bad, 8);
            memcpy(acc, before, 8 * count);
            memcpy(x + 8 * bad, &over[bad % 4], 8);
            CHECK(sa_residues_add_u64(acc, 1, bufs, 1, n, moduli, nmoduli, npolys) == SA_ERR_VALUE, "residue too large");
            CHECK(memcmp(acc, before, 8 * count) == 0, "acc changed by an error");
            memcpy(x + 8 * bad, good, 8);
        }
        free(raw);
        free(acc);
        free(expected);
        free(before);
    }
}

/* Two rows of three buffers each; then with one residue too large, anywhere. */
static void residues_deep(size_t n, const uint64_t *moduli, size_t nmoduli)
{
    const size_t count = 2 * nmoduli * n;
    uint8_t *bufs[6];
    uint64_t *acc = allocate(16 * count), *expected = allocate(16 * count), *before = allocate(16 * count);
    for (size_t i = 0; i < 2 * count; i++)
        acc[i] = before[i] = expected[i] = next_random() % moduli[i / n % nmoduli];
    for (size_t b = 0; b < 6; b++) {
        bufs[b] = allocate(8 * count);
        for (size_t i = 0; i < count; i++) {
            const uint64_t q = moduli[i / n % nmoduli], v = i % 4 == 0 ? q - 1 : next_random() % q;
            uint64_t *const to = &expected[b / 3 * count + i];
            memcpy(bufs[b] + 8 * i, &v, 8);
            *to = (uint64_t)(((unsigned __int128)*to + v) % q);
        }
    }
    const uint8_t *const *given = (const uint8_t *const *)bufs;
    CHECK(sa_residues_add_u64(acc, 2, given, 3, n, moduli, nmoduli, 2) == SA_OK, "residues, three a row");
    CHECK(memcmp(acc, expected, 16 * count) == 0, "residues n=%zu moduli=%zu, three a row", n, nmoduli);
    for (size_t b = 0; b < 6 && n > 0; b++) {
        memset(bufs[b] + 8 * (b * count / 6), 0xff, 8);
        memcpy(acc, before, 16 * count);
        CHECK(sa_residues_add_u64(acc, 2, given, 3, n, moduli, nmoduli, 2) == SA_ERR_VALUE, "residue too large");
        CHECK(memcmp(acc, before, 16 * count) == 0, "acc changed by an error");
        memset(bufs[b] + 8 * (b * count / 6), 0, 8);
    }
    for (size_t b = 0; b < 6; b++)
        free(bufs[b]);
    free(acc);
    free(expected);
    free(before);
}

static void test_residues(void)
{
    static const uint64_t moduli[] = {1152921504606830593u, 1099510890497u, (uint64_t)1 << 61, 2};
    static const uint64_t low[] = {1}, high[] = {((uint64_t)1 << 61) + 1};
    uint64_t acc[1] = {0};
    static const uint8_t x[8];
    const uint8_t *const bufs[] = {x};
    for (size_t l = 0; l < COUNT(lengths); l++)
        residues_once(lengths[l], 1 + l % 3, moduli + l % 3, 1 + l % 2);
    residues_once(40, 2, moduli, 4);
    for (size_t l = 0; l < COUNT(lengths); l++)
        residues_deep(lengths[l], moduli, 1 + l % 4);
    CHECK(sa_residues_add_u64(acc, 1, bufs, 1, 1, low, 1, 1) == SA_ERR_ARGUMENT, "modulus 1");
    CHECK(sa_residues_add_u64(acc, 1, bufs, 1, 1, high, 1, 1) == SA_ERR_ARGUMENT, "modulus over 2^61");
}
