/* mask.inc.c for each lane width. */
#define SA_EIGHT(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#define SA_BITS 16
#include "mask.inc.c"
#define SA_BITS 32
#include "mask.inc.c"
#define SA_BITS 64
#include "mask.inc.c"
