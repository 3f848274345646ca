/* Bit packing and modular addition for one lane width; the including file defines SA_BITS before each inclusion. */
#define SA_LANE SA_CAT(SA_CAT(uint, SA_BITS), _t)
#define SA_FN(stem) SA_CAT(stem, SA_BITS)
#define SA_CHECK_WIDTH(w)                          \
    if ((w) < SA_MIN_WIDTH || (w) > SA_BITS)       \
        return SA_ERR_ARGUMENT;

/* CT: secret=values; public=n, w. The return code reveals whether some value is 2^w or more. */
int SA_FN(sa_bits_pack_u)(const SA_LANE *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes)
{
    SA_CHECK_WIDTH(w)
    if (!packed_length_is(out_bytes, n, w))
        return SA_ERR_ARGUMENT;
    const uint64_t mask = sa_low_bits(w);
    SA_LANE over = 0;
    size_t i = 0, at = 0;
    if (w == SA_BITS) {
        if (n != 0)
            memcpy(out, values, out_bytes);
        return SA_OK;
    }
    for (size_t k = 0; k < n; k++)
        over |= values[k];
    if ((over & ~mask) != 0)
        return SA_ERR_VALUE;
    if (w == 8) {
        for (; i < n; i++)
            out[i] = (uint8_t)values[i];
        return SA_OK;
    }
    uint64_t held = 0;
    unsigned fill = 0;
    /* Eight-byte stores at every step, only as long as they stay inside: step values of w bits, at most 57 in all, on
     * top of at most seven held bits. */
    const unsigned step = w <= 14 ? 4 : w <= 28 ? 2 : 1;
    if (w <= 57 && out_bytes >= 8) {
        const size_t safe = sa_min(n / step, ((out_bytes - 8) * 8) / (step * w));
        for (size_t k = 0; k < safe; k++, i += step) {
            uint64_t v = values[i];
            if (step == 4)
                v |= (uint64_t)values[i + 1] << w | (uint64_t)values[i + 2] << 2 * w | (uint64_t)values[i + 3] << 3 * w;
            else if (step == 2)
                v |= (uint64_t)values[i + 1] << w;
            held |= v << fill;
            fill += step * w;
            sa_store64(out + at, held);
            at += fill >> 3;
            held = fill < 64 ? held >> (fill & ~7u) : 0;
            fill &= 7;
        }
    }
    unsigned __int128 rest = held;
    for (; i < n; i++) {
        rest |= (unsigned __int128)values[i] << fill;
        for (fill += w; fill >= 8; fill -= 8, rest >>= 8)
            out[at++] = (uint8_t)rest;
    }
    if (fill != 0)
        out[at] = (uint8_t)rest;
    return SA_OK;
}

/* op(i, v) for every packed value; bits were checked. CT: secret=buf; public=n, w */
#define SA_UNPACK_EACH(op)                                                                          \
    {                                                                                               \
        const size_t safe = buf_bytes < 9 ? 0 : sa_min(n, ((buf_bytes - 9) * 8) / w + 1);           \
        size_t i = 0;                                                                               \
        if (w <= 57)                                                                                \
            for (size_t at = 0; i < safe; i++, at += w)                                             \
                op(i, (sa_load64(buf + (at >> 3)) >> (at & 7)) & mask)                              \
        else                                                                                        \
            for (size_t at = 0; i < safe; i++, at += w)                                             \
                op(i, join_bits(buf + (at >> 3), at & 7) & mask)                                    \
        for (; i < n; i++)                                                                          \
            op(i, load_bits(buf, buf_bytes, i, w) & mask)                                           \
    }
#define SA_PUT(i, v) out[i] = (SA_LANE)(v);
#define SA_ADD(i, v) acc[i] = (SA_LANE)(((uint64_t)acc[i] + (v)) & mask);

/* CT: secret=buf, out; public=buf_bytes, n, w. The return code reveals whether padding is zero. */
int SA_FN(sa_bits_unpack_u)(const uint8_t *buf, size_t buf_bytes, unsigned w, SA_LANE *out, size_t n)
{
    SA_CHECK_WIDTH(w)
    const uint64_t mask = sa_low_bits(w);
    const int bad = check_packed(buf, buf_bytes, n, w);
    if (bad != SA_OK)
        return bad;
    if (w == SA_BITS) {
        if (n != 0)
            memcpy(out, buf, buf_bytes);
    } else if (w == 8) {
        for (size_t i = 0; i < n; i++)
            out[i] = buf[i];
    } else {
        SA_UNPACK_EACH(SA_PUT)
    }
    return SA_OK;
}

/* CT: secret=acc, buf; public=n, buf_bytes, w. The return code reveals whether padding is zero. */
int SA_FN(sa_bits_unpack_add_u)(SA_LANE *acc, size_t n, const uint8_t *buf, size_t buf_bytes, unsigned w)
{
    SA_CHECK_WIDTH(w)
    const uint64_t mask = sa_low_bits(w);
    const int bad = check_packed(buf, buf_bytes, n, w);
    if (bad != SA_OK)
        return bad;
    if (w == SA_BITS) {
        for (size_t i = 0; i < n; i++) {
            SA_LANE v;
            memcpy(&v, buf + i * sizeof v, sizeof v);
            acc[i] = (SA_LANE)(acc[i] + v);
        }
    } else if (w == 8) {
        for (size_t i = 0; i < n; i++)
            acc[i] = (SA_LANE)((acc[i] + buf[i]) & 0xff);
    } else {
        SA_UNPACK_EACH(SA_ADD)
    }
    return SA_OK;
}

/* CT: secret=acc, other; public=n, w */
int SA_FN(sa_lanes_add_u)(SA_LANE *acc, const SA_LANE *other, size_t n, unsigned w)
{
    SA_CHECK_WIDTH(w)
    const SA_LANE mask = (SA_LANE)sa_low_bits(w);
    for (size_t i = 0; i < n; i++)
        acc[i] = (SA_LANE)((acc[i] + other[i]) & mask);
    return SA_OK;
}

#undef SA_LANE
#undef SA_FN
#undef SA_CHECK_WIDTH
#undef SA_UNPACK_EACH
#undef SA_PUT
#undef SA_ADD
#undef SA_BITS
#undef SA_MIN_WIDTH
