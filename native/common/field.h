/* The field of p = 2^61 - 1. */
#ifndef SA_COMMON_FIELD_H
#define SA_COMMON_FIELD_H

#include "ct.h"
#include "load.h"

#define SA_P (((uint64_t)1 << 61) - 1)

/* Congruent and below 2^61 + 8. */
SA_INLINE uint64_t sa_field_fold(uint64_t v)
{
    return (v & SA_P) + (v >> 61);
}

/* The canonical representative of a folded value. CT: secret=v; public=none */
SA_INLINE uint64_t sa_field_canonical(uint64_t v)
{
    v = sa_field_fold(v);
    return v - (SA_P & ~sa_ct_less(v, SA_P));
}

#endif
