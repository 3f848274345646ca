/* Residues as they travel: packed to the bits of q, and added to sums. */
#include "../ring.h"

/* The packing kernels want the narrowest lane. CT: secret=values; public=all else */
void sa_ring_pack(const struct sa_ring_work *work, const uint64_t *values, size_t n, uint8_t *out)
{
    const unsigned bits = work->ring.bits;
    uint32_t *const narrow = (uint32_t *)(void *)work->residues;
    if (bits > 32) {
        work->impl->pack[2](values, n, bits, out, sa_packed_bytes(n, bits));
        return;
    }
    for (size_t i = 0, take; i < n; i += take) {
        take = sa_min(n - i, SA_RING_TILE);
        for (size_t k = 0; k < take; k++)
            narrow[k] = (uint32_t)values[i + k];
        work->impl->pack[1](narrow, take, bits, out + i * bits / 8, sa_packed_bytes(take, bits));
    }
}

/* CT: secret=out; public=all else */
void sa_ring_unpack(const struct sa_ring_work *work, const uint8_t *from, uint64_t *out, size_t n)
{
    const unsigned bits = work->ring.bits;
    uint32_t *const narrow = (uint32_t *)(void *)work->residues;
    if (bits > 32) {
        work->impl->unpack[2](from, sa_packed_bytes(n, bits), bits, out, n);
        return;
    }
    for (size_t i = 0, take; i < n; i += take) {
        take = sa_min(n - i, SA_RING_TILE);
        work->impl->unpack[1](from + i * bits / 8, sa_packed_bytes(take, bits), bits, narrow, take);
        for (size_t k = 0; k < take; k++)
            out[i + k] = narrow[k];
    }
}

/* Coefficients that are unpacked and added in one go, and how many bytes ahead of them the second cache is asked for: what comes
 * from outside lies in small pages, at whose ends hardware stops looking ahead. */
#define SA_PIECE 256
#define SA_AHEAD 8192

static void ask_ahead(const void *p, size_t nbytes)
{
    for (size_t at = SA_AHEAD; at < SA_AHEAD + nbytes; at += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + at), 0, 2); /* perhaps beyond the object: a number, no pointer in it */
}

/* Adds count packed residues to acc, or with `back` takes them away. Everything is public: ciphertexts. */
uint64_t sa_ring_add_packed(const struct sa_ring_work *work, uint64_t *acc, const uint8_t *payload, size_t count, int back,
                            uint64_t *seen)
{
    const uint64_t q = work->ring.q;
    uint64_t *const c = work->poly[0];
    uint64_t over = 0;
    for (size_t at = 0; at < count; at += SA_PIECE) {
        const size_t take = sa_min(SA_PIECE, count - at);
        ask_ahead(acc + at, 8 * take);
        ask_ahead(payload, sa_packed_bytes(take, work->ring.bits));
        sa_ring_unpack(work, payload, c, take);
        payload += sa_packed_bytes(take, work->ring.bits);
        if (back)
            work->fns->subtract(q, acc + at, c, take);
        else
            over |= work->fns->checked_add(q, acc + at, c, take, seen);
    }
    return over;
}
