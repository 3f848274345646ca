/* Z_q[X]/(X^N + 1) for one prime q: its tables, and the kernels of one implementation. Internal to native/. */
#ifndef SA_RING_H
#define SA_RING_H

#include "common/load.h"
#include "dispatch.h"

/* The table that the caller fills: a header of sixteen words, then four arrays of N words. A quotient of w is
 * floor(w * 2^64 / q), Shoup's: with it w * x mod q takes two multiplications and no division. */
#define SA_RING_HEADER 16
#define SA_RING_MIN_DEGREE 1024
#define SA_RING_MAX_DEGREE 8192

struct sa_ring {
    uint64_t q, barrett, last, last_quotient;          /* floor(2^(2 bits) / q); 1/N and its quotient */
    uint64_t shifted, shifted_quotient, inverse_of_q;  /* 2^52/N mod q and its quotient; 1/q mod 2^52 */
    size_t n;
    unsigned bits, log; /* of q; log2 N */
    const uint64_t *roots, *quotients, *inverses, *inverse_quotients;
};

SA_INLINE struct sa_ring sa_ring_open(const uint64_t *table)
{
    const size_t n = (size_t)table[1];
    const uint64_t *const arrays = table + SA_RING_HEADER;
    return (struct sa_ring){table[0], table[3], table[4], table[5], table[7], table[8], table[9], n, (unsigned)table[2], (unsigned)table[6],
                            arrays, arrays + n, arrays + 2 * n, arrays + 3 * n};
}

/* In place; canonical in, canonical out. */
typedef void sa_ring_transform_fn(const struct sa_ring *ring, uint64_t *poly);
/* out = the polynomial whose transform is a * b; out may be a. */
typedef void sa_ring_return_fn(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b);
/* out += a * b, coefficient by coefficient. */
typedef void sa_ring_multiply_fn(const struct sa_ring *ring, uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n);
/* One residue of every two words. */
typedef void sa_ring_uniform_fn(uint64_t q, uint64_t *out, const uint64_t *words, size_t n);
/* v = values + floor(delta / 2) mod q becomes floor(v / delta); returns the largest distance of a v from the middle of its step. */
typedef uint64_t sa_ring_round_fn(uint64_t q, uint64_t *values, size_t n, uint64_t delta);

typedef void sa_ring_add_fn(uint64_t q, uint64_t *acc, const uint64_t *other, size_t n);
typedef void sa_ring_words_fn(uint64_t q, uint64_t *out, const uint64_t *words, size_t n);
typedef void sa_ring_scale_fn(uint64_t q, uint64_t *acc, const uint64_t *values, size_t n, uint64_t factor);
/* acc += other where other is below 2q but perhaps not canonical; *seen |= every word. Returns a word whose top bit is set when
 * some word was q or more. */
typedef uint64_t sa_ring_checked_fn(uint64_t q, uint64_t *acc, const uint64_t *other, size_t n, uint64_t *seen);
/* A word whose top bit is set when some value, of any size, is above `limit`, itself below 2^63. */
typedef uint64_t sa_ring_above_fn(uint64_t limit, const uint64_t *values, size_t n);

/* Thresholds of a discrete Gaussian, descending, in two words of 63 bits; and the same moved up by two bits, in four words of 32,
 * the highest first, zeros after the last. Level k ends before the first threshold whose words 0 to k are 0. No two have the same
 * first word that is not 0, at the same place. */
#define SA_THRESHOLDS 96
struct sa_gaussian {
    const uint64_t *high, *low;
    size_t count, ends[4];
    uint32_t words[4][SA_THRESHOLDS];
};
#define SA_LOW_63 (UINT64_MAX >> 1)

/* 0 where there are too many. */
int sa_gaussian_open(struct sa_gaussian *table, const uint64_t *thresholds, size_t count);

/* One sample of every two words. */
typedef void sa_ring_gaussian_fn(const struct sa_gaussian *table, int64_t *out, const uint64_t *words, size_t n);
typedef uint64_t sa_ring_shift_add_fn(uint64_t *out, const void *values, int lane, unsigned shift, size_t n);
typedef void sa_ring_lift_fn(uint64_t q, uint64_t *out, const int64_t *values, size_t n);
/* acc += values * w; values below 2^SA_WEIGH_BITS, or of any size in sa_ring_weigh_portable. */
typedef void sa_ring_weigh_fn(uint64_t q, uint64_t *acc, const uint64_t *values, size_t n, uint64_t w, uint64_t quotient);
#define SA_WEIGH_BITS 52

struct sa_ring_impl {
    uint32_t requires;
    unsigned max_bits;
    const struct sa_ring_impl *otherwise; /* where the machine or the modulus is not for this one */
    sa_ring_transform_fn *forward, *inverse;
    sa_ring_return_fn *multiply_inverse;
    sa_ring_multiply_fn *multiply_add;
    sa_ring_uniform_fn *uniform;
    sa_ring_round_fn *round;
    sa_ring_add_fn *add, *subtract;
    sa_ring_words_fn *ternary, *binomial_add;
    sa_ring_scale_fn *scale_add;
    sa_ring_checked_fn *checked_add;
    sa_ring_above_fn *above;
    sa_ring_gaussian_fn *gaussian;
    sa_ring_shift_add_fn *shift_add;
    sa_ring_lift_fn *lift;
    sa_ring_weigh_fn *weigh;
};

/* Transforms and products in 64-bit words, for every implementation that has none of its own. */
sa_ring_transform_fn sa_ring_forward_portable, sa_ring_inverse_portable;
sa_ring_return_fn sa_ring_multiply_inverse_portable;
sa_ring_multiply_fn sa_ring_multiply_add_portable;
sa_ring_uniform_fn sa_ring_uniform_portable;
sa_ring_round_fn sa_ring_round_portable;
sa_ring_weigh_fn sa_ring_weigh_portable;
#define SA_RING_WORDS                                                                                     \
    sa_ring_forward_portable, sa_ring_inverse_portable, sa_ring_multiply_inverse_portable,                     \
        sa_ring_multiply_add_portable, sa_ring_uniform_portable, sa_ring_round_portable

extern const struct sa_ring_impl sa_ring_portable;
#if defined(SA_X86_64)
extern const struct sa_ring_impl sa_ring_ifma, sa_ring_avx2, sa_ring_avx2_wide;
#elif defined(SA_AARCH64)
extern const struct sa_ring_impl sa_ring_neon;
#endif

/* The kernels for moduli of this many bits on an implementation, up to the portable one's most. */
const struct sa_ring_impl *sa_ring_kernels(const struct sa_impl *impl, unsigned bits);

/* Coefficients drawn, and values packed, at a time: whole bytes of any width, whole chunks of keystream, and the first-level
 * cache holds them beside two polynomials. */
#define SA_RING_TILE 512

/* What a batch works with, cut from the caller's scratch. */
struct sa_ring_work {
    const struct sa_impl *impl;
    const struct sa_ring_impl *fns;
    struct sa_ring ring;
    uint64_t *poly[2];  /* N words each */
    uint64_t *words;    /* two words of keystream a coefficient */
    uint64_t *residues; /* one tile */
    uint8_t *schedules; /* SA_RING_KEYS of them */
};
#define SA_RING_KEYS 2

int sa_ring_begin(struct sa_ring_work *work, const uint64_t *table, uint8_t *scratch, size_t scratch_bytes);

/* Of polynomial number `index` of the stream, coefficients 0 to n - 1. */
void sa_ring_draw_uniform(const struct sa_ring_work *work, uint64_t *out, size_t n, unsigned key, uint64_t stream_id,
                          uint64_t index);
void sa_ring_draw_ternary(const struct sa_ring_work *work, uint64_t *out, size_t n, unsigned key, uint64_t stream_id,
                          uint64_t index);
/* These add to what is there. */
void sa_ring_draw_binomial_add(const struct sa_ring_work *work, uint64_t *acc, size_t n, unsigned key, uint64_t stream_id,
                               uint64_t index);
void sa_ring_draw_uniform_add(const struct sa_ring_work *work, uint64_t *acc, size_t n, unsigned key, uint64_t stream_id,
                              uint64_t index, int minus);
void sa_ring_key(const struct sa_ring_work *work, unsigned place, const uint8_t *key);
/* `nwords` words of keystream from word `start` on, into work->words. */
void sa_ring_words(const struct sa_ring_work *work, unsigned place, uint64_t stream_id, uint64_t start, size_t nwords);

/* Residues packed to the bits of q; ring_packed.c. work->residues may be written. */
SA_INLINE size_t sa_packed_bytes(size_t n, unsigned bits)
{
    return (n * bits + 7) / 8;
}

SA_INLINE int sa_padding_is_zero(const uint8_t *packed, size_t n, unsigned bits)
{
    const unsigned used = (unsigned)(n * bits & 7);
    return used == 0 || packed[sa_packed_bytes(n, bits) - 1] >> used == 0;
}

void sa_ring_pack(const struct sa_ring_work *work, const uint64_t *values, size_t n, uint8_t *out);
void sa_ring_unpack(const struct sa_ring_work *work, const uint8_t *from, uint64_t *out, size_t n);
/* Adds n packed residues to acc, or with `back` takes them away. The top bit of what is returned is set when one is not below q;
 * *seen |= all of them. Uses work->poly[0]. */
uint64_t sa_ring_add_packed(const struct sa_ring_work *work, uint64_t *acc, const uint8_t *payload, size_t n, int back,
                            uint64_t *seen);

#endif
