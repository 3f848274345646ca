/* Wiping that no optimiser removes. */
#ifndef SA_COMMON_ZERO_H
#define SA_COMMON_ZERO_H

#include <stddef.h>
#include <string.h>

static inline void sa_wipe(void *p, size_t nbytes)
{
    memset(p, 0, nbytes);
    /* The asm may read *p, so the stores before it must happen. */
    __asm__ __volatile__("" : : "r"(p) : "memory");
}

/* Wipes what functions that have returned left below the caller's frame: spilled registers, and small arrays of theirs. Every entry
 * that is handed a secret ends with it. */
void sa_wipe_stack(void);

#endif
