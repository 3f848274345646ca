/* RLWE: payloads by their definition, sums that refuse, decryption. Comes after driver_ring.h. */
static uint64_t packed_residue(const uint8_t *packed, size_t i, unsigned bits)
{
    uint64_t value = 0;
    for (unsigned bit = 0; bit < bits; bit++)
        value |= (uint64_t)ref_bit(packed, i * bits + bit) << bit;
    return value;
}

struct rlwe {
    const uint64_t *table;
    uint64_t q, delta, *public_key, *secret, *values, *kept_c1, *kept_c0, *c1, *c0; /* public_key, secret: transformed */
    size_t degree, n, scratch_bytes, payload_bytes, seeded_bytes;
    unsigned bits;
    uint8_t *scratch, *payload, *seeded, key[16], pad[16], seed[16];
};

/* The payloads by their definition, with products of the schoolbook. */
static void check_payloads(const struct rlwe *t, uint64_t first)
{
    const size_t n = t->degree, poly_bytes = n * t->bits / 8;
    uint64_t *const plain = allocate(24 * n), *const u = allocate(8 * n), *const c = allocate(8 * n);
    uint64_t *const error = allocate(8 * n), *const extra = allocate(8 * n);
    const uint8_t *at = t->payload;
    memcpy(plain, t->public_key, 16 * n);
    memcpy(plain + 2 * n, t->secret, 8 * n);
    CHECK(sa_ring_inverse(t->table, plain, 3) == SA_OK, "inverse of the keys");
    for (size_t p = 0; p * n < t->n; p++) {
        const size_t count = t->n - p * n < n ? t->n - p * n : n;
        ref_ternary(t->key, 0, first + p, n, t->q, u);
        for (int half = 0; half < 2; half++) {
            schoolbook(u, plain + half * n, c, n, t->q);
            ref_binomial(t->key, half == 0 ? 2 : 1, first + p, n, t->q, error);
            ref_uniform(t->pad, 0, first + p, n, t->q, extra);
            for (size_t i = 0; i < (half == 0 ? n : count); i++) {
                uint64_t expected = (c[i] + error[i]) % t->q;
                if (half == 1)
                    expected = (expected + extra[i] + mod_mul(t->delta, t->values[p * n + i], t->q)) % t->q;
                CHECK(packed_residue(at, i, t->bits) == expected, "c%d, coefficient %zu of %zu", 1 - half, i, p);
            }
            at += half == 0 ? poly_bytes : (count * t->bits + 7) / 8;
        }
        ref_uniform(t->seed, 1, first + p, n, t->q, extra);
        schoolbook(plain + 2 * n, extra, c, n, t->q);
        ref_binomial(t->key, 1, first + p, n, t->q, error);
        for (size_t i = 0; i < count; i++) {
            const uint64_t expected = (t->q - c[i] + error[i] + mod_mul(t->delta, t->values[p * n + i], t->q)) % t->q;
            CHECK(packed_residue(t->seeded + p * poly_bytes, i, t->bits) == expected, "seeded, coefficient %zu", i);
        }
    }
    CHECK(at == t->payload + t->payload_bytes, "length of a payload");
    free(plain);
    free(u);
    free(c);
    free(error);
    free(extra);
}

static int rlwe_add(struct rlwe *t)
{
    return sa_rlwe_add(t->table, t->c1, t->c0, t->n, t->payload, t->payload_bytes, t->scratch, t->scratch_bytes);
}

static void expect_kept(const struct rlwe *t)
{
    const size_t polys = (t->n + t->degree - 1) / t->degree;
    CHECK(memcmp(t->c1, t->kept_c1, 8 * polys * t->degree) == 0, "c1 changed by an error");
    CHECK(memcmp(t->c0, t->kept_c0, 8 * t->n) == 0, "c0 changed by an error");
}

/* Sums take what is good, and stay as they were after what is bad. */
static void check_sums(struct rlwe *t)
{
    const size_t polys = (t->n + t->degree - 1) / t->degree, c0_bytes = (t->n % t->degree * t->bits + 7) / 8;
    uint8_t *const stored = allocate(t->payload_bytes), *const saved = allocate(t->payload_bytes);
    memset(t->c1, 0, 8 * polys * t->degree);
    memset(t->c0, 0, 8 * t->n);
    CHECK(rlwe_add(t) == SA_OK, "first addition");
    CHECK(sa_rlwe_store(t->table, t->c1, t->c0, t->n, stored, t->payload_bytes, t->scratch, t->scratch_bytes) == SA_OK, "store");
    CHECK(memcmp(stored, t->payload, t->payload_bytes) == 0, "a sum of one is the one");
    memcpy(t->kept_c1, t->c1, 8 * polys * t->degree);
    memcpy(t->kept_c0, t->c0, 8 * t->n);
    memcpy(saved, t->payload, t->payload_bytes);
    for (int bad = 0; bad < 4; bad++) {
        const size_t last = t->payload_bytes - c0_bytes;
        int expected = SA_ERR_RESIDUE;
        if (bad == 0)
            memset(t->payload, 0xff, 16); /* in the first c1 */
        else if (bad == 1)
            memset(t->payload + last, 0xff, 8); /* in the last c0 */
        else if (bad == 2) {
            memset(t->payload + last - t->degree * t->bits / 8, 0, t->degree * t->bits / 8); /* the last c1 */
            expected = SA_ERR_TRANSPARENT;
        } else {
            t->payload[t->payload_bytes - 1] |= 0x80;
            expected = SA_ERR_PADDING;
        }
        if (bad != 3 || t->n % t->degree * t->bits % 8 != 0)
            CHECK(rlwe_add(t) == expected, "bad payload %d", bad);
        expect_kept(t);
        memcpy(t->payload, saved, t->payload_bytes);
    }
    t->payload_bytes--;
    CHECK(rlwe_add(t) == SA_ERR_ARGUMENT, "short payload");
    t->payload_bytes++;
    memset(t->seeded, 0xff, 8);
    CHECK(sa_rlwe_add_seeded(t->table, t->c1, t->c0, t->n, t->seeded, t->seeded_bytes, t->seed, 3, t->scratch,
                             t->scratch_bytes) == SA_ERR_RESIDUE, "bad seeded payload");
    CHECK(sa_rlwe_add_seeded(t->table, t->c1, t->c0, t->n, t->seeded, t->seeded_bytes - 1, t->seed, 3, t->scratch,
                             t->scratch_bytes) == SA_ERR_ARGUMENT, "short seeded payload");
    expect_kept(t);
    CHECK(rlwe_add(t) == SA_OK, "second addition");
    for (size_t i = 0; i < t->n; i++)
        CHECK(t->c0[i] == 2 * (unsigned __int128)t->kept_c0[i] % t->q, "sum at %zu", i);
    free(stored);
    free(saved);
}

static void check_decryption(struct rlwe *t)
{
    const size_t degree = t->degree, polys = (t->n + degree - 1) / degree;
    uint64_t *const s = allocate(8 * degree), *const c = allocate(8 * degree), *const values = allocate(8 * t->n), worst = 0, found;
    memcpy(s, t->secret, 8 * degree);
    CHECK(sa_ring_inverse(t->table, s, 1) == SA_OK, "inverse of the secret");
    CHECK(sa_rlwe_decrypt(t->table, t->secret, t->c1, t->c0, t->n, t->delta, values, &found, t->scratch, t->scratch_bytes) ==
              SA_OK, "decrypt");
    expect_zero(t->scratch, t->scratch_bytes);
    for (size_t p = 0; p < polys; p++) {
        schoolbook(s, t->c1 + p * degree, c, degree, t->q);
        for (size_t i = p * degree; i < t->n && i < (p + 1) * degree; i++) {
            const uint64_t half = t->delta / 2, v = ((c[i % degree] + t->c0[i]) % t->q + half) % t->q, rest = v % t->delta;
            const uint64_t error = rest < half ? half - rest : rest - half;
            worst = error > worst ? error : worst;
            CHECK(values[i] == v / t->delta, "value %zu", i);
        }
    }
    CHECK(found == worst, "worst distance");
    t->c0[0] = t->q;
    CHECK(sa_rlwe_decrypt(t->table, t->secret, t->c1, t->c0, t->n, t->delta, values, &found, t->scratch, t->scratch_bytes) ==
              SA_ERR_RESIDUE, "decrypt q");
    CHECK(sa_rlwe_decrypt(t->table, t->secret, t->c1, t->c0, t->n, 0, values, &found, t->scratch, t->scratch_bytes) ==
              SA_ERR_ARGUMENT, "delta 0");
    free(s);
    free(c);
    free(values);
}

static int rlwe_encrypt(const struct rlwe *t, uint64_t delta, size_t payload_bytes)
{
    return sa_rlwe_encrypt(t->table, t->public_key, t->values, t->n, delta, t->key, t->pad, 3, t->payload, payload_bytes,
                           t->scratch, t->scratch_bytes);
}

static int rlwe_encrypt_seeded(const struct rlwe *t, uint64_t delta, size_t payload_bytes)
{
    return sa_rlwe_encrypt_seeded(t->table, t->secret, t->values, t->n, delta, t->key, t->seed, 3, t->seeded, payload_bytes,
                                  t->scratch, t->scratch_bytes);
}

static void test_rlwe(const uint64_t *table, size_t n, uint64_t delta)
{
    struct rlwe t = {.table = table, .q = table[0], .delta = delta, .degree = (size_t)table[1], .n = n, .bits = (unsigned)table[2]};
    const size_t polys = (n + t.degree - 1) / t.degree, poly_bytes = t.degree * t.bits / 8;
    t.seeded_bytes = n / t.degree * poly_bytes + (n % t.degree * t.bits + 7) / 8;
    t.payload_bytes = polys * poly_bytes + t.seeded_bytes;
    t.scratch_bytes = sa_ring_scratch_bytes(t.degree);
    t.public_key = allocate(16 * t.degree);
    t.secret = allocate(8 * t.degree);
    t.values = allocate(8 * n);
    t.c1 = allocate(8 * polys * t.degree);
    t.kept_c1 = allocate(8 * polys * t.degree);
    t.c0 = allocate(8 * n);
    t.kept_c0 = allocate(8 * n);
    t.scratch = allocate(t.scratch_bytes);
    t.payload = allocate(t.payload_bytes);
    t.seeded = allocate(t.seeded_bytes);
    random_bytes(t.key, 16);
    random_bytes(t.pad, 16);
    random_bytes(t.seed, 16);
    random_residues(t.public_key, 2 * t.degree, t.q);
    ref_ternary(t.pad, 1, 0, t.degree, t.q, t.secret);
    CHECK(sa_ring_forward(table, t.secret, 1) == SA_OK, "forward");
    for (size_t i = 0; i < n; i++)
        t.values[i] = i % 5 == 0 ? (t.q - 1) / delta : next_random() % ((t.q - 1) / delta + 1);
    CHECK(rlwe_encrypt(&t, delta, t.payload_bytes) == SA_OK, "encrypt");
    expect_zero(t.scratch, t.scratch_bytes);
    CHECK(rlwe_encrypt_seeded(&t, delta, t.seeded_bytes) == SA_OK, "encrypt_seeded");
    expect_zero(t.scratch, t.scratch_bytes);
    check_payloads(&t, 3);
    check_sums(&t);
    check_decryption(&t);
    CHECK(rlwe_encrypt(&t, 0, t.payload_bytes) == SA_ERR_ARGUMENT, "delta 0");
    CHECK(rlwe_encrypt(&t, t.q, t.payload_bytes) == SA_ERR_ARGUMENT, "delta q");
    CHECK(rlwe_encrypt(&t, delta, t.payload_bytes - 1) == SA_ERR_ARGUMENT, "room");
    CHECK(rlwe_encrypt_seeded(&t, delta, t.seeded_bytes - 1) == SA_ERR_ARGUMENT, "room");
    for (int huge = 0; huge < 2; huge++) {
        t.values[n - 1] = huge ? UINT64_MAX - next_random() % 9 : (t.q - 1) / delta + 1;
        CHECK(rlwe_encrypt(&t, delta, t.payload_bytes) == SA_ERR_VALUE, "value");
        expect_zero(t.payload, t.payload_bytes);
        expect_zero(t.scratch, t.scratch_bytes);
        CHECK(rlwe_encrypt_seeded(&t, delta, t.seeded_bytes) == SA_ERR_VALUE, "value");
        expect_zero(t.seeded, t.seeded_bytes);
        expect_zero(t.scratch, t.scratch_bytes);
    }
    free(t.public_key);
    free(t.secret);
    free(t.values);
    free(t.c1);
    free(t.kept_c1);
    free(t.c0);
    free(t.kept_c0);
    free(t.scratch);
    free(t.payload);
    free(t.seeded);
}

static void test_ring(void)
{
    for (size_t m = 0; m < COUNT(ring_moduli); m++) {
        const uint64_t q = ring_moduli[m];
        uint64_t *const table = ring_table(1024, q);
        test_ring_headers(table);
        test_ring_transform(table);
        test_ring_lanes(table);
        test_ring_samples(table);
        if (m % 4 == 3)
            test_rlwe(table, 1024 + 13, m == 3 ? 1 : m == 7 ? q / 1000 : 12345);
        free(table);
        uint64_t *const larger = ring_table((size_t)2048 << m % 3, q);
        test_ring_transform(larger);
        free(larger);
    }
}
