/* Constant-time helpers on 64-bit words: no branch, the compiler cannot see that masks are 0 or all ones. */
#ifndef SA_COMMON_CT_H
#define SA_COMMON_CT_H

#include <stdint.h>

static inline uint64_t sa_ct_hide(uint64_t v)
{
    __asm__("" : "+r"(v));
    return v;
}

/* All ones when a < b, else 0; a and b below 2^63. */
static inline uint64_t sa_ct_less(uint64_t a, uint64_t b)
{
    return sa_ct_hide(0 - ((a - b) >> 63));
}

#endif
