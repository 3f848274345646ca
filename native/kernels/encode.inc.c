/* Fixed-point encoding of one input and lane type. The including file defines SA_ISA, SA_ISA_TARGET and SA_WIDTH (doubles
 * per register) and, before each inclusion, SA_FBITS (32, 64) and SA_BITS (16, 32, 64).
 *
 * Everything is scaled by 2^32, which changes no rounding: u = floor(s * 2^32) holds floor(s) above and floor(frac(s) * 2^32)
 * below, and adding 2^32 - 1 - word carries into the upper half exactly if word is less than the lower. */
#define SA_LANE SA_CAT(SA_CAT(uint, SA_BITS), _t)
#define SA_REAL SA_CAT(sa_f, SA_FBITS)
#define SA_NAME(stem) SA_CAT(SA_CAT(SA_CAT(SA_CAT(SA_CAT(stem, SA_FBITS), _u), SA_BITS), _), SA_ISA)
#define SA_GROUP SA_NAME(encode_group_f)

/* SA_WIDTH values. CT: secret=x, words, out, tally; public=all else */
SA_ISA_TARGET static inline __attribute__((always_inline)) void SA_GROUP(
    const SA_REAL *x, const uint32_t *words, SA_LANE *out, const struct encode_constants *k, struct encode_tally *tally)
{
    const fvec v = SA_WIDEN(SA_FBITS)(x), c = SA_MIN(SA_MAX(v, k->low), k->high);
    tally->clipped = SA_COUNT_DIFFERENT(tally->clipped, v, c);
    tally->poison += v - v; /* 0, or NaN for ever */
    const fvec s = SA_MIN((c + k->high) * k->scale, k->levels);
    uvec code;
    if (words == NULL)
        code = SA_TO_U64(s + 0x1p31) >> 32;
    else
        code = (SA_TO_U64(s) + SA_WIDEN_WORDS(words)) >> 32;
    SA_STORE(SA_BITS)(out, SA_TIMES(SA_BITS)(code, k->weight));
}

/* CT: secret=x, words, out, args->clipped, args->nonfinite; public=n, args but for those, whether words is NULL */
SA_ISA_TARGET void SA_NAME(sa_fixed_encode_f)(const void *x, size_t n, const uint32_t *words, void *out,
                                              struct sa_encode_args *args)
{
    const SA_REAL *in = x;
    SA_LANE *to = out;
    const fvec zero = {0};
    const struct encode_constants k = {args->clip - zero, -args->clip - zero, args->scale * 0x1p32 - zero,
                                       args->levels * 0x1p32 - zero, args->weight - (uvec){0}};
    struct encode_tally tally = {{0}, {0}};
    size_t i = 0;
    if (words == NULL)
        for (; i + SA_WIDTH <= n; i += SA_WIDTH)
            SA_GROUP(in + i, NULL, to + i, &k, &tally);
    else
        for (; i + SA_WIDTH <= n; i += SA_WIDTH)
            SA_GROUP(in + i, words + i, to + i, &k, &tally);
    if (i < n) {
        SA_REAL last_in[SA_WIDTH] = {0};
        uint32_t last_words[SA_WIDTH] = {0};
        SA_LANE last_out[SA_WIDTH];
        memcpy(last_in, in + i, (n - i) * sizeof(SA_REAL));
        if (words != NULL)
            memcpy(last_words, words + i, (n - i) * sizeof(uint32_t));
        SA_GROUP(last_in, words == NULL ? NULL : last_words, last_out, &k, &tally);
        memcpy(to + i, last_out, (n - i) * sizeof(SA_LANE));
        sa_wipe(last_in, sizeof last_in);
        sa_wipe(last_words, sizeof last_words);
        sa_wipe(last_out, sizeof last_out);
    }
    for (int j = 0; j < SA_WIDTH; j++) {
        args->clipped += tally.clipped[j];
        args->nonfinite |= tally.poison[j] != 0.0;
    }
}

#undef SA_LANE
#undef SA_REAL
#undef SA_NAME
#undef SA_GROUP
#undef SA_BITS
