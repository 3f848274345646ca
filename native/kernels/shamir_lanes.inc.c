/* Shares over p = 2^61 - 1, one point in each 64-bit lane, for points below 2^31. The including file defines SA_ISA,
 * SA_ISA_TARGET, SA_WIDTH (lanes per register) and SA_MUL32(a, b), the products of the lanes' low 32 bits. */
#include "../common/field.h"
#include "../common/zero.h"
#include "../dispatch.h"

#define SA_POINTS (4 * SA_WIDTH)

typedef uint64_t uvec __attribute__((vector_size(SA_WIDTH * 8)));

/* y * x + c, folded, for y < 2^61 + 8, x < 2^31 and c < 2^61: with y = high * 2^32 + low, and 2^61 = 1.
 * CT: secret=y, c; public=x */
SA_ISA_TARGET SA_INLINE uvec SA_CAT(mul_add_, SA_ISA)(uvec y, uvec x, uint64_t c)
{
    const uvec low = (uvec)SA_MUL32(y, x), high = (uvec)SA_MUL32(y >> 32, x);
    const uvec sum = low + ((high & (uint64_t)0x1fffffff) << 32) + (high >> 29) + c;
    return (sum & SA_P) + (sum >> 61);
}

/* Four registers of points at a time hide the latency of the multiplications.
 * CT: secret=secrets, coeffs, shares; public=m, t, xs, n */
SA_ISA_TARGET void SA_CAT(sa_split_run_u64_, SA_ISA)(const uint64_t *secrets, size_t m, const uint64_t *coeffs, size_t t,
                                                     const uint64_t *xs, size_t n, uint64_t *shares)
{
    uint64_t x[SA_POINTS], y[SA_POINTS];
    for (size_t i = 0; i < n; i += SA_POINTS) {
        const size_t points = sa_min(SA_POINTS, n - i);
        uvec x0, x1, x2, x3;
        for (size_t k = 0; k < SA_POINTS; k++)
            x[k] = xs[i + (k < points ? k : 0)];
        memcpy(&x0, x, sizeof x0);
        memcpy(&x1, x + SA_WIDTH, sizeof x1);
        memcpy(&x2, x + 2 * SA_WIDTH, sizeof x2);
        memcpy(&x3, x + 3 * SA_WIDTH, sizeof x3);
        for (size_t j = 0; j < m; j++) {
            uvec y0 = {0}, y1 = {0}, y2 = {0}, y3 = {0};
            for (size_t d = t; d-- > 0;) {
                const uint64_t c = d == 0 ? secrets[j] : coeffs[(d - 1) * m + j];
                y0 = SA_CAT(mul_add_, SA_ISA)(y0, x0, c);
                y1 = SA_CAT(mul_add_, SA_ISA)(y1, x1, c);
                y2 = SA_CAT(mul_add_, SA_ISA)(y2, x2, c);
                y3 = SA_CAT(mul_add_, SA_ISA)(y3, x3, c);
            }
            memcpy(y, &y0, sizeof y0);
            memcpy(y + SA_WIDTH, &y1, sizeof y1);
            memcpy(y + 2 * SA_WIDTH, &y2, sizeof y2);
            memcpy(y + 3 * SA_WIDTH, &y3, sizeof y3);
            for (size_t k = 0; k < points; k++)
                shares[(i + k) * m + j] = sa_field_canonical(y[k]);
        }
    }
    sa_wipe(y, sizeof y);
}
