/* Masks modulo a product of primes (hint-RLWE): made, added, and opened with the sum of the secrets. */
#include "../common/ct.h"
#include "../common/zero.h"
#include "../hint.h"

typedef unsigned __int128 sa_u128;

#define SA_ALIGN 64
/* Rows of N words beyond the scratch of a ring, for each prime: joined digits fill half a word of 52 bits at least, or all of a
 * word of more, and so take fewer. */
#define SA_HINT_ROWS 2

/* The error key, and the public one, in the scratch. */
enum { SA_PLACE_ERROR = 0, SA_PLACE_PUBLIC = 1 };

size_t sa_hint_table_words(size_t primes, size_t per, size_t thresholds)
{
    return SA_HINT_HEADER + primes * (SA_HINT_ROW + 2 * per) + 2 * thresholds;
}

size_t sa_hint_scratch_bytes(size_t degree, size_t primes)
{
    return sa_ring_scratch_bytes(degree) + 8 * SA_HINT_ROWS * primes * degree;
}

/* CT: secret=none; public=all */
int sa_gaussian_open(struct sa_gaussian *table, const uint64_t *thresholds, size_t count)
{
    if (count >= SA_THRESHOLDS)
        return 0;
    memset(table, 0, sizeof *table);
    table->high = thresholds;
    table->low = thresholds + count;
    table->count = count;
    for (size_t k = 0; k < count; k++) {
        const uint64_t upper = table->high[k] << 1 | table->low[k] >> 62, lower = table->low[k] << 2;
        const uint32_t words[4] = {(uint32_t)(upper >> 32), (uint32_t)upper, (uint32_t)(lower >> 32), (uint32_t)lower};
        uint32_t any = 0;
        for (size_t level = 0; level < 4; level++) {
            table->words[level][k] = words[level];
            any |= words[level];
            if (any != 0)
                table->ends[level] = k + 1;
        }
    }
    return 1;
}

static struct sa_hint hint_open(const uint64_t *tables, const uint64_t *table)
{
    struct sa_hint hint = {.primes = (size_t)table[0], .degree = (size_t)tables[1], .tables = tables, .limit = table + 8};
    hint.table_words = sa_ring_table_words(hint.degree);
    hint.width = (unsigned)table[1];
    hint.per = (unsigned)table[2];
    hint.bits = (unsigned)tables[2];
    hint.group = hint.width <= SA_WEIGH_BITS ? SA_WEIGH_BITS / hint.width : 1;
    hint.rows = table + SA_HINT_HEADER;
    return hint;
}

/* work->ring becomes that of prime i. */
static void turn_to(struct sa_ring_work *work, const struct sa_hint *hint, size_t i)
{
    work->ring = sa_ring_open(hint->tables + i * hint->table_words);
}

/* Words after those of the ring's scratch, on a cache line. */
static uint64_t *beyond(const struct sa_ring_work *work)
{
    return (uint64_t *)(void *)(work->schedules + SA_RING_KEYS * SA_MAX_SCHEDULE);
}

static int begin(struct sa_ring_work *work, const struct sa_hint *hint, uint8_t *scratch, size_t scratch_bytes)
{
    if (scratch_bytes < sa_hint_scratch_bytes(hint->degree, hint->primes))
        return SA_ERR_ARGUMENT;
    return sa_ring_begin(work, hint->tables, scratch, scratch_bytes);
}

/* The part of n values that begins at `part->first`; 0 when there is none. */
static int next_part(const struct sa_hint *hint, size_t n, struct sa_hint_part *part)
{
    const size_t whole = hint->degree * hint->per;
    part->residue += hint->primes * part->coefficients;
    part->first += part->values;
    part->values = sa_min(n - part->first, whole);
    part->coefficients = (part->values + hint->per - 1) / hint->per;
    return part->values != 0;
}

static size_t chunk_bytes(const struct sa_hint *hint, size_t n)
{
    size_t nbytes = 0;
    for (struct sa_hint_part part = {0}; next_part(hint, n, &part);)
        nbytes += hint->primes * sa_packed_bytes(part.coefficients, hint->bits);
    return nbytes;
}

/* CT: secret=out, the key; public=all else */
static void draw_gaussian(const struct sa_ring_work *work, const struct sa_gaussian *table, int64_t *out, size_t n,
                          uint64_t stream_id, uint64_t start)
{
    /* The moduli have no part in it: whatever the machine does best. */
    sa_ring_gaussian_fn *const fn = sa_ring_kernels(sa_impl(), 0)->gaussian;
    for (size_t i = 0, take; i < n; i += take) {
        take = sa_min(n - i, SA_RING_TILE);
        sa_ring_words(work, SA_PLACE_ERROR, stream_id, 2 * (start + i), 2 * take);
        fn(table, out + i, work->words, take);
    }
}

/* CT: secret=out, key, scratch; public=all else */
int sa_hint_gaussian(const uint64_t *thresholds, size_t count, int64_t *out, size_t n, const uint8_t *key, uint64_t stream_id,
                     uint64_t start, uint8_t *scratch, size_t scratch_bytes)
{
    struct sa_gaussian table;
    struct sa_ring_work work = {.impl = sa_impl()};
    if (scratch_bytes < sa_hint_scratch_bytes(1024, 0) || !sa_gaussian_open(&table, thresholds, count))
        return SA_ERR_ARGUMENT;
    work.words = (uint64_t *)(void *)(scratch + (0 - (uintptr_t)scratch) % SA_ALIGN);
    work.schedules = (uint8_t *)(work.words + 2 * SA_RING_TILE);
    sa_ring_key(&work, SA_PLACE_ERROR, key);
    draw_gaussian(&work, &table, out, n, stream_id, start);
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    return SA_OK;
}

/* Values in a chunk: of 1 << (lane + 1) bytes each. */
struct digits {
    const uint8_t *values;
    int lane;
};

/* Digits, as many as a multiplication takes, in one word: row after row of N words. Returns the OR of the values.
 * CT: secret=rows, digits->values; public=all else */
static uint64_t join_digits(const struct sa_ring_work *work, const struct sa_hint *hint, const struct digits *digits,
                            const struct sa_hint_part *part, uint64_t *rows)
{
    const size_t n = part->coefficients;
    uint64_t any = 0;
    for (unsigned k = 0; k < hint->per; k++) {
        uint64_t *const row = rows + k / hint->group * hint->degree;
        if (k % hint->group == 0)
            memset(row, 0, 8 * n);
        if (k * n < part->values)
            any |= work->fns->shift_add(row, digits->values + ((part->first + k * n) << (digits->lane + 1)), digits->lane,
                                        hint->width * (k % hint->group), sa_min(n, part->values - k * n));
    }
    return any;
}

/* c += t error + the digits, each times its weight. CT: secret=c, error, rows; public=all else */
static void add_message(const struct sa_ring_work *work, const struct sa_hint *hint, size_t i, const int64_t *error,
                        const uint64_t *rows, size_t n, uint64_t *c)
{
    const uint64_t *const row = sa_hint_row(hint, i), q = work->ring.q;
    sa_ring_weigh_fn *const weigh = hint->width <= SA_WEIGH_BITS ? work->fns->weigh : sa_ring_weigh_portable;
    for (size_t at = 0, take; at < n; at += take) {
        take = sa_min(n - at, SA_RING_TILE);
        work->fns->lift(q, work->words, error + at, take);
        work->fns->weigh(q, c + at, work->words, take, row[0], row[1]);
        for (unsigned k = 0; k < hint->per; k += hint->group) {
            const uint64_t *const weight = row + SA_ROW_WEIGHTS + 2 * k;
            weigh(q, c + at, rows + k / hint->group * hint->degree + at, take, weight[0], weight[1]);
        }
    }
}

/* c = a s for polynomial `index` of the public stream, modulo prime i. CT: secret=c, secret; public=all else */
static void times_public(struct sa_ring_work *work, const struct sa_hint *hint, size_t i, const uint64_t *secret, uint64_t index,
                         uint64_t *c)
{
    turn_to(work, hint, i);
    sa_ring_draw_uniform(work, c, hint->degree, SA_PLACE_PUBLIC, i, index);
    work->fns->multiply_inverse(&work->ring, c, c, secret + i * hint->degree);
}

/* CT: secret=secret, values, error_key, scratch; public=all else. The return code reveals whether all values are in range. */
int sa_hint_mask(const uint64_t *tables, const uint64_t *table, const uint64_t *secret, const void *values, int lane, size_t n,
                 const uint8_t *error_key, const uint8_t *public_key, uint64_t first, uint8_t *out, size_t out_bytes,
                 uint8_t *scratch, size_t scratch_bytes)
{
    const struct sa_hint hint = hint_open(tables, table);
    const struct digits digits = {values, lane};
    struct sa_gaussian gaussian;
    struct sa_ring_work work;
    if (n == 0 || lane < 0 || lane > 2 || out_bytes != chunk_bytes(&hint, n) ||
        (hint.per + hint.group - 1) / hint.group > SA_HINT_ROWS * hint.primes ||
        begin(&work, &hint, scratch, scratch_bytes) != SA_OK ||
        !sa_gaussian_open(&gaussian, sa_hint_row(&hint, hint.primes), (size_t)table[3]))
        return SA_ERR_ARGUMENT;
    uint64_t *const c = work.poly[0], *const rows = beyond(&work), any = 0;
    int64_t *const error = (int64_t *)(void *)work.poly[1];
    uint8_t *to = out;
    sa_ring_key(&work, SA_PLACE_ERROR, error_key);
    sa_ring_key(&work, SA_PLACE_PUBLIC, public_key);
    for (struct sa_hint_part part = {0}; next_part(&hint, n, &part); first++) {
        draw_gaussian(&work, &gaussian, error, part.coefficients, 0, first * hint.degree);
        any |= join_digits(&work, &hint, &digits, &part, rows);
        for (size_t i = 0; i < hint.primes; i++) {
            times_public(&work, &hint, i, secret, first, c);
            add_message(&work, &hint, i, error, rows, part.coefficients, c);
            sa_ring_pack(&work, c, part.coefficients, to);
            to += sa_packed_bytes(part.coefficients, hint.bits);
        }
    }
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    if (sa_ct_reveal(any & ~sa_low_bits(hint.width)) == 0)
        return SA_OK;
    sa_wipe(out, out_bytes);
    return SA_ERR_VALUE;
}

/* Adds a payload to acc, or with `back` takes away what adding it has added. CT: secret=none; public=all */
static int payload_apply(struct sa_ring_work *work, const struct sa_hint *hint, uint64_t *acc, size_t n, const uint8_t *payload,
                         int back)
{
    uint64_t over = 0, seen = 0;
    int bad = SA_OK;
    for (struct sa_hint_part part = {0}; next_part(hint, n, &part);)
        for (size_t i = 0; i < hint->primes; i++) {
            turn_to(work, hint, i);
            if (!sa_padding_is_zero(payload, part.coefficients, hint->bits))
                bad = SA_ERR_PADDING;
            over |= sa_ring_add_packed(work, acc + part.residue + i * part.coefficients, payload, part.coefficients, back, &seen);
            payload += sa_packed_bytes(part.coefficients, hint->bits);
        }
    return over >> 63 != 0 ? SA_ERR_RESIDUE : bad;
}

/* Added in one pass and taken back where it turns out to be bad. CT: secret=none; public=all */
int sa_hint_add(const uint64_t *tables, const uint64_t *table, uint64_t *acc, size_t n, const uint8_t *payload,
                size_t payload_size, uint8_t *scratch, size_t scratch_bytes)
{
    const struct sa_hint hint = hint_open(tables, table);
    struct sa_ring_work work;
    if (payload_size != chunk_bytes(&hint, n) || begin(&work, &hint, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    const int bad = payload_apply(&work, &hint, acc, n, payload, 0);
    if (bad != SA_OK)
        payload_apply(&work, &hint, acc, n, payload, 1);
    return bad;
}

/* CT: secret=none; public=all */
int sa_hint_store(const uint64_t *tables, const uint64_t *table, const uint64_t *acc, size_t n, uint8_t *out, size_t out_bytes,
                  uint8_t *scratch, size_t scratch_bytes)
{
    const struct sa_hint hint = hint_open(tables, table);
    struct sa_ring_work work;
    if (out_bytes != chunk_bytes(&hint, n) || begin(&work, &hint, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    for (struct sa_hint_part part = {0}; next_part(&hint, n, &part);)
        for (size_t i = 0; i < hint.primes; i++) {
            turn_to(&work, &hint, i);
            sa_ring_pack(&work, acc + part.residue + i * part.coefficients, part.coefficients, out);
            out += sa_packed_bytes(part.coefficients, hint.bits);
        }
    return SA_OK;
}

/* Garner's digits in place of residues, row i modulo prime i: x = v_0 + q_0 (v_1 + q_1 (v_2 + ...)).
 * CT: secret=rows; public=all else */
static void mixed_radix(struct sa_ring_work *work, const struct sa_hint *hint, uint64_t *rows, size_t n)
{
    uint64_t *const other = work->words, *const scaled = work->words + SA_RING_TILE;
    for (size_t at = 0, take; at < n; at += take) {
        take = sa_min(n - at, SA_RING_TILE);
        for (size_t i = 1; i < hint->primes; i++) {
            const uint64_t *const inverses = sa_hint_row(hint, i) + SA_ROW_INVERSES;
            uint64_t *const u = rows + i * hint->degree + at;
            turn_to(work, hint, i);
            for (size_t j = 0; j < i; j++) {
                /* The primes have one length, so that adding to 0 reduces. */
                memset(other, 0, 8 * take);
                work->fns->add(work->ring.q, other, rows + j * hint->degree + at, take);
                work->fns->subtract(work->ring.q, u, other, take);
                memset(scaled, 0, 8 * take);
                work->fns->weigh(work->ring.q, scaled, u, take, inverses[2 * j], inverses[2 * j + 1]);
                memcpy(u, scaled, 8 * take);
            }
        }
    }
}

/* From Garner's digits the numbers themselves, in `limbs` words, and from these the values. Returns 1 where a number is not below the
 * limit. CT: secret=rows, values; public=all else */
SA_INLINE uint64_t compose(const struct sa_hint *hint, const uint64_t *rows, const struct sa_hint_part *part, uint64_t *values,
                           size_t limbs)
{
    const uint64_t mask = sa_low_bits(hint->width);
    uint64_t bad = 0, x[SA_HINT_LIMBS + 1];
    for (size_t c = 0; c < part->coefficients; c++) {
        uint64_t borrow = 0;
        memset(x, 0, sizeof x);
        x[0] = rows[c];
        for (size_t i = 1; i < hint->primes; i++) {
            const uint64_t *const before = sa_hint_row(hint, i) + SA_ROW_BEFORE, v = rows[i * hint->degree + c];
            sa_u128 carry = 0;
            for (size_t k = 0; k < limbs; k++) {
                carry += (sa_u128)before[k] * v + x[k];
                x[k] = (uint64_t)carry;
                carry >>= 64;
            }
        }
        for (size_t k = 0; k < limbs; k++)
            borrow = (uint64_t)(((sa_u128)x[k] - hint->limit[k] - borrow) >> 64) & 1;
        bad |= borrow ^ 1;
        for (size_t k = 0, at = c, bit = 0; k < hint->per && at < part->values; k++, at += part->coefficients, bit += hint->width) {
            const size_t limb = bit / 64, skip = bit % 64;
            values[at] = (x[limb] >> skip | (x[limb + 1] << 1) << (63 - skip)) & mask;
        }
    }
    sa_wipe(x, sizeof x);
    return bad;
}

/* The same for any q, in a frame of its own that the caller wipes. CT: secret=rows, values; public=all else */
static __attribute__((noinline)) uint64_t composed(const struct sa_hint *hint, const uint64_t *rows, const struct sa_hint_part *part,
                                                   uint64_t *values)
{
    switch ((hint->primes * hint->bits + 63) / 64) {
    case 1:
        return compose(hint, rows, part, values, 1);
    case 2:
        return compose(hint, rows, part, values, 2);
    case 3:
        return compose(hint, rows, part, values, 3);
    default:
        return compose(hint, rows, part, values, 4);
    }
}

/* The return code reveals whether all noise is within its bounds. CT: secret=secret, values, scratch; public=all else */
int sa_hint_open(const uint64_t *tables, const uint64_t *table, const uint64_t *acc, size_t n, const uint64_t *secret,
                 const uint8_t *public_key, uint64_t first, uint64_t *values, uint8_t *scratch, size_t scratch_bytes)
{
    const struct sa_hint hint = hint_open(tables, table);
    struct sa_ring_work work;
    if (begin(&work, &hint, scratch, scratch_bytes) != SA_OK)
        return SA_ERR_ARGUMENT;
    uint64_t *const rows = beyond(&work), bad = 0;
    sa_ring_key(&work, SA_PLACE_PUBLIC, public_key);
    for (struct sa_hint_part part = {0}; next_part(&hint, n, &part); first++) {
        const size_t count = part.coefficients;
        for (size_t i = 0; i < hint.primes; i++) {
            uint64_t *const u = rows + i * hint.degree;
            times_public(&work, &hint, i, secret, first, work.poly[0]);
            for (size_t c = 0; c < count; c++)
                u[c] = sa_hint_row(&hint, i)[SA_ROW_OFFSET];
            work.fns->add(work.ring.q, u, acc + part.residue + i * count, count);
            work.fns->subtract(work.ring.q, u, work.poly[0], count);
        }
        mixed_radix(&work, &hint, rows, count);
        bad |= composed(&hint, rows, &part, values + part.first);
    }
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    if (sa_ct_reveal(bad) == 0)
        return SA_OK;
    sa_wipe(values, 8 * n);
    return SA_ERR_VALUE;
}
