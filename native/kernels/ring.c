/* Polynomials of Z_q[X]/(X^N + 1): the entries, and the samplers, which read the keystream of mask.c. */
#include "../common/ct.h"
#include "../common/zero.h"
#include "../ring.h"

#define SA_ALIGN 64

size_t sa_ring_table_words(size_t degree)
{
    return SA_RING_HEADER + 4 * degree;
}

size_t sa_ring_scratch_bytes(size_t degree)
{
    return 8 * (2 * degree + 3 * SA_RING_TILE) + SA_RING_KEYS * SA_MAX_SCHEDULE + SA_ALIGN;
}

/* A table that was not made by `ring_plan` goes no further. */
static int degree_is_served(const uint64_t *table)
{
    const uint64_t n = table[1];
    return n >= SA_RING_MIN_DEGREE && n <= SA_RING_MAX_DEGREE && (n & (n - 1)) == 0;
}

/* CT: secret=none; public=all */
int sa_ring_begin(struct sa_ring_work *work, const uint64_t *table, uint8_t *scratch, size_t scratch_bytes)
{
    if (!degree_is_served(table) || scratch_bytes < sa_ring_scratch_bytes((size_t)table[1]))
        return SA_ERR_ARGUMENT;
    work->impl = sa_impl();
    work->ring = sa_ring_open(table);
    work->fns = sa_ring_kernels(work->impl, work->ring.bits);
    uint64_t *const words = (uint64_t *)(void *)(scratch + (0 - (uintptr_t)scratch) % SA_ALIGN);
    const size_t n = work->ring.n;
    work->poly[0] = words;
    work->poly[1] = words + n;
    work->words = words + 2 * n;
    work->residues = words + 2 * n + 2 * SA_RING_TILE;
    work->schedules = (uint8_t *)(words + 2 * n + 3 * SA_RING_TILE);
    return SA_OK;
}

static uint8_t *schedule_at(const struct sa_ring_work *work, unsigned place)
{
    return work->schedules + place * SA_MAX_SCHEDULE;
}

/* CT: secret=key; public=place */
void sa_ring_key(const struct sa_ring_work *work, unsigned place, const uint8_t *key)
{
    work->impl->expand(schedule_at(work, place), key);
}

/* `nwords` words of keystream from word `start` on, into work->words. CT: secret=the key; public=all else */
void sa_ring_words(const struct sa_ring_work *work, unsigned place, uint64_t stream_id, uint64_t start, size_t nwords)
{
    const struct sa_mask_keys key = {schedule_at(work, place), 1, 0};
    memset(work->words, 0, 8 * nwords);
    sa_mask_run(work->impl, 2, work->words, nwords, &key, stream_id, start, UINT64_MAX);
}

/* The step for tiles of coefficients i to i + take - 1 of the polynomial; `at` is the first one's number in the stream. */
#define SA_TILES(step)                                                  \
    for (size_t i = 0, take; i < n; i += take) {                        \
        const uint64_t at = index * work->ring.n + i;                   \
        take = sa_min(n - i, SA_RING_TILE);                             \
        step                                                            \
    }

/* CT: secret=out, the key; public=all else */
void sa_ring_draw_uniform(const struct sa_ring_work *work, uint64_t *out, size_t n, unsigned place, uint64_t stream_id,
                          uint64_t index)
{
    SA_TILES(sa_ring_words(work, place, stream_id, 2 * at, 2 * take); work->fns->uniform(work->ring.q, out + i, work->words, take);
             sa_ct_mark(out + i, 8 * take);)
}

/* CT: secret=out, the key; public=all else */
void sa_ring_draw_ternary(const struct sa_ring_work *work, uint64_t *out, size_t n, unsigned place, uint64_t stream_id,
                          uint64_t index)
{
    SA_TILES(sa_ring_words(work, place, stream_id, at / 2, (take + 1) / 2);
             work->fns->ternary(work->ring.q, out + i, work->words, take);
             sa_ct_mark(out + i, 8 * take);)
}

/* CT: secret=acc, the key; public=all else */
void sa_ring_draw_binomial_add(const struct sa_ring_work *work, uint64_t *acc, size_t n, unsigned place, uint64_t stream_id,
                               uint64_t index)
{
    SA_TILES(sa_ring_words(work, place, stream_id, at, take); work->fns->binomial_add(work->ring.q, acc + i, work->words, take);)
}

/* CT: secret=acc, the key; public=all else */
void sa_ring_draw_uniform_add(const struct sa_ring_work *work, uint64_t *acc, size_t n, unsigned place, uint64_t stream_id,
                              uint64_t index, int minus)
{
    sa_ring_add_fn *const fn = minus ? work->fns->subtract : work->fns->add;
    SA_TILES(sa_ring_words(work, place, stream_id, 2 * at, 2 * take);
             work->fns->uniform(work->ring.q, work->residues, work->words, take);
             sa_ct_mark(work->residues, 8 * take);
             fn(work->ring.q, acc + i, work->residues, take);)
}

/* The return code reveals whether all are canonical. CT: secret=values; public=ring, n */
static int check_canonical(const struct sa_ring *ring, const uint64_t *values, size_t n)
{
    return sa_ct_reveal(sa_ring_kernels(sa_impl(), ring->bits)->above(ring->q - 1, values, n) >> 63) != 0 ? SA_ERR_RESIDUE : SA_OK;
}

/* CT: secret=polys; public=table, count */
static int transform(const uint64_t *table, uint64_t *polys, size_t count, int back)
{
    if (!degree_is_served(table))
        return SA_ERR_ARGUMENT;
    const struct sa_ring ring = sa_ring_open(table);
    const struct sa_ring_impl *const fns = sa_ring_kernels(sa_impl(), ring.bits);
    const int bad = check_canonical(&ring, polys, count * ring.n);
    if (bad == SA_OK)
        for (size_t k = 0; k < count; k++)
            (back ? fns->inverse : fns->forward)(&ring, polys + k * ring.n);
    sa_wipe_stack();
    return bad;
}

int sa_ring_forward(const uint64_t *table, uint64_t *polys, size_t count)
{
    return transform(table, polys, count, 0);
}

int sa_ring_inverse(const uint64_t *table, uint64_t *polys, size_t count)
{
    return transform(table, polys, count, 1);
}

/* CT: secret=acc, other; public=table, n, minus */
int sa_ring_add(const uint64_t *table, uint64_t *acc, const uint64_t *other, size_t n, int minus)
{
    const struct sa_ring ring = sa_ring_open(table);
    const struct sa_ring_impl *const fns = sa_ring_kernels(sa_impl(), ring.bits);
    if (check_canonical(&ring, acc, n) != SA_OK || check_canonical(&ring, other, n) != SA_OK)
        return SA_ERR_RESIDUE;
    (minus ? fns->subtract : fns->add)(ring.q, acc, other, n);
    sa_wipe_stack();
    return SA_OK;
}

/* CT: secret=acc, a, b; public=table, n */
int sa_ring_multiply_add(const uint64_t *table, uint64_t *acc, const uint64_t *a, const uint64_t *b, size_t n)
{
    const struct sa_ring ring = sa_ring_open(table);
    if (check_canonical(&ring, acc, n) != SA_OK || check_canonical(&ring, a, n) != SA_OK ||
        check_canonical(&ring, b, n) != SA_OK)
        return SA_ERR_RESIDUE;
    sa_ring_kernels(sa_impl(), ring.bits)->multiply_add(&ring, acc, a, b, n);
    sa_wipe_stack();
    return SA_OK;
}

/* CT: secret=key, out, scratch; public=all else */
int sa_ring_sample(const uint64_t *table, int distribution, uint64_t *out, size_t count, const uint8_t *key,
                   uint64_t stream_id, uint64_t first, uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK || distribution < 0 || distribution > SA_BINOMIAL)
        return SA_ERR_ARGUMENT;
    const size_t n = work.ring.n;
    sa_ring_key(&work, 0, key);
    for (size_t k = 0; k < count; k++, out += n) {
        if (distribution == SA_UNIFORM)
            sa_ring_draw_uniform(&work, out, n, 0, stream_id, first + k);
        else if (distribution == SA_TERNARY)
            sa_ring_draw_ternary(&work, out, n, 0, stream_id, first + k);
        else {
            memset(out, 0, 8 * n);
            sa_ring_draw_binomial_add(&work, out, n, 0, stream_id, first + k);
        }
    }
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    return SA_OK;
}

/* CT: secret=key, acc, scratch; public=all else */
int sa_ring_add_uniform(const uint64_t *table, uint64_t *acc, size_t n, const uint8_t *key, uint64_t stream_id, uint64_t first,
                        int minus, uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_ring_work work;
    if (sa_ring_begin(&work, table, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    if (check_canonical(&work.ring, acc, n) != SA_OK)
        return SA_ERR_RESIDUE;
    sa_ring_key(&work, 0, key);
    sa_ring_draw_uniform_add(&work, acc, n, 0, stream_id, first, minus);
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    return SA_OK;
}
