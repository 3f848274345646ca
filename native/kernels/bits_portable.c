/* Bit packing in plain C, a 64-bit word at a time. */
#include "../common/load.h"
#include "../dispatch.h"

/* 64 bits from bit `shift` < 8 on; reads nine bytes. CT: secret=p's bytes; public=shift */
SA_INLINE uint64_t join_bits(const uint8_t *p, size_t shift)
{
    return (sa_load64(p) >> shift) | ((uint64_t)p[8] << 1) << (63 - shift);
}

/* Value i without reading past the end; upper bits are whatever follows. CT: secret=buf; public=buf_bytes, i, w */
static uint64_t load_bits(const uint8_t *buf, size_t buf_bytes, size_t i, unsigned w)
{
    const size_t at = (i * w) >> 3;
    uint8_t near_end[16] = {0};
    memcpy(near_end, buf + at, sa_min(9, buf_bytes - at));
    return join_bits(near_end, (i * w) & 7);
}

#define SA_BITS 16
#include "bits.inc.c"
#define SA_BITS 32
#include "bits.inc.c"
#define SA_BITS 64
#include "bits.inc.c"
