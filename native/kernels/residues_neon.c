/* Two residues in a register. */
#include "../dispatch.h"

#ifdef SA_NEON_AES
#define SA_ISA neon
#define SA_ISA_TARGET
#define SA_WIDTH 2
#define SA_EITHER(d, q) ((d) + ((q) & (rvec)((rsvec)(d) < 0)))
#include "residues.inc.c"
#else
typedef int sa_residues_neon_unused; /* ISO C forbids an empty translation unit */
#endif
