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

/* How many thresholds are above (high, low): those whose upper word is greater, then the one whose upper word is equal, of which
 * there is at most one but where it is 0. CT: secret=high, low; public=table, wide */
SA_IFMA_INLINE __m512i count_above(const struct sa_gaussian *table, size_t wide, __m512i high, __m512i low)
{
    const __m512i one = all(1);
    __m512i count = _mm512_setzero_si512(), equal = _mm512_setzero_si512();
    for (size_t k = 0; k < wide; k++) {
        const __m512i threshold = all(table->high[k]);
        count = _mm512_mask_add_epi64(count, _mm512_cmplt_epu64_mask(high, threshold), count, one);
        equal = _mm512_mask_mov_epi64(equal, _mm512_cmpeq_epu64_mask(high, threshold), all(table->low[k]));
    }
    count = _mm512_mask_add_epi64(count, _mm512_cmplt_epu64_mask(low, equal), count, one);
    const __mmask8 zero = _mm512_cmpeq_epu64_mask(high, _mm512_setzero_si512());
    for (size_t k = wide; k < table->count; k++)
        count = _mm512_mask_add_epi64(count, _mm512_mask_cmplt_epu64_mask(zero, low, all(table->low[k])), count, one);
    return count;
}

/* As in hint_lanes.inc.c. CT: secret=out, words; public=table, n */
SA_ISA_TARGET static void gaussian(const struct sa_gaussian *table, int64_t *out, const uint64_t *words, size_t n)
{
    const __m512i half = all(SA_LOW_63);
    size_t wide = 0;
    for (; wide < table->count && table->high[wide] != 0; wide++)
        ;
    SA_EACH(n, {
        const __m512i a = (__m512i)load(words + 2 * i, sa_min(2 * take, 8));
        const __m512i b = (__m512i)load(words + 2 * i + sa_min(2 * take, 8), 2 * take - sa_min(2 * take, 8));
        const __m512i low = _mm512_permutex2var_epi64(a, _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), b);
        const __m512i high = _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1), b);
        const __m512i size = count_above(table, wide, _mm512_and_si512(high, half), _mm512_and_si512(low, half));
        const __m512i minus = _mm512_srai_epi64(high, 63);
        store((uint64_t *)out + i, (uvec)_mm512_sub_epi64(_mm512_xor_si512(size, minus), minus), take);
    })
}
