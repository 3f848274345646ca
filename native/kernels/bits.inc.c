/* Bit packing and modular addition in plain C for one lane width; the including file defines SA_BITS before each inclusion. */
#define SA_LANE SA_CAT(SA_CAT(uint, SA_BITS), _t)
#define SA_NAME(stem) SA_CAT(SA_CAT(stem, SA_BITS), _portable)

/* CT: secret=values; public=n, w */
uint64_t SA_NAME(sa_pack_run_u)(const void *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes)
{
    const SA_LANE *const v = values;
    SA_LANE all = 0;
    size_t i = 0, at = 0;
    if (w == SA_BITS) {
        if (n != 0)
            memcpy(out, v, out_bytes);
        return 0;
    }
    if (w == 8) {
        for (; i < n; i++) {
            all |= v[i];
            out[i] = (uint8_t)v[i];
        }
        return all;
    }
    uint64_t held = 0;
    unsigned fill = 0;
    /* Eight-byte stores at every step, only as long as they stay inside: step values of w bits, at most 57 in all, on
     * top of at most seven held bits. */
    const unsigned step = w <= 14 ? 4 : w <= 28 ? 2 : 1;
    if (w <= 57 && out_bytes >= 8) {
        const size_t safe = sa_min(n / step, ((out_bytes - 8) * 8) / (step * w));
        for (size_t k = 0; k < safe; k++, i += step) {
            uint64_t joined = v[i];
            all |= v[i];
            if (step == 4) {
                joined |= (uint64_t)v[i + 1] << w | (uint64_t)v[i + 2] << 2 * w | (uint64_t)v[i + 3] << 3 * w;
                all |= v[i + 1] | v[i + 2] | v[i + 3];
            } else if (step == 2) {
                joined |= (uint64_t)v[i + 1] << w;
                all |= v[i + 1];
            }
            held |= joined << fill;
            fill += step * w;
            sa_store64(out + at, held);
            at += fill >> 3;
            held = fill < 64 ? held >> (fill & ~7u) : 0;
            fill &= 7;
        }
    } else if (w > 57) {
        /* One whole word at every step, and what is left of the value. */
        for (; i < n && at + 8 <= out_bytes; i++) {
            all |= v[i];
            held |= (uint64_t)v[i] << fill;
            fill += w;
            if (fill >= 64) {
                sa_store64(out + at, held);
                at += 8;
                fill -= 64;
                held = fill == 0 ? 0 : (uint64_t)v[i] >> (w - fill);
            }
        }
    }
    unsigned __int128 rest = held;
    for (; i < n; i++) {
        all |= v[i];
        rest |= (unsigned __int128)v[i] << fill;
        for (fill += w; fill >= 8; fill -= 8, rest >>= 8)
            out[at++] = (uint8_t)rest;
    }
    for (; at < out_bytes; at++, rest >>= 8)
        out[at] = (uint8_t)rest;
    return all;
}

/* op(i, v) for every packed value. CT: secret=buf; public=n, w */
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
#define SA_PUT(i, v) to[i] = (SA_LANE)(v);
#define SA_ADD(i, v) to[i] = (SA_LANE)(((uint64_t)to[i] + (v)) & mask);

/* CT: secret=buf, lanes; public=buf_bytes, n, w */
void SA_NAME(sa_unpack_run_u)(const uint8_t *buf, size_t buf_bytes, unsigned w, void *lanes, size_t n)
{
    SA_LANE *const to = lanes;
    const uint64_t mask = sa_low_bits(w);
    if (w == SA_BITS) {
        if (n != 0)
            memcpy(to, buf, buf_bytes);
    } else if (w == 8) {
        for (size_t i = 0; i < n; i++)
            to[i] = buf[i];
    } else {
        SA_UNPACK_EACH(SA_PUT)
    }
}

/* CT: secret=buf, lanes; public=buf_bytes, n, w */
void SA_NAME(sa_unpack_add_run_u)(const uint8_t *buf, size_t buf_bytes, unsigned w, void *lanes, size_t n)
{
    SA_LANE *const to = lanes;
    const uint64_t mask = sa_low_bits(w);
    if (w == SA_BITS) {
        for (size_t i = 0; i < n; i++) {
            SA_LANE v;
            memcpy(&v, buf + i * sizeof v, sizeof v);
            to[i] = (SA_LANE)(to[i] + v);
        }
    } else if (w == 8) {
        for (size_t i = 0; i < n; i++)
            to[i] = (SA_LANE)((to[i] + buf[i]) & 0xff);
    } else {
        SA_UNPACK_EACH(SA_ADD)
    }
}

#undef SA_LANE
#undef SA_NAME
#undef SA_UNPACK_EACH
#undef SA_PUT
#undef SA_ADD
#undef SA_BITS
