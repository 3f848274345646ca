/* AES-NI in the SSE encoding, for processors without AVX. */
#include "../dispatch.h"

#ifdef SA_X86_64
#define SA_ISA aesni
#define SA_ISA_TARGET SA_TARGET("aes,sse4.1")
#include "mask_aesni.inc.c"
#endif
