/* Shamir's scheme with elements out of range, points that are zero or repeated, and any counts. */
#include "fuzz.h"

#define P (((uint64_t)1 << 61) - 1)

static struct exact elements(struct recipe *r, size_t count, int tidy)
{
    struct exact made = exact(8 * count, 0);
    uint64_t *const at = (uint64_t *)(void *)made.at;
    fill(r, made.at, made.nbytes);
    for (size_t i = 0; tidy && i < count; i++)
        at[i] %= P;
    return made;
}

static void run(struct recipe r, int first)
{
    const size_t m = below(&r, 6), t = below(&r, 9), n = below(&r, 12);
    const int tidy = (int)below(&r, 4), what = (int)below(&r, 3);
    struct exact secrets = elements(&r, m, tidy), coeffs = elements(&r, t > 0 ? (t - 1) * m : 0, tidy);
    struct exact xs = elements(&r, n > t ? n : t, tidy), shares = elements(&r, (n > t ? n : t) * m, tidy);
    struct exact weights = elements(&r, t, tidy), scratch = exact(8 * t, 0), out = exact(8 * m, 0);
    uint64_t *const x = (uint64_t *)(void *)xs.at, *const s = (uint64_t *)(void *)shares.at;
    uint64_t *const w = (uint64_t *)(void *)weights.at, *const o = (uint64_t *)(void *)out.at;
    uint64_t *const work = (uint64_t *)(void *)scratch.at;
    const uint64_t *const c = (const uint64_t *)(const void *)coeffs.at, *const v = (const uint64_t *)(const void *)secrets.at;
    for (size_t i = 0; tidy == 3 && i < xs.nbytes / 8; i++)
        x[i] = (x[i] % 1000 + 1) * 16 + i; /* canonical, not zero, different */
    int code;
    if (what == 0) {
        code = sa_shamir_weights_u64(x, t, w, work);
        agree(first, code, weights.at, code == SA_OK ? weights.nbytes : 0);
    } else if (what == 1) {
        code = sa_shamir_combine_u64(w, t, s, m, o);
        agree(first, code, out.at, code == SA_OK ? out.nbytes : 0);
    } else {
        code = sa_shamir_split_u64(v, m, c, t, x, n, s);
        agree(first, code, shares.at, code == SA_OK ? 8 * n * m : 0);
        if (code == SA_OK && n >= t && sa_shamir_weights_u64(x, t, w, work) == SA_OK) {
            MUST(sa_shamir_combine_u64(w, t, s, m, o) == SA_OK);
            MUST(memcmp(out.at, secrets.at, out.nbytes) == 0);
        }
    }
    drop(secrets);
    drop(coeffs);
    drop(xs);
    drop(shares);
    drop(weights);
    drop(scratch);
    drop(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recipe r = {data, size};
    on_each(run, r);
    return 0;
}
