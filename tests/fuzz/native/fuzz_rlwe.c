/* Ciphertexts of strangers: payloads of any content and length are added, stored and decrypted, or refused without a trace. */
#include "../../native/driver.h"

#include "../../native/driver_ring.h"

#include "fuzz.h"

#define DEGREE 1024

static uint64_t *tables[3];

static size_t payload_bytes(size_t n, unsigned bits)
{
    size_t total = 0;
    for (size_t at = 0; at < n; at += DEGREE) {
        const size_t count = n - at < DEGREE ? n - at : DEGREE;
        total += (DEGREE * bits + 7) / 8 + (count * bits + 7) / 8;
    }
    return total;
}

static void run(struct recipe r, int first)
{
    const uint64_t *const table = tables[below(&r, 3)];
    const unsigned bits = (unsigned)table[2];
    const size_t n = below(&r, 2 * DEGREE + 40), shift = below(&r, 16), what = below(&r, 4), wrong = below(&r, 8);
    const size_t polys = (n + DEGREE - 1) / DEGREE, room = sa_ring_scratch_bytes(DEGREE);
    const size_t right = what == 1 ? n / DEGREE * ((DEGREE * bits + 7) / 8) + (n % DEGREE * bits + 7) / 8 : payload_bytes(n, bits);
    const size_t nbytes = wrong == 0 ? below(&r, 20000) : right;
    const unsigned tidy = (unsigned)below(&r, 4);
    const uint64_t number_first = number(&r, 4);
    struct exact payload = exact(nbytes, shift), scratch = exact(room, 15 - shift), seed = exact(16, shift);
    struct exact c1 = exact(8 * DEGREE * polys, 0), c0 = exact(8 * n, 0), secret = exact(8 * DEGREE, 0), values = exact(8 * n, 0);
    uint64_t *const a = (uint64_t *)(void *)c1.at, *const b = (uint64_t *)(void *)c0.at, *const s = (uint64_t *)(void *)secret.at;
    uint64_t worst = 0;
    fill(&r, payload.at, nbytes);
    fill(&r, seed.at, 16);
    memset(scratch.at, 0, room);
    for (size_t i = 0; i < DEGREE * polys; i++)
        a[i] = (i * 0x9e3779b97f4a7c15u >> 3) % table[0];
    for (size_t i = 0; i < n; i++)
        b[i] = (i * 0xbf58476d1ce4e5b9u >> 3) % table[0];
    for (size_t i = 0; i < DEGREE; i++)
        s[i] = (i * 0x94d049bb133111ebu >> 3) % table[0];
    for (size_t i = 0; tidy > 0 && i < nbytes; i++) /* most residues small enough; the odd one may not be */
        payload.at[i] &= tidy == 1 ? 0x7f : 0x3f;
    struct exact was1 = copy_of(c1, 0), was0 = copy_of(c0, 0);
    int code;
    if (what == 0) {
        code = sa_rlwe_add(table, a, b, n, payload.at, nbytes, scratch.at, room);
    } else if (what == 1) {
        code = sa_rlwe_add_seeded(table, a, b, n, payload.at, nbytes, seed.at, number_first, scratch.at, room);
    } else if (what == 2) {
        code = sa_rlwe_store(table, a, b, n, payload.at, nbytes, scratch.at, room);
        agree(first, code, payload.at, code == SA_OK ? nbytes : 0);
        if (code == SA_OK && n > 0) {
            memset(c1.at, 0, c1.nbytes);
            memset(c0.at, 0, c0.nbytes);
            MUST(sa_rlwe_add(table, a, b, n, payload.at, nbytes, scratch.at, room) == SA_OK);
            MUST(memcmp(c1.at, was1.at, c1.nbytes) == 0 && memcmp(c0.at, was0.at, c0.nbytes) == 0);
        }
    } else {
        code = sa_rlwe_decrypt(table, s, a, b, n, 1 + number_first, (uint64_t *)(void *)values.at, &worst, scratch.at, room);
        agree(first, code, values.at, code == SA_OK ? values.nbytes : 0);
    }
    if (what < 2) {
        MUST(code == SA_OK || (memcmp(c1.at, was1.at, c1.nbytes) == 0 && memcmp(c0.at, was0.at, c0.nbytes) == 0));
        for (size_t i = 0; i < DEGREE * polys; i++)
            MUST(a[i] < table[0]);
        for (size_t i = 0; i < n; i++)
            MUST(b[i] < table[0]);
        struct exact both = exact(c1.nbytes + c0.nbytes, 0);
        memcpy(both.at, c1.at, c1.nbytes);
        memcpy(both.at + c1.nbytes, c0.at, c0.nbytes);
        agree(first, code, both.at, both.nbytes);
        drop(both);
    }
    drop(payload);
    drop(scratch);
    drop(seed);
    drop(c1);
    drop(c0);
    drop(secret);
    drop(values);
    drop(was1);
    drop(was0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recipe r = {data, size};
    if (tables[0] == NULL) {
        tables[0] = ring_table(DEGREE, 1032193u);
        tables[1] = ring_table(DEGREE, 1125899906826241u);
        tables[2] = ring_table(DEGREE, 2305843009213317121u);
    }
    on_each(run, r);
    return 0;
}
