/* Constant-time helpers on 64-bit words: no branch, the compiler cannot see that masks are 0 or all ones. */
#ifndef SA_COMMON_CT_H
#define SA_COMMON_CT_H

#include <stdint.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif

static inline uint64_t sa_ct_hide(uint64_t v)
{
#if __has_feature(memory_sanitizer) /* which would take what asm gives back for public */
    volatile uint64_t kept = v;
    return kept;
#else
    __asm__("" : "+r"(v));
    return v;
#endif
}

/* v, whose value may be told from here on: what a return code gives away. In the builds that track secrets (tests/native/ct.c)
 * this makes it public; a branch on a secret that has not been through here is a fault there. */
#ifdef SA_CT_CHECK
uint64_t sa_ct_reveal(uint64_t v);
#else
static inline uint64_t sa_ct_reveal(uint64_t v)
{
    return v;
}
#endif

/* All ones when a < b, else 0; a and b below 2^63. */
static inline uint64_t sa_ct_less(uint64_t a, uint64_t b)
{
    return sa_ct_hide(0 - ((a - b) >> 63));
}

#endif
