/* Residues in plain C, one word at a time; the compiler may use what its baseline has. */
#define SA_ISA portable
#define SA_ISA_TARGET
#define SA_WIDTH 1
#define SA_EITHER(d, q) ((d) + ((q) & (rvec)((rsvec)(d) < 0)))
#include "residues.inc.c"
