/* Four residues in a register. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#define SA_ISA avx2
#define SA_ISA_TARGET SA_TARGET("avx2")
#define SA_WIDTH 4
#define SA_EITHER(d, q) ((d) + ((q) & (rvec)((rsvec)(d) < 0)))
#include "residues.inc.c"
#else
typedef int sa_residues_avx2_unused; /* ISO C forbids an empty translation unit */
#endif
