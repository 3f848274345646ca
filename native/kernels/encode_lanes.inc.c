/* encode.inc.c for each input and lane type, and decode.inc.c. */
#include "../common/load.h"
#include "../common/zero.h"
#include "../dispatch.h"

#ifdef __FAST_MATH__
#error "the encoder's bytes must be the same everywhere: build without -ffast-math"
#endif
#if defined(_WIN32) && defined(__GNUC__) && !defined(__clang__)
#error "GCC on Windows is not given -ffp-contract=off here: build with clang-cl, or use the fallback"
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* GCC: -ffp-contract=off, it does not know the pragma */
#endif

typedef float sa_f32;
typedef double sa_f64;
typedef double fvec __attribute__((vector_size(SA_WIDTH * 8)));
typedef uint64_t uvec __attribute__((vector_size(SA_WIDTH * 8)));
typedef int64_t ivec __attribute__((vector_size(SA_WIDTH * 8)));

struct encode_constants {
    fvec high, low, scale, levels; /* scale and levels times 2^32 */
    uvec weight;
};
struct encode_tally {
    uvec clipped;
    fvec poison;
};

/* What an instruction set does in fewer instructions than the compiler finds, its file defines before; the rest is plain
 * vectors. SA_MAX and SA_MIN give the second operand when the first is NaN. */
#ifndef SA_MAX
#define SA_PICK(mask, a, b) ((fvec)(((ivec)(a) & (mask)) | ((ivec)(b) & ~(mask))))
#define SA_MAX(a, b) SA_PICK((a) > (b), a, b)
#define SA_MIN(a, b) SA_PICK((a) < (b), a, b)
#endif
#ifndef SA_COUNT_DIFFERENT
#define SA_COUNT_DIFFERENT(count, a, b) ((count) - (uvec)((a) != (b)))
#endif
#ifndef SA_FLOOR
#define SA_FLOOR(v) SA_CAT(floor_, SA_ISA)(v)
/* 0 <= v < 2^32: adding and taking away 2^52 rounds to an integer, and one too many is taken back. CT: secret=v; public=none */
SA_ISA_TARGET SA_INLINE fvec SA_CAT(floor_, SA_ISA)(fvec v)
{
    const fvec magic = 0x1p52 - (fvec){0}, near = (v + magic) - magic;
    return near - (fvec)((ivec)(near > v) & (ivec)(1.0 - (fvec){0}));
}
#endif
#ifndef SA_TO_U64
#define SA_TO_U64(v) SA_CAT(to_u64_, SA_ISA)(v)
/* The integer part by halves, 0 <= v < 2^64. CT: secret=v; public=none */
SA_ISA_TARGET SA_INLINE uvec SA_CAT(to_u64_, SA_ISA)(fvec v)
{
    const fvec high = SA_FLOOR(v * 0x1p-32), low = SA_FLOOR(v - high * 0x1p32), magic = 0x1p52 - (fvec){0};
    return ((uvec)(high + magic) << 32) | ((uvec)(low + magic) & (uint64_t)0xffffffff);
}
#endif
#ifndef SA_TIMES_32
#define SA_TIMES_32(code, weight) ((code) * (weight)) /* of which the low 32 bits count; code < 2^32 */
#endif
#ifndef SA_TIMES_64
#define SA_TIMES_64(code, weight) ((code) * (weight))
#endif
#define SA_TIMES_16 SA_TIMES_32
#define SA_TIMES(bits) SA_CAT(SA_TIMES_, bits)

/* SA_WIDTH elements of `from` converted to `vector`. */
#define SA_CONVERTED(vector, type, from)                                       \
    __extension__({                                                            \
        type raw_ __attribute__((vector_size(SA_WIDTH * sizeof(type))));       \
        memcpy(&raw_, from, sizeof raw_);                                      \
        __builtin_convertvector(raw_, vector);                                 \
    })
#ifndef SA_WIDEN_32
#define SA_WIDEN_32(x) SA_CONVERTED(fvec, float, x)
#define SA_WIDEN_WORDS(words) (SA_CONVERTED(uvec, uint32_t, words) ^ (uint64_t)0xffffffff)
#endif
#define SA_WIDEN_64(x) SA_CONVERTED(fvec, double, x)
#define SA_WIDEN(fbits) SA_CAT(SA_WIDEN_, fbits)

#ifndef SA_STORE_32
#define SA_STORE_AS(type, to, v)                                                                      \
    {                                                                                                 \
        typedef type narrow_ __attribute__((vector_size(SA_WIDTH * sizeof(type))));                   \
        const narrow_ result_ = __builtin_convertvector(v, narrow_);                                  \
        memcpy(to, &result_, sizeof result_);                                                         \
    }
#define SA_STORE_16(to, v) SA_STORE_AS(uint16_t, to, v)
#define SA_STORE_32(to, v) SA_STORE_AS(uint32_t, to, v)
#endif
#define SA_STORE_64(to, v)                 \
    {                                      \
        const uvec result_ = v;            \
        memcpy(to, &result_, sizeof result_); \
    }
#define SA_STORE(bits) SA_CAT(SA_STORE_, bits)

#define SA_FBITS 32
#define SA_BITS 16
#include "encode.inc.c"
#define SA_BITS 32
#include "encode.inc.c"
#define SA_BITS 64
#include "encode.inc.c"
#undef SA_FBITS
#define SA_FBITS 64
#define SA_BITS 16
#include "encode.inc.c"
#define SA_BITS 32
#include "encode.inc.c"
#define SA_BITS 64
#include "encode.inc.c"
#undef SA_FBITS

#include "decode.inc.c"
