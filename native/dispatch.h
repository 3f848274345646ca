/* The table of implementations. Internal: nothing outside native/ includes this. */
#ifndef SA_DISPATCH_H
#define SA_DISPATCH_H

#include "secagg_native.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels read lanes as little-endian memory; the fallback runs on big-endian machines"
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define SA_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define SA_AARCH64 1
/* clang before 16 declares the AES intrinsics only where the whole file may use them, as on Apple's processors. */
#if !defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_AES) || defined(__ARM_FEATURE_CRYPTO)
#define SA_NEON_AES 1
#endif
#endif

/* CPU features that an implementation may require; each bit also implies that the OS saves the registers it uses. */
enum {
    SA_CPU_AES = 1u << 0,
    SA_CPU_SSE41 = 1u << 1,
    SA_CPU_AVX2 = 1u << 2,
    SA_CPU_VAES = 1u << 3,
    SA_CPU_AVX512 = 1u << 4, /* F, BW, VL and DQ */
    SA_CPU_VBMI2 = 1u << 5,  /* VBMI and VBMI2 */
    SA_CPU_IFMA = 1u << 6,   /* 512-bit IFMA and VPOPCNTDQ */
    SA_CPU_FMA = 1u << 7     /* FMA3, on 256-bit registers */
};

uint32_t sa_cpu_features(void);

/* The largest chunk (bytes) and key schedule (bytes) of any implementation, for fixed stack buffers. */
#define SA_MAX_CHUNK 512
#define SA_MAX_SCHEDULE 704

/* Applies npos keys with plus, then nneg keys with minus, to `chunks` whole chunks that start at block `ctr`. */
typedef void sa_mask_fn(uint8_t *acc, size_t chunks, const uint8_t *schedules, size_t npos, size_t nneg,
                        uint64_t stream_id, uint64_t ctr, uint64_t mask);
typedef void sa_expand_fn(uint8_t *schedule, const uint8_t *key);
/* The AES rounds of `chunks` chunks and nothing else, on one chunk of state. */
typedef void sa_rounds_fn(uint8_t *state, size_t chunks);

struct sa_encode_args {
    double clip, levels, scale;
    uint64_t weight;
    uint64_t clipped;   /* out: added to */
    uint64_t nonfinite; /* out: not zero when any input was NaN or infinite */
};

/* x: float or double; out: lane array; words: keystream word per value, or NULL for nearest. */
typedef void sa_encode_fn(const void *x, size_t n, const uint32_t *words, void *out, struct sa_encode_args *args);

typedef void sa_decode_fn(const uint64_t *sums, size_t n, double step, double offset, double *out);

/* The OR of all values is returned: bits above w mean that `out` is not what the caller wants. */
typedef uint64_t sa_pack_fn(const void *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes);
/* unpack writes the lanes, unpack_add adds to them modulo 2^w. */
typedef void sa_unpack_fn(const uint8_t *buf, size_t buf_bytes, unsigned w, void *lanes, size_t n);

/* All inputs canonical, t at least 1, every x below 2^31. */
typedef void sa_split_fn(const uint64_t *secrets, size_t m, const uint64_t *coeffs, size_t t, const uint64_t *xs, size_t n,
                         uint64_t *shares);

struct sa_ring_impl; /* ring.h */

struct sa_impl {
    const char *name;
    uint32_t requires;
    size_t schedule_bytes; /* per key, a multiple of 16 */
    size_t chunk_bytes;    /* mask granularity, a multiple of 16 */
    sa_expand_fn *expand;
    sa_rounds_fn *rounds;
    sa_mask_fn *mask[3];        /* u16, u32, u64 */
    sa_encode_fn *encode[2][3]; /* f32, f64 by u16, u32, u64 */
    sa_decode_fn *decode;
    sa_pack_fn *pack[3];
    sa_unpack_fn *unpack[3];
    sa_unpack_fn *unpack_add[3];
    sa_split_fn *split;
    const struct sa_ring_impl *ring;
};

/* The implementation in use; never NULL. */
const struct sa_impl *sa_impl(void);

/* Schedules of npos plus keys, then of nneg minus keys. */
struct sa_mask_keys {
    const uint8_t *schedules;
    size_t npos, nneg;
};

/* Expands all keys into the scratch, which the caller wipes. */
int sa_mask_expand(const struct sa_impl *impl, const uint8_t *keys, const int8_t *signs, size_t nkeys, uint8_t *scratch,
                   size_t scratch_bytes, struct sa_mask_keys *expanded);

/* mask with expanded keys, any start and length; lane: 0, 1, 2 for u16, u32, u64. */
void sa_mask_run(const struct sa_impl *impl, int lane, void *acc, size_t n, const struct sa_mask_keys *keys,
                 uint64_t stream_id, uint64_t start, uint64_t mask);

/* The arguments of an encoder, or SA_ERR_ARGUMENT. */
int sa_encode_prepare(struct sa_encode_args *args, double clip, unsigned bits, uint64_t weight);

#define SA_DECLARE_AES(isa)              \
    sa_expand_fn sa_key_expand_##isa;     \
    sa_rounds_fn sa_aes_rounds_##isa;     \
    sa_mask_fn sa_mask_apply_u16_##isa;   \
    sa_mask_fn sa_mask_apply_u32_##isa;   \
    sa_mask_fn sa_mask_apply_u64_##isa;
#define SA_DECLARE_ENCODE(isa)                \
    sa_encode_fn sa_fixed_encode_f32_u16_##isa; \
    sa_encode_fn sa_fixed_encode_f32_u32_##isa; \
    sa_encode_fn sa_fixed_encode_f32_u64_##isa; \
    sa_encode_fn sa_fixed_encode_f64_u16_##isa; \
    sa_encode_fn sa_fixed_encode_f64_u32_##isa; \
    sa_encode_fn sa_fixed_encode_f64_u64_##isa; \
    sa_decode_fn sa_fixed_decode_u64_##isa;

#define SA_DECLARE_BITS(lane, isa)             \
    sa_pack_fn sa_pack_run_##lane##_##isa;     \
    sa_unpack_fn sa_unpack_run_##lane##_##isa; \
    sa_unpack_fn sa_unpack_add_run_##lane##_##isa;

sa_split_fn sa_split_run_u64_portable;
#ifdef SA_X86_64
sa_split_fn sa_split_run_u64_avx2;
sa_split_fn sa_split_run_u64_avx512;
#endif

SA_DECLARE_AES(portable)
SA_DECLARE_ENCODE(portable)
SA_DECLARE_BITS(u16, portable)
SA_DECLARE_BITS(u32, portable)
SA_DECLARE_BITS(u64, portable)
#if defined(SA_X86_64)
SA_DECLARE_AES(aesni)
SA_DECLARE_AES(avx2)
SA_DECLARE_AES(vaes256)
SA_DECLARE_AES(vaes512)
SA_DECLARE_ENCODE(avx2)
SA_DECLARE_ENCODE(avx512)
SA_DECLARE_BITS(u16, avx2)
SA_DECLARE_BITS(u32, avx2)
SA_DECLARE_BITS(u16, avx512)
SA_DECLARE_BITS(u32, avx512)
SA_DECLARE_BITS(u64, avx512)
#elif defined(SA_NEON_AES)
SA_DECLARE_AES(neon)
SA_DECLARE_ENCODE(neon)
#endif

#endif
