/* Fixed-point decoding, with the types of encode_lanes.inc.c. A 64-bit integer becomes a double, rounded once, by its halves:
 * 2^84 + high * 2^32 and 2^52 + low are exact, and so is taking 2^84 + 2^52 away from the former. */
#define SA_NAME(stem) SA_CAT(stem, SA_ISA)
#define SA_GROUP SA_NAME(decode_group_)

/* SA_WIDTH values. CT: secret=sums, out; public=step, offset */
SA_ISA_TARGET static inline __attribute__((always_inline)) void SA_GROUP(const uint64_t *sums, double step, double offset,
                                                                        double *out)
{
    uvec v;
    memcpy(&v, sums, sizeof v);
    const fvec high = (fvec)((v >> 32) | (uint64_t)0x4530000000000000);
    const fvec low = (fvec)((v & (uint64_t)0xffffffff) | (uint64_t)0x4330000000000000);
    const fvec values = ((high - 0x1.00000001p84) + low) * step - offset;
    memcpy(out, &values, sizeof values);
}

/* CT: secret=sums, out; public=n, step, offset */
SA_ISA_TARGET void SA_NAME(sa_fixed_decode_u64_)(const uint64_t *sums, size_t n, double step, double offset, double *out)
{
    size_t i = 0;
    for (; i + SA_WIDTH <= n; i += SA_WIDTH)
        SA_GROUP(sums + i, step, offset, out + i);
    if (i < n) {
        uint64_t last_in[SA_WIDTH] = {0};
        double last_out[SA_WIDTH];
        memcpy(last_in, sums + i, (n - i) * sizeof last_in[0]);
        SA_GROUP(last_in, step, offset, last_out);
        memcpy(out + i, last_out, (n - i) * sizeof last_out[0]);
        sa_wipe(last_in, sizeof last_in);
        sa_wipe(last_out, sizeof last_out);
    }
}

#undef SA_NAME
#undef SA_GROUP
