/* Two doubles at a time: SSE2 or NEON where the target has them by default, scalar code elsewhere. */
#define SA_ISA portable
#define SA_ISA_TARGET
#define SA_WIDTH 2
#include "encode_lanes.inc.c"
