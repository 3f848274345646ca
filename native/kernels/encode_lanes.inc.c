/* encode.inc.c for each input and lane type, and decode.inc.c. */
#include "../common/load.h"
#include "../common/zero.h"
#include "../dispatch.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* GCC: -ffp-contract=off, it does not know the pragma */
#endif

typedef float sa_f32;
typedef double sa_f64;
typedef double fvec __attribute__((vector_size(SA_WIDTH * 8)));
typedef uint64_t uvec __attribute__((vector_size(SA_WIDTH * 8)));
typedef int64_t ivec __attribute__((vector_size(SA_WIDTH * 8)));

/* Lane by lane: a where mask is all ones, else b. */
#define SA_PICK(mask, a, b) ((fvec)(((ivec)(a) & (mask)) | ((ivec)(b) & ~(mask))))

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
