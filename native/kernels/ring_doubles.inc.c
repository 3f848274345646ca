/* The ring in doubles with fused multiply-add, for moduli below 2^50 where there are no wide integer products.
 *
 * A product of integers h + l = a b is exact in two doubles (l by the fused operation), c = round(h / q) is its quotient but for an
 * error, and (h - c q) + l its remainder, exactly: all are integers below 2^53. In units of q, the remainder's size is at
 * most T(z) = 0.5 + 0.375 z for |a| <= z q and 0 <= b < q, since three roundings of 2^-53 err by 3 z 2^50 / 2^53 in c. Transforms
 * keep |values| below 2 q, and sums below 4 q < 2^52. The processor rounds to nearest, as everywhere a program has not asked for
 * something else. No operation's time depends on its values: none is denormal, infinite or NaN.
 *
 * The including file has included ring_lanes.inc.c and defines the type dvec (SA_WIDTH doubles), SA_FMA(a, b, c) = a b + c,
 * SA_FNMA(a, b, c) = c - a b and SA_ROUND(v); and, after ring_doubles.inc.c, what does the stages within two registers:
 * forward_within and inverse_within, on coefficients i and on. */

struct doubles {
    dvec q, inverse; /* q and 1 / q, in every lane */
};

#define SA_TWO_52 4503599627370496.0

SA_ISA_TARGET SA_INLINE dvec every(double v)
{
    return (dvec){0} + v;
}

SA_ISA_TARGET SA_INLINE struct doubles doubles_of(uint64_t q)
{
    return (struct doubles){every((double)q), every(1.0 / (double)q)};
}

/* Of integers below 2^52, whose bits are those of 2^52 + v but for the exponent. */
SA_ISA_TARGET SA_INLINE dvec to_doubles(uvec v)
{
    return (dvec)(v | (uint64_t)0x4330000000000000) - SA_TWO_52;
}

SA_ISA_TARGET SA_INLINE dvec load_doubles(const uint64_t *p)
{
    dvec v;
    memcpy(&v, p, sizeof v);
    return v;
}

SA_ISA_TARGET SA_INLINE void store_doubles(uint64_t *p, dvec v)
{
    memcpy(p, &v, sizeof v);
}

/* a b mod q, of size T(z). CT: secret=a, b; public=k */
SA_ISA_TARGET SA_INLINE dvec times(dvec a, dvec b, const struct doubles *k)
{
    const dvec high = a * b, low = SA_FMA(a, b, -high), c = SA_ROUND(high * k->inverse);
    return SA_FNMA(c, k->q, high) + low;
}

/* v mod q, of size 0.5 q, and 2^-49 q more at most. CT: secret=v; public=k */
SA_ISA_TARGET SA_INLINE dvec shrink(dvec v, const struct doubles *k)
{
    return SA_FNMA(SA_ROUND(v * k->inverse), k->q, v);
}

/* The canonical residue of |v| < q. CT: secret=v; public=k */
SA_ISA_TARGET SA_INLINE uvec canonical(dvec v, const struct doubles *k)
{
    const uvec negative = (uvec)(v < 0.0);
    const dvec lifted = v + (dvec)(negative & (uvec)k->q);
    return (uvec)(lifted + SA_TWO_52) & (uint64_t)0xfffffffffffff;
}

/* Cooley-Tukey. With |x|, |y| <= z the first is shrunk, and sums are at most 0.5 + T(z) = 1 + 0.375 z: below 1.6 for ever. */
SA_ISA_TARGET SA_INLINE void split(dvec *x, dvec *y, dvec w, const struct doubles *k)
{
    const dvec a = shrink(*x, k), b = times(*y, w, k);
    *x = a + b;
    *y = a - b;
}

/* Gentleman-Sande. With |x|, |y| <= z the sum is shrunk, and the product at most T(2z) = 0.5 + 0.75 z: below 2 for ever. */
SA_ISA_TARGET SA_INLINE void join(dvec *x, dvec *y, dvec w, const struct doubles *k)
{
    const dvec a = *x, b = *y;
    *x = shrink(a + b, k);
    *y = times(a - b, w, k);
}


typedef void within_fn(const struct sa_ring *ring, size_t i, dvec *x, dvec *y, const struct doubles *k);
SA_ISA_TARGET static inline within_fn forward_within, inverse_within;

/* One stage of butterflies between registers, `op` being split or join. */
#define SA_BETWEEN(op, roots)                                              \
    for (size_t b = 0; b < blocks; b++) {                                  \
        const dvec w = every((double)(int64_t)(roots)[blocks + b]);        \
        uint64_t *const low = a + 2 * b * t, *const high = low + t;        \
        for (size_t j = 0; j < t; j += SA_WIDTH) {                         \
            dvec x = load_doubles(low + j), y = load_doubles(high + j);    \
            op(&x, &y, w, &k);                                             \
            store_doubles(low + j, x);                                     \
            store_doubles(high + j, y);                                    \
        }                                                                  \
    }

/* CT: secret=a; public=ring */
SA_ISA_TARGET static void forward(const struct sa_ring *ring, uint64_t *a)
{
    const struct doubles k = doubles_of(ring->q);
    size_t blocks = 1, t = ring->n / 2;
    for (size_t i = 0; i < ring->n; i += SA_WIDTH)
        store_doubles(a + i, to_doubles(load(a + i, SA_WIDTH)));
    for (; t >= SA_WIDTH; blocks *= 2, t /= 2)
        SA_BETWEEN(split, ring->roots)
    for (size_t i = 0; i < ring->n; i += 2 * SA_WIDTH) {
        dvec x = load_doubles(a + i), y = load_doubles(a + i + SA_WIDTH);
        forward_within(ring, i, &x, &y, &k);
        store(a + i, canonical(shrink(x, &k), &k), SA_WIDTH);
        store(a + i + SA_WIDTH, canonical(shrink(y, &k), &k), SA_WIDTH);
    }
}

/* Of the transform in `a`, times `b` where there is one: T(1) is below 1. CT: secret=out, a, b; public=ring */
SA_ISA_TARGET SA_INLINE void inverse_of(const struct sa_ring *ring, uint64_t *out, const uint64_t *from, const uint64_t *b)
{
    const struct doubles k = doubles_of(ring->q);
    const dvec last = every((double)ring->last);
    uint64_t *const a = out;
    for (size_t i = 0; i < ring->n; i += 2 * SA_WIDTH) {
        dvec x = to_doubles(load(from + i, SA_WIDTH)), y = to_doubles(load(from + i + SA_WIDTH, SA_WIDTH));
        if (b != NULL) {
            x = times(x, to_doubles(load(b + i, SA_WIDTH)), &k);
            y = times(y, to_doubles(load(b + i + SA_WIDTH, SA_WIDTH)), &k);
        }
        inverse_within(ring, i, &x, &y, &k);
        store_doubles(a + i, x);
        store_doubles(a + i + SA_WIDTH, y);
    }
    for (size_t blocks = ring->n / 2 / SA_WIDTH, t = SA_WIDTH; blocks != 0; blocks /= 2, t *= 2)
        SA_BETWEEN(join, ring->inverses)
    for (size_t i = 0; i < ring->n; i += SA_WIDTH)
        store(a + i, canonical(shrink(times(load_doubles(a + i), last, &k), &k), &k), SA_WIDTH);
}

/* CT: secret=a; public=ring */
SA_ISA_TARGET static void inverse(const struct sa_ring *ring, uint64_t *a)
{
    inverse_of(ring, a, a, NULL);
}

/* CT: secret=out, a, b; public=ring */
SA_ISA_TARGET static void multiply_inverse(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    inverse_of(ring, out, a, b);
}

/* Of canonical residues: T(1) is below 1. CT: secret=a, b; public=k */
SA_ISA_TARGET SA_INLINE uvec product(uvec a, uvec b, const struct doubles *k)
{
    return canonical(times(to_doubles(a), to_doubles(b), k), k);
}

/* CT: secret=out, a, b; public=ring, n */
SA_ISA_TARGET static void multiply_add(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n)
{
    const struct doubles k = doubles_of(ring->q);
    SA_EACH(n, {
        const uvec sum = load(out + i, take) + product(load(a + i, take), load(b + i, take), &k);
        store(out + i, reduce_once(sum, ring->q), take);
    })
}
