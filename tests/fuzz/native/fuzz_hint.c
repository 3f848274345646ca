/* Masked payloads of strangers, and sums of any content: added, stored and opened, or refused without a trace; samples in any number. */
#include "../../native/driver.h"

#include "../../native/driver_hint_table.h"

#include "fuzz.h"

#define DEGREE 1024

static const struct {
    unsigned bits, primes, width, per;
    int lane;
} settings[] = {{50, 2, 16, 5, 0}, {46, 2, 23, 3, 1}, {60, 2, 55, 1, 2}, {60, 1, 11, 3, 0}};
static struct hint hints[COUNT(settings)];

static void prepare(void)
{
    const size_t words = sa_ring_table_words(DEGREE);
    for (size_t k = 0; k < COUNT(settings); k++) {
        struct hint *const h = &hints[k];
        *h = (struct hint){.degree = DEGREE, .primes = settings[k].primes, .bits = settings[k].bits, .width = settings[k].width,
                           .per = settings[k].per, .lane = settings[k].lane, .spread = 64};
        hint_primes(h->bits, h->primes, h->q);
        h->tables = allocate(8 * h->primes * words);
        for (size_t i = 0; i < h->primes; i++) {
            uint64_t *const ring = ring_table(DEGREE, h->q[i]);
            memcpy(h->tables + i * words, ring, 8 * words);
            free(ring);
        }
        h->table = hint_table(h);
    }
}

static size_t payload_bytes(const struct hint *h, size_t n)
{
    const size_t whole = DEGREE * h->per, rest = (n % whole + h->per - 1) / h->per;
    return h->primes * (n / whole * (DEGREE * h->bits / 8) + (rest * h->bits + 7) / 8);
}

static void fill_residues(const struct hint *h, uint64_t *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = ((i + seed) * 0x9e3779b97f4a7c15u >> 3) % h->q[h->primes - 1];
}

/* A mask of values of which one may be too large, at places of any alignment; then it opens to these values. */
static void mask(const struct hint *h, struct recipe r, int first, size_t n, size_t shift)
{
    const size_t room = sa_hint_scratch_bytes(DEGREE, h->primes), nbytes = payload_bytes(h, n), size = (size_t)2 << h->lane;
    const size_t words = 8 * h->primes * ((n + h->per - 1) / h->per + DEGREE);
    struct exact payload = exact(nbytes, shift), scratch = exact(room, 15 - shift), values = exact(n * size, 0);
    struct exact secret = exact(8 * DEGREE * h->primes, 0), keys = exact(32, shift), acc = exact(words, 0), opened = exact(8 * n, 0);
    const uint64_t begin = number(&r, 4);
    const int large = below(&r, 4) == 3;
    fill(&r, keys.at, 32);
    fill(&r, values.at, values.nbytes);
    for (size_t i = 0; i < n; i++) {
        uint64_t v = 0;
        memcpy(&v, values.at + i * size, size);
        v = large && i == n / 2 ? UINT64_MAX : v & UINT64_MAX >> (64 - h->width);
        memcpy(values.at + i * size, &v, size);
    }
    fill_residues(h, (uint64_t *)(void *)secret.at, DEGREE * h->primes, 1);
    memset(acc.at, 0, words);
    const uint64_t *const s = (const uint64_t *)(const void *)secret.at;
    const int code = sa_hint_mask(h->tables, h->table, s, values.at, h->lane, n, keys.at, keys.at + 16, begin, payload.at, nbytes,
                                  scratch.at, room);
    MUST(code == (n == 0 ? SA_ERR_ARGUMENT : large && h->width < 8 * size ? SA_ERR_VALUE : SA_OK));
    agree(first, code, payload.at, n == 0 ? 0 : nbytes);
    if (code == SA_OK) {
        uint64_t *const sum = (uint64_t *)(void *)acc.at, *const out = (uint64_t *)(void *)opened.at;
        MUST(sa_hint_add(h->tables, h->table, sum, n, payload.at, nbytes, scratch.at, room) == SA_OK);
        MUST(sa_hint_open(h->tables, h->table, sum, n, s, keys.at + 16, begin, out, scratch.at, room) == SA_OK);
        for (size_t i = 0; i < n; i++) {
            uint64_t v = 0;
            memcpy(&v, values.at + i * size, size);
            MUST(out[i] == v);
        }
    }
    drop(payload);
    drop(scratch);
    drop(values);
    drop(secret);
    drop(keys);
    drop(acc);
    drop(opened);
}

/* A payload of any content and length onto a sum; then what the sum is, stored and opened. */
static void sum(const struct hint *h, struct recipe r, int first, size_t n, size_t shift)
{
    const size_t room = sa_hint_scratch_bytes(DEGREE, h->primes), wrong = below(&r, 8), tidy = below(&r, 4), right = payload_bytes(h, n);
    const size_t nbytes = wrong == 0 ? below(&r, 20000) : right, whole = DEGREE * h->per;
    const size_t words = h->primes * (n / whole * DEGREE + (n % whole + h->per - 1) / h->per);
    struct exact payload = exact(nbytes, shift), stored = exact(right, shift), scratch = exact(room, 15 - shift);
    struct exact acc = exact(8 * words, 0), secret = exact(8 * DEGREE * h->primes, 0), opened = exact(8 * n, 0), key = exact(16, shift);
    uint64_t *const a = (uint64_t *)(void *)acc.at, *const s = (uint64_t *)(void *)secret.at, *const out = (uint64_t *)(void *)opened.at;
    fill(&r, payload.at, nbytes);
    fill(&r, key.at, 16);
    for (size_t i = 0; tidy > 0 && i < nbytes; i++) /* most residues small enough; the odd one may not be */
        payload.at[i] &= tidy == 1 ? 0x7f : 0x3f;
    fill_residues(h, a, words, 7);
    fill_residues(h, s, DEGREE * h->primes, 1);
    struct exact was = copy_of(acc, 0);
    int code = sa_hint_add(h->tables, h->table, a, n, payload.at, nbytes, scratch.at, room);
    MUST(code == SA_OK || memcmp(acc.at, was.at, acc.nbytes) == 0);
    MUST(nbytes == right || code == SA_ERR_ARGUMENT);
    agree(first, code, acc.at, acc.nbytes);
    MUST(sa_hint_store(h->tables, h->table, a, n, stored.at, right, scratch.at, room) == SA_OK);
    memcpy(was.at, acc.at, acc.nbytes);
    memset(acc.at, 0, acc.nbytes);
    MUST(sa_hint_add(h->tables, h->table, a, n, stored.at, right, scratch.at, room) == SA_OK);
    MUST(memcmp(acc.at, was.at, acc.nbytes) == 0);
    code = sa_hint_open(h->tables, h->table, a, n, s, key.at, number(&r, 4), out, scratch.at, room);
    MUST(code == SA_OK || code == SA_ERR_VALUE);
    for (size_t i = 0; i < n; i++)
        MUST(code == SA_OK ? out[i] <= UINT64_MAX >> (64 - h->width) : out[i] == 0);
    drop(payload);
    drop(stored);
    drop(scratch);
    drop(acc);
    drop(secret);
    drop(opened);
    drop(key);
    drop(was);
}

static void samples(struct recipe r, int first, size_t n, size_t shift)
{
    const size_t room = sa_hint_scratch_bytes(DEGREE, 0), count = below(&r, 97);
    const uint64_t stream = number(&r, 8), start = number(&r, 7);
    struct exact out = exact(8 * n, 0), scratch = exact(room, 15 - shift), key = exact(16, shift), table = exact(16 * count, 0);
    uint64_t *const thresholds = (uint64_t *)(void *)table.at;
    fill(&r, key.at, 16);
    hint_thresholds(thresholds, count, 0);
    for (size_t k = 0; k < count; k++) /* the same every time */
        thresholds[count + k] = 0x123456789abcdefu * (k + 1) >> 1;
    memset(out.at, 0, out.nbytes);
    const int code = sa_hint_gaussian(thresholds, count, (int64_t *)(void *)out.at, n, key.at, stream, start, scratch.at, room);
    MUST(code == (count < 96 ? SA_OK : SA_ERR_ARGUMENT));
    agree(first, code, out.at, out.nbytes);
    drop(out);
    drop(scratch);
    drop(key);
    drop(table);
}

static void run(struct recipe r, int first)
{
    const struct hint *const h = &hints[below(&r, COUNT(settings))];
    const size_t what = below(&r, 4), shift = below(&r, 16), n = below(&r, 2 * DEGREE * h->per + 40);
    if (what == 0)
        samples(r, first, n, shift);
    else if (what == 1)
        mask(h, r, first, n, shift);
    else
        sum(h, r, first, n, shift);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct recipe r = {data, size};
    if (hints[0].table == NULL)
        prepare();
    on_each(run, r);
    return 0;
}
