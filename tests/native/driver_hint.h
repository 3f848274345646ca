/* Masks modulo two primes, by their definition. Comes after driver_rlwe.h. */
#include "driver_hint_table.h"

/* The sample of two words by its definition: thresholds one by one, from the greatest. */
static int64_t ref_sample(const uint64_t *thresholds, size_t count, const uint64_t *words)
{
    const uint64_t low63 = UINT64_MAX >> 1;
    int64_t size = 0;
    for (size_t k = 0; k < count; k++) {
        const uint64_t high = thresholds[k], low = thresholds[count + k];
        if ((words[1] & low63) < high || ((words[1] & low63) == high && (words[0] & low63) < low))
            size++;
    }
    return words[1] > low63 ? -size : size;
}

static int64_t ref_gaussian(const uint64_t *thresholds, size_t count, const uint8_t *key, uint64_t stream_id, uint64_t index)
{
    uint64_t words[2];
    ref_keystream(key, stream_id, index, (uint8_t *)words, 16);
    return ref_sample(thresholds, count, words);
}

static void test_hint_gaussian(void)
{
    enum { COUNT_OF = 40, ZEROS = 9 };
    const size_t scratch_bytes = sa_hint_scratch_bytes(1024, 0);
    uint8_t *const scratch = (uint8_t *)allocate(scratch_bytes + 1) + 1, key[16];
    uint64_t thresholds[2 * COUNT_OF];
    random_bytes(key, 16);
    for (size_t l = 0; l < COUNT(lengths); l++) {
        const size_t n = lengths[l];
        int64_t *const out = allocate(8 * n);
        const uint64_t stream_id = next_random(), start = next_random() >> 4;
        hint_thresholds(thresholds, COUNT_OF, l % 2 ? ZEROS : 0);
        if (n > 2) { /* words that meet a threshold exactly in the upper half, with the lower one at, below and above */
            uint64_t words[2];
            ref_keystream(key, stream_id, start + n - 1, (uint8_t *)words, 16);
            const uint64_t high = words[1] & (UINT64_MAX >> 1), low = words[0] & (UINT64_MAX >> 1);
            size_t k = 0;
            while (k < COUNT_OF && thresholds[k] > high)
                k++;
            if (k < COUNT_OF && thresholds[k] != 0) {
                thresholds[k] = high;
                thresholds[COUNT_OF + k] = low + (l % 3 == 0) - (l % 3 == 1);
            }
        }
        CHECK(sa_hint_gaussian(thresholds, COUNT_OF, out, n, key, stream_id, start, scratch, scratch_bytes) == SA_OK, "gaussian");
        for (size_t i = 0; i < n; i++)
            CHECK(out[i] == ref_gaussian(thresholds, COUNT_OF, key, stream_id, start + i), "sample %zu of %zu", i, n);
        expect_zero(scratch, scratch_bytes);
        free(out);
    }
    CHECK(sa_hint_gaussian(thresholds, COUNT_OF, NULL, 0, key, 0, 0, scratch, scratch_bytes - 1) == SA_ERR_ARGUMENT, "scratch");
    free(scratch - 1);
}

/* Words that no keystream gives: what meets thresholds exactly, and what begins with zeros, at every length. */
static void test_hint_samples(void)
{
    enum { MANY = 95, ZEROS = 50, SAMPLES = 3 * MANY + 130 };
    uint64_t *const words = allocate(16 * SAMPLES), thresholds[2 * MANY];
    int64_t *const out = allocate(8 * SAMPLES);
    struct sa_gaussian table;
    hint_thresholds(thresholds, MANY, ZEROS);
    for (size_t k = MANY - ZEROS; k < MANY; k++) { /* down to thresholds of 1, by factors */
        thresholds[MANY + k] = (UINT64_MAX >> 1) >> (k + ZEROS - MANY);
        thresholds[MANY + k] -= thresholds[MANY + k] / 7;
    }
    CHECK(sa_gaussian_open(&table, thresholds, MANY) && !sa_gaussian_open(&table, thresholds, MANY + 1), "too many thresholds");
    CHECK(sa_gaussian_open(&table, thresholds, MANY), "thresholds");
    for (size_t s = 0; s < SAMPLES; s++) {
        uint64_t low = next_random() >> 1, high = next_random() >> 1;
        if (s < 3 * MANY) { /* one below, at, one above */
            const unsigned __int128 u = ((unsigned __int128)thresholds[s / 3] << 63) + thresholds[MANY + s / 3] + s % 3 - 1;
            low = (uint64_t)u & (UINT64_MAX >> 1);
            high = (uint64_t)(u >> 63);
        } else if (s - 3 * MANY < 126) {
            const size_t zeros = s - 3 * MANY;
            high = zeros < 63 ? high >> zeros : 0;
            low = zeros < 63 ? low : low >> (zeros - 63);
        } else {
            low = s % 2 ? 0 : UINT64_MAX >> 1;
            high = s / 2 % 2 ? 0 : UINT64_MAX >> 1;
        }
        words[2 * s] = low | (uint64_t)(s % 5 == 0) << 63;
        words[2 * s + 1] = high | (uint64_t)(s % 2) << 63;
    }
    for (size_t n = SAMPLES; n > SAMPLES - 40; n--) {
        memset(out, 0x55, 8 * SAMPLES);
        sa_ring_kernels(sa_impl(), 0)->gaussian(&table, out, words + 2 * (SAMPLES - n), n);
        for (size_t s = 0; s < n; s++)
            CHECK(out[s] == ref_sample(thresholds, MANY, words + 2 * (SAMPLES - n + s)), "sample %zu of %zu", s, n);
        for (size_t s = n; s < SAMPLES; s++)
            CHECK(out[s] == 0x5555555555555555, "written beyond %zu", n);
    }
    free(words);
    free(out);
}

static uint64_t hint_value(const struct hint *h, size_t i)
{
    uint64_t v = 0;
    memcpy(&v, (uint8_t *)h->values + (i << (h->lane + 1)), (size_t)2 << h->lane);
    return v;
}

static void hint_set(const struct hint *h, size_t i, uint64_t v)
{
    memcpy((uint8_t *)h->values + (i << (h->lane + 1)), &v, (size_t)2 << h->lane);
}

static int hint_mask(const struct hint *h, uint8_t *payload, size_t nbytes)
{
    return sa_hint_mask(h->tables, h->table, h->secret, h->values, h->lane, h->n, h->error_key, h->public_key, 5, payload, nbytes,
                        h->scratch, h->scratch_bytes);
}

/* Every residue by its definition. */
static void check_hint_payload(const struct hint *h)
{
    const uint64_t *const thresholds = h->table + 16 + h->primes * (HINT_ROW + 2 * h->per);
    uint64_t *const a = allocate(8 * h->degree), *const product = allocate(8 * h->degree);
    const uint8_t *at = h->payload;
    const size_t whole = h->degree * h->per;
    for (size_t p = 0; p * whole < h->n; p++) {
        const size_t held = h->n - p * whole < whole ? h->n - p * whole : whole, n = (held + h->per - 1) / h->per;
        for (size_t i = 0; i < h->primes; i++) {
            const uint64_t q = h->q[i];
            const uint64_t *const ring = h->tables + i * sa_ring_table_words(h->degree);
            ref_uniform(h->public_key, i, 5 + p, h->degree, q, a);
            CHECK(sa_ring_inverse(ring, a, 1) == SA_OK, "inverse of a");
            schoolbook(h->plain + i * h->degree, a, product, h->degree, q);
            for (size_t c = 0; c < n; c++) {
                const int64_t e = ref_gaussian(thresholds, HINT_THRESHOLDS, h->error_key, 0, (5 + p) * h->degree + c);
                uint64_t expected = (product[c] + mod_mul(h->t_mod[i], e < 0 ? q - (uint64_t)-e : (uint64_t)e, q)) % q;
                for (size_t k = 0; k < h->per && k * n + c < held; k++)
                    expected = (expected + mod_mul(hint_value(h, p * whole + k * n + c) % q,
                                                   mod_power(2, h->width * k, q), q)) % q;
                CHECK(packed_residue(at, c, h->bits) == expected, "prime %zu, polynomial %zu, coefficient %zu", i, p, c);
            }
            at += (n * h->bits + 7) / 8;
        }
    }
    CHECK(at == h->payload + h->payload_bytes, "length of a payload");
    free(a);
    free(product);
}

static int hint_add(const struct hint *h, uint64_t *acc, const uint8_t *payload, size_t nbytes)
{
    return sa_hint_add(h->tables, h->table, acc, h->n, payload, nbytes, h->scratch, h->scratch_bytes);
}

static void check_hint_sums(const struct hint *h)
{
    uint8_t *const stored = allocate(h->payload_bytes), *const bad = allocate(h->payload_bytes);
    uint64_t *const kept = allocate(8 * h->words);
    memset(h->acc, 0, 8 * h->words);
    CHECK(hint_add(h, h->acc, h->payload, h->payload_bytes) == SA_OK, "add");
    CHECK(sa_hint_store(h->tables, h->table, h->acc, h->n, stored, h->payload_bytes, h->scratch, h->scratch_bytes) == SA_OK, "store");
    CHECK(memcmp(stored, h->payload, h->payload_bytes) == 0, "a sum of one is the one");
    memcpy(kept, h->acc, 8 * h->words);
    for (int where = 0; where < 3; where++) {
        memcpy(bad, h->payload, h->payload_bytes);
        /* Sixteen bytes of ones hold a residue of ones, or padding. */
        const size_t run = h->payload_bytes < 16 ? h->payload_bytes : 16;
        memset(bad + (h->payload_bytes - run) * (size_t)where / 2, 0xff, run);
        CHECK(hint_add(h, h->acc, bad, h->payload_bytes) != SA_OK, "bad payload %d", where);
        CHECK(memcmp(kept, h->acc, 8 * h->words) == 0, "changed by an error");
    }
    CHECK(hint_add(h, h->acc, h->payload, h->payload_bytes - 1) == SA_ERR_ARGUMENT, "short payload");
    CHECK(sa_hint_add(h->tables, h->table, h->acc, h->n, h->payload, h->payload_bytes, h->scratch, h->scratch_bytes - 1) ==
              SA_ERR_ARGUMENT, "scratch");
    CHECK(sa_hint_store(h->tables, h->table, h->acc, h->n, stored, h->payload_bytes - 1, h->scratch, h->scratch_bytes) ==
              SA_ERR_ARGUMENT, "room");
    free(stored);
    free(bad);
    free(kept);
}

static int hint_open_sum(const struct hint *h)
{
    return sa_hint_open(h->tables, h->table, h->acc, h->n, h->secret, h->public_key, 5, h->opened, h->scratch, h->scratch_bytes);
}

static void check_hint_opening(const struct hint *h)
{
    memset(h->acc, 0, 8 * h->words);
    CHECK(hint_add(h, h->acc, h->payload, h->payload_bytes) == SA_OK, "add");
    CHECK(hint_open_sum(h) == SA_OK, "open");
    expect_zero(h->scratch, h->scratch_bytes);
    for (size_t i = 0; i < h->n; i++)
        CHECK(h->opened[i] == hint_value(h, i), "value %zu of %zu", i, h->n);
    h->acc[h->words - 1] = (h->acc[h->words - 1] + h->q[h->primes - 1] / 2) % h->q[h->primes - 1];
    CHECK(hint_open_sum(h) == SA_ERR_VALUE, "noise");
    expect_zero(h->scratch, h->scratch_bytes);
    expect_zero((uint8_t *)h->opened, 8 * h->n);
    CHECK(sa_hint_open(h->tables, h->table, h->acc, h->n, h->secret, h->public_key, 5, h->opened, h->scratch,
                       h->scratch_bytes - 1) == SA_ERR_ARGUMENT, "scratch");
}

static void test_hint_ring(unsigned bits, size_t primes, unsigned width, unsigned per, int lane, size_t n)
{
    struct hint h = {.degree = 1024, .primes = primes, .bits = bits, .width = width, .per = per, .lane = lane, .n = n, .spread = 64};
    const size_t ring_words = sa_ring_table_words(h.degree), whole = h.degree * per, rest = (n % whole + per - 1) / per;
    h.tables = allocate(8 * primes * ring_words);
    h.secret = allocate(8 * primes * h.degree);
    h.plain = allocate(8 * primes * h.degree);
    hint_primes(bits, primes, h.q);
    random_bytes(h.error_key, 16);
    random_bytes(h.public_key, 16);
    for (size_t c = 0; c < h.degree; c++) {
        const uint64_t drawn = next_random() % 3;
        for (size_t i = 0; i < primes; i++)
            h.plain[i * h.degree + c] = drawn == 2 ? h.q[i] - 1 : drawn;
    }
    memcpy(h.secret, h.plain, 8 * primes * h.degree);
    for (size_t i = 0; i < primes; i++) {
        uint64_t *const ring = ring_table(h.degree, h.q[i]);
        memcpy(h.tables + i * ring_words, ring, 8 * ring_words);
        free(ring);
        CHECK(sa_ring_forward(h.tables + i * ring_words, h.secret + i * h.degree, 1) == SA_OK, "forward");
    }
    h.table = hint_table(&h);
    h.words = primes * (n / whole * h.degree + rest);
    h.payload_bytes = primes * (n / whole * h.degree * bits / 8 + (rest * bits + 7) / 8);
    h.scratch_bytes = sa_hint_scratch_bytes(h.degree, primes);
    h.values = allocate(n << (lane + 1));
    h.acc = allocate(8 * h.words);
    h.opened = allocate(8 * n);
    h.payload = allocate(h.payload_bytes);
    h.scratch = (uint8_t *)allocate(h.scratch_bytes + 1) + 1;
    for (size_t i = 0; i < n; i++)
        hint_set(&h, i, i % 5 == 0 ? UINT64_MAX >> (64 - width) : next_random() >> (64 - width));
    CHECK(hint_mask(&h, h.payload, h.payload_bytes) == SA_OK, "mask");
    expect_zero(h.scratch, h.scratch_bytes);
    check_hint_payload(&h);
    check_hint_sums(&h);
    check_hint_opening(&h);
    CHECK(hint_mask(&h, h.payload, h.payload_bytes - 1) == SA_ERR_ARGUMENT, "room");
    if (width < 16u << lane) {
        hint_set(&h, n - 1, (uint64_t)1 << width);
        CHECK(hint_mask(&h, h.payload, h.payload_bytes) == SA_ERR_VALUE, "value");
        expect_zero(h.payload, h.payload_bytes);
        expect_zero(h.scratch, h.scratch_bytes);
    }
    h.lane = 3;
    CHECK(hint_mask(&h, h.payload, h.payload_bytes) == SA_ERR_ARGUMENT, "lane");
    free(h.tables);
    free(h.secret);
    free(h.plain);
    free(h.table);
    free(h.values);
    free(h.acc);
    free(h.opened);
    free(h.payload);
    free(h.scratch - 1);
}

static void test_hint(void)
{
    test_hint_gaussian();
    test_hint_samples();
    test_hint_ring(50, 2, 16, 5, 0, 5 * 1024 + 5 * 511 + 3);
    test_hint_ring(60, 2, 23, 4, 1, 4 * 513 + 1);
    test_hint_ring(27, 2, 7, 6, 1, 6 * 100);
    test_hint_ring(60, 2, 55, 1, 2, 9);
    test_hint_ring(50, 2, 53, 1, 2, 77);
    test_hint_ring(46, 1, 11, 3, 0, 1);
}
