/* Eight residues in a register. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#define SA_ISA avx512
#define SA_ISA_TARGET SA_TARGET("avx512f,avx512bw,avx512vl,avx512dq")
#define SA_WIDTH 8
#define SA_EITHER(d, q) (rvec) _mm512_min_epu64((__m512i)(d), (__m512i)((d) + (q)))
#include "residues.inc.c"
#else
typedef int sa_residues_avx512_unused; /* ISO C forbids an empty translation unit */
#endif
