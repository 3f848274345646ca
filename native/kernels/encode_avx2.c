/* Four doubles at a time. */
#if defined(__x86_64__) || defined(_M_X64)
#define SA_ISA avx2
#define SA_ISA_TARGET SA_TARGET("avx2")
#define SA_WIDTH 4
#include "encode_lanes.inc.c"
#else
typedef int sa_encode_avx2_unused; /* ISO C forbids an empty translation unit */
#endif
