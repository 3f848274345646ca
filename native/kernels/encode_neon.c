/* NEON, which every AArch64 has: four doubles in two registers, to hide the latency of one. */
#if defined(__aarch64__) || defined(_M_ARM64)
#define SA_ISA neon
#define SA_ISA_TARGET
#define SA_WIDTH 4
#define SA_TO_U64(v) __builtin_convertvector(v, uvec) /* one instruction, never out of range here */
#include "encode_lanes.inc.c"
#else
typedef int sa_encode_neon_unused; /* ISO C forbids an empty translation unit */
#endif
