/* Eight doubles at a time. */
#if defined(__x86_64__) || defined(_M_X64)
#define SA_ISA avx512
#define SA_ISA_TARGET SA_TARGET("avx512f,avx512bw,avx512vl,avx512dq")
#define SA_WIDTH 8
#include "encode_lanes.inc.c"
#else
typedef int sa_encode_avx512_unused; /* ISO C forbids an empty translation unit */
#endif
