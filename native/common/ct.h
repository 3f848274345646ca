/* Constant-time helpers on 64-bit words: no branch, the compiler cannot see that masks are 0 or all ones. */
#ifndef SA_COMMON_CT_H
#define SA_COMMON_CT_H

#include <stddef.h>
#include <stdint.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif

/* MemorySanitizer takes what asm gives back for public, and sees no carries: there every bit becomes as secret as any. */
#if defined(SA_CT_CHECK) && __has_feature(memory_sanitizer)
uint64_t sa_ct_hide(uint64_t v);
#else
static inline uint64_t sa_ct_hide(uint64_t v)
{
    __asm__("" : "+r"(v));
    return v;
}
#endif

/* v, whose value may be told from here on: what a return code gives away. In the builds that track secrets (tests/native/ct.c)
 * this makes it public; a branch on a secret that has not been through here is a fault there. */
#ifdef SA_CT_CHECK
uint64_t sa_ct_reveal(uint64_t v);
void sa_ct_mark(void *p, size_t nbytes);
#else
static inline uint64_t sa_ct_reveal(uint64_t v)
{
    return v;
}

/* Secret again, for a tool that sees no carries and takes the upper half of a product for public. */
static inline void sa_ct_mark(void *p, size_t nbytes)
{
    (void)p;
    (void)nbytes;
}
#endif

/* All ones when a < b, else 0; a and b below 2^63. */
static inline uint64_t sa_ct_less(uint64_t a, uint64_t b)
{
    return sa_ct_hide(0 - (sa_ct_hide(a - b) >> 63));
}

#endif
