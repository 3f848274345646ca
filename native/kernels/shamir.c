/* Shamir's scheme over p = 2^61 - 1 for many secrets at once (Shamir, "How to share a secret", CACM 1979). */
#include "../common/field.h"
#include "../common/zero.h"
#include "../dispatch.h"

typedef unsigned __int128 sa_u128;

/* a * b + c, folded; a < 2^62, b < 2^61 + 8, c < 2^62. */
SA_INLINE uint64_t mul_add(uint64_t a, uint64_t b, uint64_t c)
{
    const sa_u128 product = (sa_u128)a * b;
    return sa_field_fold(((uint64_t)product & SA_P) + (uint64_t)(product >> 61) + c);
}

/* Not zero when some element is p or more. CT: secret=v; public=n */
static uint64_t any_not_canonical(const uint64_t *v, size_t n)
{
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (SA_P - 1 - v[i]) | v[i];
    return bad >> 61;
}

/* Four evaluation points at a time hide the latency of the multiplications.
 * CT: secret=secrets, coeffs, shares; public=m, t, xs, n */
void sa_split_run_u64_portable(const uint64_t *secrets, size_t m, const uint64_t *coeffs, size_t t, const uint64_t *xs,
                               size_t n, uint64_t *shares)
{
    uint64_t x[4], y[4];
    for (size_t i = 0; i < n; i += 4) {
        const size_t points = sa_min(4, n - i);
        for (size_t k = 0; k < 4; k++)
            x[k] = xs[i + (k < points ? k : 0)];
        for (size_t j = 0; j < m; j++) {
            uint64_t y0 = 0, y1 = 0, y2 = 0, y3 = 0;
            for (size_t d = t; d-- > 0;) {
                const uint64_t c = d == 0 ? secrets[j] : coeffs[(d - 1) * m + j];
                y0 = mul_add(y0, x[0], c);
                y1 = mul_add(y1, x[1], c);
                y2 = mul_add(y2, x[2], c);
                y3 = mul_add(y3, x[3], c);
            }
            y[0] = sa_field_canonical(y0);
            y[1] = sa_field_canonical(y1);
            y[2] = sa_field_canonical(y2);
            y[3] = sa_field_canonical(y3);
            for (size_t k = 0; k < points; k++)
                shares[(i + k) * m + j] = y[k];
        }
    }
    sa_wipe(y, sizeof y);
}

/* CT: secret=secrets, coeffs, shares; public=m, t, xs, n. The return code reveals whether all inputs are canonical. */
int sa_shamir_split_u64(const uint64_t *secrets, size_t m, const uint64_t *coeffs, size_t t, const uint64_t *xs,
                        size_t n, uint64_t *shares)
{
    uint64_t all = 0;
    if (t < 1)
        return SA_ERR_ARGUMENT;
    if (sa_ct_reveal(any_not_canonical(secrets, m) | any_not_canonical(coeffs, (t - 1) * m) | any_not_canonical(xs, n)) != 0)
        return SA_ERR_FIELD;
    for (size_t i = 0; i < n; i++)
        all |= xs[i];
    /* Vectors multiply by 32 bits; indices are ranks, so that larger ones hardly occur. */
    (all >> 31 == 0 ? sa_impl()->split : sa_split_run_u64_portable)(secrets, m, coeffs, t, xs, n, shares);
    sa_wipe_stack();
    return SA_OK;
}

/* v^(p - 2): p - 2 = 2^61 - 3 is ones but for bit 1. CT: secret=v; public=none */
static uint64_t invert(uint64_t v)
{
    uint64_t result = 1;
    for (int bit = 60; bit >= 0; bit--) {
        result = sa_field_canonical(mul_add(result, result, 0));
        if (bit != 1)
            result = sa_field_canonical(mul_add(result, v, 0));
    }
    return result;
}

/* below[j] = x_j * prod_{i != j} (x_i - x_j) for four points: four chains hide the latency of one. CT: secret=none; public=all */
static void denominators(const uint64_t *xs, size_t t, size_t j, size_t points, uint64_t *below)
{
    uint64_t x[4], y[4];
    for (size_t k = 0; k < 4; k++)
        x[k] = y[k] = xs[j + (k < points ? k : 0)];
    for (size_t i = 0; i < t; i++)
        for (size_t k = 0; k < 4; k++)
            y[k] = mul_add(i == j + k ? 1 : xs[i] + SA_P - x[k], y[k], 0);
    for (size_t k = 0; k < points; k++)
        below[j + k] = sa_field_canonical(y[k]);
}

/* weights[j] = prod_{i != j} x_i / (x_i - x_j), with one inversion for all (Montgomery's trick): weights first holds the
 * products of the denominators before j. CT: secret=none; public=all */
int sa_shamir_weights_u64(const uint64_t *xs, size_t t, uint64_t *weights, uint64_t *scratch)
{
    uint64_t all = 1, product = 1;
    if (any_not_canonical(xs, t) != 0)
        return SA_ERR_FIELD;
    for (size_t j = 0; j < t; j += 4)
        denominators(xs, t, j, sa_min(4, t - j), scratch);
    for (size_t j = 0; j < t; j++) {
        all = sa_field_canonical(mul_add(all, xs[j], 0));
        weights[j] = product;
        product = sa_field_canonical(mul_add(product, scratch[j], 0));
    }
    if (product == 0)
        return SA_ERR_FIELD; /* a point that is 0 or there twice */
    uint64_t factor = sa_field_canonical(mul_add(all, invert(product), 0));
    for (size_t j = t; j-- > 0;) {
        weights[j] = sa_field_canonical(mul_add(factor, weights[j], 0));
        factor = sa_field_canonical(mul_add(factor, scratch[j], 0));
    }
    return SA_OK;
}

/* CT: secret=shares, out; public=weights, t, m. The return code reveals whether all inputs are canonical. */
int sa_shamir_combine_u64(const uint64_t *weights, size_t t, const uint64_t *shares, size_t m, uint64_t *out)
{
    if (sa_ct_reveal(any_not_canonical(weights, t) | any_not_canonical(shares, t * m)) != 0)
        return SA_ERR_FIELD;
    for (size_t j = 0; j < m; j++)
        out[j] = 0;
    for (size_t i = 0; i < t; i++)
        for (size_t j = 0; j < m; j++)
            out[j] = mul_add(shares[i * m + j], weights[i], out[j]);
    for (size_t j = 0; j < m; j++)
        out[j] = sa_field_canonical(out[j]);
    sa_wipe_stack();
    return SA_OK;
}
