/* Unaligned loads and stores, and small shared helpers. */
#ifndef SA_COMMON_LOAD_H
#define SA_COMMON_LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SA_INLINE static inline __attribute__((always_inline))
#define SA_TARGET(isa) __attribute__((target(isa)))

#define SA_CAT_(a, b) a##b
#define SA_CAT(a, b) SA_CAT_(a, b)

SA_INLINE uint64_t sa_load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

SA_INLINE void sa_store64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* All ones in the low w bits, 1 <= w <= 64. */
SA_INLINE uint64_t sa_low_bits(unsigned w)
{
    return UINT64_MAX >> (64 - w);
}

SA_INLINE size_t sa_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
