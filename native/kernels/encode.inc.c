/* Fixed-point encoding of one input and lane type. The including file defines SA_ISA, SA_ISA_TARGET and SA_WIDTH (doubles
 * per register) and, before each inclusion, SA_FBITS (32, 64) and SA_BITS (16, 32, 64).
 *
 * Rounding is by adding and taking away 2^52, which is exact here (0 <= s < 2^32); the result equals the scalar formula
 * floor(s) + (word < (uint64)((s - floor(s)) * 2^32)) bit for bit, since word + 1 <= d is word < floor(d) for integers. */
#define SA_LANE SA_CAT(SA_CAT(uint, SA_BITS), _t)
#define SA_REAL SA_CAT(sa_f, SA_FBITS)
#define SA_NAME(stem) SA_CAT(SA_CAT(SA_CAT(SA_CAT(SA_CAT(stem, SA_FBITS), _u), SA_BITS), _), SA_ISA)
#define SA_GROUP SA_NAME(encode_group_f)

/* SA_WIDTH values. CT: secret=x, words, out, clipped, bad; public=all else */
SA_ISA_TARGET static inline __attribute__((always_inline)) void SA_GROUP(
    const SA_REAL *x, const uint32_t *words, SA_LANE *out, const struct sa_encode_args *args, ivec *clipped, ivec *bad)
{
    const fvec zero = {0}, one = zero + 1.0, magic = zero + 0x1p52, clip = zero + args->clip;
    const fvec levels = zero + args->levels;
    typedef SA_REAL xvec __attribute__((vector_size(SA_WIDTH * sizeof(SA_REAL))));
    typedef SA_LANE ovec __attribute__((vector_size(SA_WIDTH * sizeof(SA_LANE))));
    xvec raw;
    memcpy(&raw, x, sizeof raw);
    const fvec v = __builtin_convertvector(raw, fvec);
    const ivec above = v > clip, below = v < -clip;
    *bad |= (v - v) != zero;
    *clipped -= above | below;
    /* NaN is neither above nor below; it must not reach the conversion, whatever is returned for it. */
    const fvec c = SA_PICK(above, clip, SA_PICK(v > -clip, v, -clip));
    fvec s = (c + clip) * args->scale;
    s = SA_PICK(s < levels, s, levels);
    fvec q;
    if (words == NULL) {
        const fvec t = s + 0.5;
        q = (t + magic) - magic;
        q -= SA_PICK(q > t, one, zero);
        q = SA_PICK(q < levels, q, levels);
    } else {
        typedef uint32_t wvec __attribute__((vector_size(SA_WIDTH * 4)));
        wvec word;
        memcpy(&word, words, sizeof word);
        const uvec word_bits = __builtin_convertvector(word, uvec) | (uvec)magic;
        q = (s + magic) - magic;
        q -= SA_PICK(q > s, one, zero);
        const fvec word_next = ((fvec)word_bits - magic) + one;
        q += SA_PICK(word_next <= (s - q) * 0x1p32, one, zero);
    }
    const uvec product = ((uvec)(q + magic) ^ (uvec)magic) * args->weight;
    const ovec result = __builtin_convertvector(product, ovec);
    memcpy(out, &result, sizeof result);
}

/* CT: secret=x, words, out, args->clipped, args->nonfinite; public=n, args but for those, whether words is NULL */
SA_ISA_TARGET void SA_NAME(sa_fixed_encode_f)(const void *x, size_t n, const uint32_t *words, void *out,
                                              struct sa_encode_args *args)
{
    const SA_REAL *in = x;
    SA_LANE *to = out;
    ivec clipped = {0}, bad = {0};
    size_t i = 0;
    if (words == NULL)
        for (; i + SA_WIDTH <= n; i += SA_WIDTH)
            SA_GROUP(in + i, NULL, to + i, args, &clipped, &bad);
    else
        for (; i + SA_WIDTH <= n; i += SA_WIDTH)
            SA_GROUP(in + i, words + i, to + i, args, &clipped, &bad);
    if (i < n) {
        SA_REAL last_in[SA_WIDTH] = {0};
        uint32_t last_words[SA_WIDTH] = {0};
        SA_LANE last_out[SA_WIDTH];
        memcpy(last_in, in + i, (n - i) * sizeof(SA_REAL));
        if (words != NULL)
            memcpy(last_words, words + i, (n - i) * sizeof(uint32_t));
        SA_GROUP(last_in, words == NULL ? NULL : last_words, last_out, args, &clipped, &bad);
        memcpy(to + i, last_out, (n - i) * sizeof(SA_LANE));
        sa_wipe(last_in, sizeof last_in);
        sa_wipe(last_words, sizeof last_words);
        sa_wipe(last_out, sizeof last_out);
    }
    for (int k = 0; k < SA_WIDTH; k++) {
        args->clipped += (uint64_t)clipped[k];
        args->nonfinite |= (uint64_t)bad[k];
    }
}

#undef SA_LANE
#undef SA_REAL
#undef SA_NAME
#undef SA_GROUP
#undef SA_BITS
