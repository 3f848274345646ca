/* What masks need residue by residue; included by ring_lanes.inc.c. SA_OWN_GAUSSIAN: the including file has its own. */

/* out += values * 2^shift, of 16, 32 or 64-bit values (lane 0, 1, 2); returns the OR of all values.
 * CT: secret=out, values; public=lane, shift, n */
SA_LANES_FN uint64_t shift_add(uint64_t *out, const void *values, int lane, unsigned shift, size_t n)
{
    typedef uint16_t quarter __attribute__((vector_size(SA_WIDTH * 2)));
    typedef uint32_t half __attribute__((vector_size(SA_WIDTH * 4)));
    const uint8_t *const from = values;
    uvec any = {0};
    SA_EACH(n, {
        uvec wide;
        if (lane == 0) {
            quarter v = {0};
            memcpy(&v, from + 2 * i, 2 * take);
            wide = __builtin_convertvector(v, uvec);
        } else if (lane == 1) {
            half v = {0};
            memcpy(&v, from + 4 * i, 4 * take);
            wide = __builtin_convertvector(v, uvec);
        } else {
            wide = load((const uint64_t *)values + i, take);
        }
        any |= wide;
        store(out + i, load(out + i, take) + (wide << shift), take);
    })
    return fold_or(any);
}

/* Residues of small signed numbers, above -q. CT: secret=out, values; public=q, n */
SA_LANES_FN void lift_signed(uint64_t q, uint64_t *out, const int64_t *values, size_t n)
{
    SA_EACH(n, store(out + i, lift(load((const uint64_t *)values + i, take), q), take);)
}

#ifndef SA_OWN_GAUSSIAN
/* The number of thresholds above (high, low), each half of 63 bits, with the sign of the top bit.
 * CT: secret=out, words; public=table, n */
SA_LANES_FN void gaussian(const struct sa_gaussian *table, int64_t *out, const uint64_t *words, size_t n)
{
    SA_EACH(n, {
        uvec low = {0};
        uvec high = {0};
        uvec size = {0};
        for (size_t k = 0; k < take; k++) {
            low[k] = words[2 * (i + k)];
            high[k] = words[2 * (i + k) + 1];
        }
        const uvec minus = high >> 63;
        low &= SA_LOW_63;
        high &= SA_LOW_63;
        for (size_t k = 0; k < table->count; k++)
            size += (high - table->high[k] - ((low - table->low[k]) >> 63)) >> 63;
        store((uint64_t *)out + i, (size ^ (0 - minus)) + minus, take);
    })
}
#endif
