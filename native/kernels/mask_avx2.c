/* AES-NI in the AVX encoding: three operands, so no copies. */
#include "../dispatch.h"

#ifdef SA_X86_64
#define SA_ISA avx2
#define SA_ISA_TARGET SA_TARGET("aes,sse4.1,avx2")
#include "mask_aesni.inc.c"
#endif
