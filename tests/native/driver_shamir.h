/* Shamir and the byte helpers, against reference.h. */
static void shamir_once(size_t n, size_t t, size_t m, int large)
{
    uint64_t *secrets = allocate(m * 8), *coeffs = allocate((t - 1) * m * 8), *xs = allocate(n * 8);
    uint64_t *shares = allocate(n * m * 8), *weights = allocate(t * 8), *back = allocate(m * 8), *scratch = allocate(t * 8);
    for (size_t j = 0; j < m; j++)
        secrets[j] = j == 0 ? REF_P - 1 : next_random() % REF_P;
    for (size_t j = 0; j < (t - 1) * m; j++)
        coeffs[j] = j % 3 == 0 ? REF_P - 1 : next_random() % REF_P;
    for (size_t i = 0; i < n; i++)
        xs[i] = i > 0 ? i + 1 : large ? REF_P - 1 : 0x7fffffff; /* the ends of both paths */
    CHECK(sa_shamir_split_u64(secrets, m, coeffs, t, xs, n, shares) == SA_OK, "split");
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            uint64_t y = secrets[j];
            for (size_t d = 1; d < t; d++)
                y = (y + ref_mul(coeffs[(d - 1) * m + j], ref_power(xs[i], d))) % REF_P;
            CHECK(shares[i * m + j] == y, "split n=%zu t=%zu i=%zu", n, t, i);
        }
    CHECK(sa_shamir_weights_u64(xs, t, weights, scratch) == SA_OK, "weights");
    CHECK(sa_shamir_combine_u64(weights, t, shares, m, back) == SA_OK, "combine");
    CHECK(memcmp(back, secrets, m * 8) == 0, "combine n=%zu t=%zu", n, t);
    shares[t * m - 1] = REF_P;
    CHECK(sa_shamir_combine_u64(weights, t, shares, m, back) == SA_ERR_FIELD, "share of p");
    secrets[m - 1] = UINT64_MAX;
    CHECK(sa_shamir_split_u64(secrets, m, coeffs, t, xs, n, shares) == SA_ERR_FIELD, "secret beyond p");
    xs[t - 1] = 0;
    CHECK(sa_shamir_weights_u64(xs, t, weights, scratch) == SA_ERR_FIELD, "point 0");
    xs[t - 1] = xs[0] = 9;
    CHECK(t == 1 || sa_shamir_weights_u64(xs, t, weights, scratch) == SA_ERR_FIELD, "point twice");
    free(secrets);
    free(coeffs);
    free(xs);
    free(shares);
    free(weights);
    free(back);
    free(scratch);
}

static void test_shamir(void)
{
    for (int large = 0; large < 2; large++) {
        for (size_t t = 1; t <= 9; t += 2)
            for (size_t n = t; n < t + 6; n++)
                shamir_once(n, t, 1 + (n + t) % 5, large);
        shamir_once(32, 20, 2, large);
        shamir_once(75, 40, 3, large);
    }
}

static void test_bytes(void)
{
    uint8_t a[33] = {0}, b[33] = {0};
    for (size_t n = 0; n <= 33; n++) {
        random_bytes(a, n);
        memcpy(b, a, n);
        CHECK(sa_ct_equal(a, b, n) == 1, "equal");
        for (size_t bit = 0; bit < 8 * n; bit++) {
            b[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(sa_ct_equal(a, b, n) == 0, "differs in bit %zu", bit);
            b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    sa_zero(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        CHECK(a[i] == 0, "wipe");
}
