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
        CHECK(sa_residues_add_u64(acc, bufs, 1, n, moduli, nmoduli, npolys) == SA_OK, "residues");
        CHECK(memcmp(acc, expected, 8 * count) == 0, "residues n=%zu polys=%zu moduli=%zu", n, npolys, nmoduli);
        for (size_t bad = 0; bad < count; bad += 1 + count / 7) {
            const uint64_t q = moduli[bad / n % nmoduli], over[] = {q, q + 1, (uint64_t)1 << 63, UINT64_MAX};
            uint8_t good[8];
            memcpy(good, x + 8 * bad, 8);
            memcpy(acc, before, 8 * count);
            memcpy(x + 8 * bad, &over[bad % 4], 8);
            CHECK(sa_residues_add_u64(acc, bufs, 1, n, moduli, nmoduli, npolys) == SA_ERR_VALUE, "residue too large");
            CHECK(memcmp(acc, before, 8 * count) == 0, "acc changed by an error");
            memcpy(x + 8 * bad, good, 8);
        }
        free(raw);
        free(acc);
        free(expected);
        free(before);
    }
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
    CHECK(sa_residues_add_u64(acc, bufs, 1, 1, low, 1, 1) == SA_ERR_ARGUMENT, "modulus 1");
    CHECK(sa_residues_add_u64(acc, bufs, 1, 1, high, 1, 1) == SA_ERR_ARGUMENT, "modulus over 2^61");
}
