/* What masks need, on 512-bit registers; included by ring_ifma.c. */

/* acc below q and the product below 2q. CT: secret=acc, values; public=q, n, w, quotient */
SA_ISA_TARGET static void weigh(uint64_t q, uint64_t *acc, const uint64_t *values, size_t n, uint64_t w, uint64_t quotient)
{
    const struct lanes k = lanes_of(q);
    const struct root r = one_root(&w, &quotient, 0);
    SA_EACH(n, {
        const __m512i v = clean(times((__m512i)load(values + i, take), r.w, r.quotient, &k), &k);
        const __m512i sum = _mm512_add_epi64((__m512i)load(acc + i, take), v);
        store(acc + i, (uvec)once(once(sum, k.q2), k.q), take);
    })
}

/* Sixteen samples, a word of 32 bits each: the highest first. */
struct sixteen {
    __m512i word[4];
};

/* Four registers of four samples, two words of 64 bits each, of which the upper bits are not used: moved up by two bits and transposed.
 * Lane 4 i + j holds sample 4 j + i. CT: secret=words; public=none */
SA_IFMA_INLINE struct sixteen transposed(const uint64_t *words)
{
    const __m512i up = _mm512_set_epi64(1, 2, 1, 2, 1, 2, 1, 2);
    __m512i v[4];
    for (int j = 0; j < 4; j++) {
        const __m512i raw = SA_LOAD(words + 8 * j), carried = _mm512_srli_epi64(_mm512_slli_epi64(raw, 1), 63);
        v[j] = _mm512_or_si512(_mm512_sllv_epi64(raw, up), _mm512_bslli_epi128(carried, 8));
    }
    const __m512i low0 = _mm512_unpacklo_epi32(v[0], v[1]), low1 = _mm512_unpacklo_epi32(v[2], v[3]);
    const __m512i high0 = _mm512_unpackhi_epi32(v[0], v[1]), high1 = _mm512_unpackhi_epi32(v[2], v[3]);
    return (struct sixteen){{_mm512_unpackhi_epi64(high0, high1), _mm512_unpacklo_epi64(high0, high1),
                             _mm512_unpackhi_epi64(low0, low1), _mm512_unpacklo_epi64(low0, low1)}};
}

/* Words of the table by places that are secret: every one of them is in a register. CT: secret=place; public=words */
SA_IFMA_INLINE __m512i looked_up(const uint32_t *words, __m512i place)
{
    const __m512i first = _mm512_permutex2var_epi32(SA_LOAD(words), place, SA_LOAD(words + 16));
    const __m512i second = _mm512_permutex2var_epi32(SA_LOAD(words + 32), place, SA_LOAD(words + 48));
    const __m512i third = _mm512_permutex2var_epi32(SA_LOAD(words + 64), place, SA_LOAD(words + 80));
    const __mmask16 beyond32 = _mm512_cmpge_epu32_mask(place, _mm512_set1_epi32(32));
    const __mmask16 beyond64 = _mm512_cmpge_epu32_mask(place, _mm512_set1_epi32(64));
    return _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(first, beyond32, second), beyond64, third);
}

/* How many thresholds are above each u. One word decides, the first that is not 0 in the threshold; but for one threshold, the next,
 * that may have this word in common with u: that one is looked up and compared with as a whole. CT: secret=u; public=table */
SA_IFMA_INLINE __m512i count_above(const struct sa_gaussian *table, const struct sixteen *u)
{
    const __m512i one = _mm512_set1_epi32(1), zero = _mm512_setzero_si512();
    __m512i count = zero;
    __mmask16 equal = 0xffff, less = 0;
    size_t k = 0;
    for (int level = 0; level < 4; level++) {
        for (; k < table->ends[level]; k++) {
            const __m512i threshold = _mm512_set1_epi32((int)table->words[level][k]);
            count = _mm512_mask_add_epi32(count, _mm512_mask_cmplt_epu32_mask(equal, u->word[level], threshold), count, one);
        }
        equal = _mm512_mask_cmpeq_epu32_mask(equal, u->word[level], zero);
    }
    equal = 0xffff;
    for (int level = 0; level < 4; level++) {
        const __m512i next = looked_up(table->words[level], count);
        less |= _mm512_mask_cmplt_epu32_mask(equal, u->word[level], next);
        equal = _mm512_mask_cmpeq_epu32_mask(equal, u->word[level], next);
    }
    return _mm512_mask_add_epi32(count, less, count, one);
}

/* As in hint_lanes.inc.c, sixteen at a time. CT: secret=out, words; public=table, n */
SA_ISA_TARGET static void gaussian(const struct sa_gaussian *table, int64_t *out, const uint64_t *words, size_t n)
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i signs = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
    uint64_t rest[32];
    for (size_t i = 0, take; i < n; i += take) {
        const uint64_t *from = words + 2 * i;
        take = sa_min(n - i, 16);
        if (take < 16) {
            memset(rest, 0, sizeof rest);
            memcpy(rest, from, 16 * take);
            from = rest;
        }
        const struct sixteen u = transposed(from);
        const __m512i sizes = _mm512_permutexvar_epi32(order, count_above(table, &u));
        for (size_t half = 0; half < 2 && 8 * half < take; half++) {
            const __m512i w1 = _mm512_permutex2var_epi64(SA_LOAD(from + 16 * half), signs, SA_LOAD(from + 16 * half + 8));
            const __m512i minus = _mm512_srai_epi64(w1, 63);
            const __m512i size = _mm512_cvtepu32_epi64(half == 0 ? _mm512_castsi512_si256(sizes)
                                                                 : _mm512_extracti64x4_epi64(sizes, 1));
            store((uint64_t *)out + i + 8 * half, (uvec)_mm512_sub_epi64(_mm512_xor_si512(size, minus), minus),
                  sa_min(take - 8 * half, 8));
        }
    }
    sa_wipe(rest, sizeof rest);
}
