/* Encryption of vectors under RLWE with one value a coefficient, sums of such ciphertexts, and decryption: batches of
 * polynomials in one call, each kept in the first-level cache from its sampling to its packing. */
#include "../common/ct.h"
#include "../common/zero.h"
#include "../ring.h"

/* Streams of the encryption key, and of the seed of the symmetric variant. */
enum { SA_STREAM_SECRET = 0, SA_STREAM_ERROR = 1, SA_STREAM_ERROR_2 = 2, SA_STREAM_SEEDED = 1, SA_STREAM_PAD = 0 };

/* Every polynomial's c1, and of c0 as many coefficients as there are values. */
static size_t payload_bytes(const struct sa_ring *ring, size_t n)
{
    const size_t polys = (n + ring->n - 1) / ring->n;
    return polys * sa_packed_bytes(ring->n, ring->bits) + n / ring->n * sa_packed_bytes(ring->n, ring->bits) +
           sa_packed_bytes(n % ring->n, ring->bits);
}

static int message_fits(const struct sa_ring *ring, size_t n, uint64_t delta, size_t nbytes, size_t expected)
{
    return n != 0 && delta != 0 && delta < ring->q && nbytes == expected;
}

/* What is left of a batch: no secret in the scratch, and no output of values that were refused. The return code reveals whether all
 * were in range. CT: secret=scratch, over; public=all else */
static int finish(uint64_t over, uint8_t *out, size_t out_bytes, uint8_t *scratch, size_t scratch_bytes)
{
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    if (sa_ct_reveal(over >> 63) == 0)
        return SA_OK;
    sa_wipe(out, out_bytes);
    return SA_ERR_VALUE;
}

/* `step` for each polynomial p with `count` values from `done` on. */
#define SA_POLYNOMIALS(step)                                                      \
    for (size_t done = 0, count, p = 0; done < n; done += count, p++) {           \
        count = sa_min(n - done, work.ring.n);                                    \
        step                                                                      \
    }

/* CT: secret=values, key, pad, scratch; public=all else. The return code reveals whether all values are in range. */
int sa_rlwe_encrypt(const uint64_t *table, const uint64_t *public_key, const uint64_t *values, size_t n, uint64_t delta,
                    const uint8_t *key, const uint8_t *pad, uint64_t first, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                    size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    if (!message_fits(&work.ring, n, delta, out_bytes, payload_bytes(&work.ring, n)))
        return SA_ERR_ARGUMENT;
    const struct sa_ring_impl *const fns = work.fns;
    const struct sa_ring *const ring = &work.ring;
    const size_t degree = ring->n;
    const uint64_t most = (ring->q - 1) / delta;
    uint64_t *const u = work.poly[0], *const c = work.poly[1], over = 0;
    uint8_t *to = out;
    sa_ring_key(&work, 0, key);
    if (pad != NULL)
        sa_ring_key(&work, 1, pad);
    SA_POLYNOMIALS({
        sa_ring_draw_ternary(&work, u, degree, 0, SA_STREAM_SECRET, first + p);
        fns->forward(ring, u);
        fns->multiply_inverse(ring, c, u, public_key);
        sa_ring_draw_binomial_add(&work, c, degree, 0, SA_STREAM_ERROR_2, first + p);
        sa_ring_pack(&work, c, degree, to);
        to += sa_packed_bytes(degree, ring->bits);
        fns->multiply_inverse(ring, c, u, public_key + degree);
        sa_ring_draw_binomial_add(&work, c, count, 0, SA_STREAM_ERROR, first + p);
        over |= fns->above(most, values + done, count);
        fns->scale_add(ring->q, c, values + done, count, delta);
        if (pad != NULL)
            sa_ring_draw_uniform_add(&work, c, count, 1, SA_STREAM_PAD, first + p, 0);
        sa_ring_pack(&work, c, count, to);
        to += sa_packed_bytes(count, ring->bits);
    })
    return finish(over, out, out_bytes, scratch, scratch_bytes);
}

/* CT: secret=secret, values, key, scratch; public=all else. The return code reveals whether all values are in range. */
int sa_rlwe_encrypt_seeded(const uint64_t *table, const uint64_t *secret, const uint64_t *values, size_t n, uint64_t delta,
                           const uint8_t *key, const uint8_t *seed, uint64_t first, uint8_t *out, size_t out_bytes,
                           uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    const struct sa_ring_impl *const fns = work.fns;
    const struct sa_ring *const ring = &work.ring;
    const size_t degree = ring->n;
    const size_t whole = n / degree * sa_packed_bytes(degree, ring->bits) + sa_packed_bytes(n % degree, ring->bits);
    if (!message_fits(ring, n, delta, out_bytes, whole))
        return SA_ERR_ARGUMENT;
    const uint64_t most = (ring->q - 1) / delta;
    uint64_t *const a = work.poly[0], *const c = work.poly[1], over = 0;
    uint8_t *to = out;
    sa_ring_key(&work, 0, key);
    sa_ring_key(&work, 1, seed);
    SA_POLYNOMIALS({
        sa_ring_draw_uniform(&work, a, degree, 1, SA_STREAM_SEEDED, first + p);
        fns->forward(ring, a);
        fns->multiply_inverse(ring, a, a, secret);
        memset(c, 0, 8 * count);
        sa_ring_draw_binomial_add(&work, c, count, 0, SA_STREAM_ERROR, first + p);
        over |= fns->above(most, values + done, count);
        fns->scale_add(ring->q, c, values + done, count, delta);
        fns->subtract(ring->q, c, a, count);
        sa_ring_pack(&work, c, count, to);
        to += sa_packed_bytes(count, ring->bits);
    })
    return finish(over, out, out_bytes, scratch, scratch_bytes);
}

/* Adds a payload to c1, of which there may be none, and to c0, or with `back` takes away what adding it has added. Everything is
 * public: ciphertexts. */
static int payload_apply(struct sa_ring_work *start, uint64_t *c1, uint64_t *c0, size_t n, const uint8_t *payload, int back)
{
    struct sa_ring_work work = *start;
    const size_t degree = work.ring.n;
    uint64_t over = 0;
    int bad = SA_OK;
    SA_POLYNOMIALS({
        uint64_t seen = 0;
        if (c1 != NULL) {
            over |= sa_ring_add_packed(&work, c1 + p * degree, payload, degree, back, &seen);
            payload += sa_packed_bytes(degree, work.ring.bits);
            if (seen == 0 && !back)
                bad = SA_ERR_TRANSPARENT;
        }
        if (!sa_padding_is_zero(payload, count, work.ring.bits))
            bad = SA_ERR_PADDING;
        over |= sa_ring_add_packed(&work, c0 + done, payload, count, back, &seen);
        payload += sa_packed_bytes(count, work.ring.bits);
    })
    return over >> 63 != 0 ? SA_ERR_RESIDUE : bad;
}

/* Added in one pass and taken back where it turns out to be bad, so that good payloads are read once.
 * CT: secret=none; public=all */
int sa_rlwe_add(const uint64_t *table, uint64_t *c1, uint64_t *c0, size_t n, const uint8_t *payload, size_t payload_size,
                uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK || payload_size != payload_bytes(&work.ring, n))
        return SA_ERR_ARGUMENT;
    const int bad = payload_apply(&work, c1, c0, n, payload, 0);
    if (bad != SA_OK)
        payload_apply(&work, c1, c0, n, payload, 1);
    return bad;
}

/* CT: secret=none; public=all */
int sa_rlwe_add_seeded(const uint64_t *table, uint64_t *c1, uint64_t *c0, size_t n, const uint8_t *payload,
                       size_t payload_size, const uint8_t *seed, uint64_t first, uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    const size_t degree = work.ring.n;
    const unsigned bits = work.ring.bits;
    if (payload_size != n / degree * sa_packed_bytes(degree, bits) + sa_packed_bytes(n % degree, bits))
        return SA_ERR_ARGUMENT;
    const int bad = payload_apply(&work, NULL, c0, n, payload, 0);
    if (bad != SA_OK) {
        payload_apply(&work, NULL, c0, n, payload, 1);
        return bad;
    }
    sa_ring_key(&work, 0, seed);
    for (size_t p = 0; p * degree < n; p++)
        sa_ring_draw_uniform_add(&work, c1 + p * degree, degree, 0, SA_STREAM_SEEDED, first + p, 0);
    return SA_OK;
}

/* CT: secret=none; public=all */
int sa_rlwe_store(const uint64_t *table, const uint64_t *c1, const uint64_t *c0, size_t n, uint8_t *out, size_t out_bytes,
                  uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK || out_bytes != payload_bytes(&work.ring, n))
        return SA_ERR_ARGUMENT;
    const size_t degree = work.ring.n;
    const unsigned bits = work.ring.bits;
    SA_POLYNOMIALS({
        sa_ring_pack(&work, c1 + p * degree, degree, out);
        out += sa_packed_bytes(degree, bits);
        sa_ring_pack(&work, c0 + done, count, out);
        out += sa_packed_bytes(count, bits);
    })
    return SA_OK;
}

/* The return code reveals whether c1 and c0 are canonical. CT: secret=secret, c0, values, *worst, scratch; public=all else */
int sa_rlwe_decrypt(const uint64_t *table, const uint64_t *secret, const uint64_t *c1, const uint64_t *c0, size_t n,
                    uint64_t delta, uint64_t *values, uint64_t *worst, uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK || delta == 0 || delta >= work.ring.q)
        return SA_ERR_ARGUMENT;
    const struct sa_ring_impl *const fns = work.fns;
    const struct sa_ring *const ring = &work.ring;
    const size_t degree = ring->n;
    uint64_t *const c = work.poly[0];
    uint64_t most = 0;
    const uint64_t over = fns->above(ring->q - 1, c1, (n + degree - 1) / degree * degree) | fns->above(ring->q - 1, c0, n);
    if (sa_ct_reveal(over >> 63) != 0)
        return SA_ERR_RESIDUE;
    SA_POLYNOMIALS({
        memcpy(c, c1 + p * degree, 8 * degree);
        fns->forward(ring, c);
        fns->multiply_inverse(ring, c, c, secret);
        fns->add(ring->q, c, c0 + done, count);
        const uint64_t found = fns->round(ring->q, c, count, delta);
        most += (found - most) & sa_ct_less(most, found);
        memcpy(values + done, c, 8 * count);
    })
    *worst = most;
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    return SA_OK;
}
