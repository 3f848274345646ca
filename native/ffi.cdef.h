/* The C interface, once: cffi parses this file and secagg_native.h includes it. Declarations only, no preprocessor.
 *
 * Every function that can fail returns one of these codes and never allocates. Lengths are in elements unless the name
 * says bytes. Lane of width w: u16 for w <= 16, u32 for w <= 32, u64 above. */
enum {
    SA_OK = 0,
    SA_ERR_ARGUMENT = 1,   /* width, length or pointer that the interface does not allow */
    SA_ERR_VALUE = 2,      /* a value that does not fit its width */
    SA_ERR_PADDING = 3,    /* padding bits that are not zero */
    SA_ERR_NONFINITE = 4,  /* NaN or infinity among the inputs */
    SA_ERR_FIELD = 5,      /* an element that is not canonical modulo 2^61 - 1, or a bad set of points */
    SA_ERR_UNKNOWN = 6,    /* no such implementation, or this machine cannot run it */
    SA_ERR_RESIDUE = 7,    /* a residue that is not below the modulus */
    SA_ERR_TRANSPARENT = 8 /* a ciphertext whose polynomial c1 is zero: it hides nothing */
};

/* Dispatch. sa_available(i) names the i-th implementation this machine can run, best first, NULL at the end. */
const char *sa_available(size_t index);
const char *sa_selected(void);
int sa_select(const char *name);
const char *sa_compiler(void);

/* For benchmarks: the AES rounds that `nbytes` of keystream take, in registers, on the implementation in use; the bound
 * for any keystream of that width. state: at least 512 bytes, any content; it is changed. */
int sa_aes_rounds(uint8_t *state, size_t state_bytes, size_t nbytes);

/* acc[i] = (acc[i] + sum_k signs[k] * KS_k[start + i]) mod 2^w. keys: nkeys * 16 bytes. scratch: at least
 * sa_mask_scratch_bytes(nkeys), any alignment; it is all zero when SA_OK is returned. */
size_t sa_mask_scratch_bytes(size_t nkeys);
int sa_mask_apply_u16(uint16_t *acc, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                      uint64_t stream_id, uint64_t start, unsigned w, uint8_t *scratch, size_t scratch_bytes);
int sa_mask_apply_u32(uint32_t *acc, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                      uint64_t stream_id, uint64_t start, unsigned w, uint8_t *scratch, size_t scratch_bytes);
int sa_mask_apply_u64(uint64_t *acc, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                      uint64_t stream_id, uint64_t start, unsigned w, uint8_t *scratch, size_t scratch_bytes);

/* out = AES-128-CTR keystream from block index `block`. */
int sa_keystream_fill(const uint8_t *key, uint64_t stream_id, uint64_t block, uint8_t *out, size_t nbytes);

/* Fixed-point encoding; key == NULL rounds to nearest, else stochastically. *clipped is valid on SA_OK only. */
int sa_fixed_encode_f32_u16(const float *x, size_t n, double clip, unsigned bits, uint16_t *out, const uint8_t *key,
                            uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped);
int sa_fixed_encode_f32_u32(const float *x, size_t n, double clip, unsigned bits, uint32_t *out, const uint8_t *key,
                            uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped);
int sa_fixed_encode_f32_u64(const float *x, size_t n, double clip, unsigned bits, uint64_t *out, const uint8_t *key,
                            uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped);
int sa_fixed_encode_f64_u16(const double *x, size_t n, double clip, unsigned bits, uint16_t *out, const uint8_t *key,
                            uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped);
int sa_fixed_encode_f64_u32(const double *x, size_t n, double clip, unsigned bits, uint32_t *out, const uint8_t *key,
                            uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped);
int sa_fixed_encode_f64_u64(const double *x, size_t n, double clip, unsigned bits, uint64_t *out, const uint8_t *key,
                            uint64_t stream_id, uint64_t start, uint64_t weight, uint64_t *clipped);

/* Of sums of codes: sums[i] * (2 * clip / (2^bits - 1)) - total_weight * clip, every operation rounded on its own. */
int sa_fixed_decode_u64(const uint64_t *sums, size_t n, uint64_t total_weight, double clip, unsigned bits, double *out);

/* Encode, mask and pack in one pass: the bytes of sa_fixed_encode, sa_mask_apply and sa_bits_pack one after the other, with
 * one stream id and start for rounding and masks. scratch as for sa_mask_apply. After an error out is zero or untouched. */
int sa_fixed_protect_f32(const float *x, size_t n, double clip, unsigned bits, uint64_t weight, const uint8_t *rounding_key,
                         const uint8_t *keys, const int8_t *signs, size_t nkeys, uint64_t stream_id, uint64_t start,
                         unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch, size_t scratch_bytes,
                         uint64_t *clipped);
int sa_fixed_protect_f64(const double *x, size_t n, double clip, unsigned bits, uint64_t weight, const uint8_t *rounding_key,
                         const uint8_t *keys, const int8_t *signs, size_t nkeys, uint64_t stream_id, uint64_t start,
                         unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch, size_t scratch_bytes,
                         uint64_t *clipped);
int sa_mask_pack_u16(const uint16_t *values, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                     uint64_t stream_id, uint64_t start, unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                     size_t scratch_bytes);
int sa_mask_pack_u32(const uint32_t *values, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                     uint64_t stream_id, uint64_t start, unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                     size_t scratch_bytes);
int sa_mask_pack_u64(const uint64_t *values, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                     uint64_t stream_id, uint64_t start, unsigned w, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                     size_t scratch_bytes);

/* LSB-first bit packing into exactly ceil(n * w / 8) bytes. unpack_add leaves acc alone unless it returns SA_OK. */
int sa_bits_pack_u16(const uint16_t *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes);
int sa_bits_pack_u32(const uint32_t *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes);
int sa_bits_pack_u64(const uint64_t *values, size_t n, unsigned w, uint8_t *out, size_t out_bytes);
int sa_bits_unpack_u16(const uint8_t *buf, size_t buf_bytes, unsigned w, uint16_t *out, size_t n);
int sa_bits_unpack_u32(const uint8_t *buf, size_t buf_bytes, unsigned w, uint32_t *out, size_t n);
int sa_bits_unpack_u64(const uint8_t *buf, size_t buf_bytes, unsigned w, uint64_t *out, size_t n);
int sa_bits_unpack_add_u16(uint16_t *acc, size_t n, const uint8_t *buf, size_t buf_bytes, unsigned w);
int sa_bits_unpack_add_u32(uint32_t *acc, size_t n, const uint8_t *buf, size_t buf_bytes, unsigned w);
int sa_bits_unpack_add_u64(uint64_t *acc, size_t n, const uint8_t *buf, size_t buf_bytes, unsigned w);
/* Several buffers of one length in one pass over acc; acc stays unless all are well packed. */
int sa_bits_unpack_add_many_u16(uint16_t *acc, size_t n, const uint8_t *const *bufs, size_t nbufs, size_t buf_bytes, unsigned w);
int sa_bits_unpack_add_many_u32(uint32_t *acc, size_t n, const uint8_t *const *bufs, size_t nbufs, size_t buf_bytes, unsigned w);
int sa_bits_unpack_add_many_u64(uint64_t *acc, size_t n, const uint8_t *const *bufs, size_t nbufs, size_t buf_bytes, unsigned w);

/* acc = (acc + other) mod 2^w */
int sa_lanes_add_u16(uint16_t *acc, const uint16_t *other, size_t n, unsigned w);
int sa_lanes_add_u32(uint32_t *acc, const uint32_t *other, size_t n, unsigned w);
int sa_lanes_add_u64(uint64_t *acc, const uint64_t *other, size_t n, unsigned w);

/* Shamir over p = 2^61 - 1. coeffs: (t - 1) x m, degree 1 first; shares: n x m; weights: Lagrange basis at 0; scratch: t. */
int sa_shamir_split_u64(const uint64_t *secrets, size_t m, const uint64_t *coeffs, size_t t, const uint64_t *xs,
                        size_t n, uint64_t *shares);
int sa_shamir_weights_u64(const uint64_t *xs, size_t t, uint64_t *weights, uint64_t *scratch);
int sa_shamir_combine_u64(const uint64_t *weights, size_t t, const uint64_t *shares, size_t m, uint64_t *out);

/* Z_q[X]/(X^N + 1), N = 1024 to 8192, q prime, 1 mod 2N, from 2^18 to 2^61. table: sa_ring_table_words(N) words, filled by the
 * caller: q, N, bits of q, floor(2^(2 bits) / q), 1/N mod q, its quotient, log2 N, 2^52/N mod q, its quotient, 1/q mod 2^52, six
 * zeros; then for i < N, psi^r(i), their
 * quotients, psi^-r(i), their quotients, where psi is a primitive 2N-th root of unity, r reverses log2 N bits, and the quotient of
 * w is floor(2^64 w / q). Residues are canonical. scratch: sa_ring_scratch_bytes(N), any alignment; zero after SA_OK where
 * anything in it was secret. */
size_t sa_ring_table_words(size_t degree);
size_t sa_ring_scratch_bytes(size_t degree);
int sa_ring_forward(const uint64_t *table, uint64_t *polys, size_t count);
int sa_ring_inverse(const uint64_t *table, uint64_t *polys, size_t count);
int sa_ring_add(const uint64_t *table, uint64_t *acc, const uint64_t *other, size_t n, int minus);
int sa_ring_multiply_add(const uint64_t *table, uint64_t *acc, const uint64_t *a, const uint64_t *b, size_t n);

/* Polynomials number `first` and on of a keystream; the last number times N stays below 2^63. */
enum { SA_UNIFORM = 0, SA_TERNARY = 1, SA_BINOMIAL = 2 };
int sa_ring_sample(const uint64_t *table, int distribution, uint64_t *out, size_t count, const uint8_t *key,
                   uint64_t stream_id, uint64_t first, uint8_t *scratch, size_t scratch_bytes);
int sa_ring_add_uniform(const uint64_t *table, uint64_t *acc, size_t n, const uint8_t *key, uint64_t stream_id, uint64_t first,
                        int minus, uint8_t *scratch, size_t scratch_bytes);

/* n values, one a coefficient. public_key: the transforms of a and b; secret: that of s. A payload: for each polynomial c1, then of
 * c0 as many coefficients as there are values, each packed to bits of q; the seeded one is without c1. A payload that is refused
 * leaves c1 and c0 as they were; where a value is refused out is zero. */
int sa_rlwe_encrypt(const uint64_t *table, const uint64_t *public_key, const uint64_t *values, size_t n, uint64_t delta,
                    const uint8_t *key, const uint8_t *pad, uint64_t first, uint8_t *out, size_t out_bytes, uint8_t *scratch,
                    size_t scratch_bytes);
int sa_rlwe_encrypt_seeded(const uint64_t *table, const uint64_t *secret, const uint64_t *values, size_t n, uint64_t delta,
                           const uint8_t *key, const uint8_t *seed, uint64_t first, uint8_t *out, size_t out_bytes,
                           uint8_t *scratch, size_t scratch_bytes);
int sa_rlwe_add(const uint64_t *table, uint64_t *c1, uint64_t *c0, size_t n, const uint8_t *payload, size_t payload_size,
                uint8_t *scratch, size_t scratch_bytes);
int sa_rlwe_add_seeded(const uint64_t *table, uint64_t *c1, uint64_t *c0, size_t n, const uint8_t *payload,
                       size_t payload_size, const uint8_t *seed, uint64_t first, uint8_t *scratch, size_t scratch_bytes);
int sa_rlwe_store(const uint64_t *table, const uint64_t *c1, const uint64_t *c0, size_t n, uint8_t *out, size_t out_bytes,
                  uint8_t *scratch, size_t scratch_bytes);
int sa_rlwe_decrypt(const uint64_t *table, const uint64_t *secret, const uint64_t *c1, const uint64_t *c0, size_t n,
                    uint64_t delta, uint64_t *values, uint64_t *worst, uint8_t *scratch, size_t scratch_bytes);

/* Masks modulo q, the product of primes of one length: c = a s + t e + m. tables: the ring tables of the primes, one after the
 * other. table: the number of primes, width, per, the number of thresholds, four zeros, the four words of 2 t B, four zeros; then for
 * each prime i: t mod it and its quotient, t B mod it, a zero, the inverses of the primes before it with their quotients (16 words,
 * zeros at the end), the four words of the product of the primes before it, 2^(width k) mod it for k < per with their quotients; then
 * the thresholds' upper words and lower ones, of 63 bits, descending, fewer than 96: seen as 126 bits moved up by two, in four words
 * of 32, no two of them have the same first word that is not 0, at the same place. A chunk of n values: each polynomial carries N
 * coefficients, the last as few, c, as hold the rest; value k c + j of it is digit k of coefficient j. A payload: for each
 * polynomial and prime the residues, packed. Sums: the same in words. scratch: sa_hint_scratch_bytes, any alignment; zero after
 * SA_OK and SA_ERR_VALUE. secret: the transforms modulo each prime. */
size_t sa_hint_table_words(size_t primes, size_t per, size_t thresholds);
size_t sa_hint_scratch_bytes(size_t degree, size_t primes);
/* Samples number `start` and on; thresholds: upper words, then lower ones; scratch: sa_hint_scratch_bytes(1024, 0) at least. */
int sa_hint_gaussian(const uint64_t *thresholds, size_t count, int64_t *out, size_t n, const uint8_t *key, uint64_t stream_id,
                     uint64_t start, uint8_t *scratch, size_t scratch_bytes);
/* values of 16, 32 or 64 bits: lane 0, 1, 2. Out is zero where a value is refused. */
int sa_hint_mask(const uint64_t *tables, const uint64_t *table, const uint64_t *secret, const void *values, int lane, size_t n,
                 const uint8_t *error_key, const uint8_t *public_key, uint64_t first, uint8_t *out, size_t out_bytes,
                 uint8_t *scratch, size_t scratch_bytes);
/* A payload that is refused leaves acc as it was. */
int sa_hint_add(const uint64_t *tables, const uint64_t *table, uint64_t *acc, size_t n, const uint8_t *payload,
                size_t payload_size, uint8_t *scratch, size_t scratch_bytes);
int sa_hint_store(const uint64_t *tables, const uint64_t *table, const uint64_t *acc, size_t n, uint8_t *out, size_t out_bytes,
                  uint8_t *scratch, size_t scratch_bytes);
/* SA_ERR_VALUE, and values all zero, when a coefficient's noise is out of its bounds. */
int sa_hint_open(const uint64_t *tables, const uint64_t *table, const uint64_t *acc, size_t n, const uint64_t *secret,
                 const uint8_t *public_key, uint64_t first, uint64_t *values, uint8_t *scratch, size_t scratch_bytes);

/* acc = (acc + bufs) mod q, residue by residue: rows ciphertexts of npolys polynomials, each modulo every one of nmoduli moduli
 * (2 to 2^61), n residues each; to row i the depth buffers from bufs[i * depth] on are added. A buffer: 8 * npolys * nmoduli * n
 * bytes, any alignment, little-endian. acc is below its moduli; when some residue in a buffer is not, acc is as it was when
 * SA_ERR_VALUE is returned. */
int sa_residues_add_u64(uint64_t *acc, size_t rows, const uint8_t *const *bufs, size_t depth, size_t n,
                        const uint64_t *moduli, size_t nmoduli, size_t npolys);

/* 1 when equal, 0 when not; time depends on nbytes alone. */
int sa_ct_equal(const uint8_t *a, const uint8_t *b, size_t nbytes);
void sa_zero(void *p, size_t nbytes);
