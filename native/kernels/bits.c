/* LSB-first bit packing: value i occupies bits i*w .. i*w + w - 1, bit 0 being the lowest of byte 0. */
#include "../common/load.h"
#include "secagg_native.h"

static int packed_length_is(size_t nbytes, size_t n, unsigned w)
{
    return n <= (SIZE_MAX >> 7) && nbytes == (n * w + 7) / 8;
}

/* CT: secret=all of buf but its padding; public=buf_bytes, n, w */
static int check_packed(const uint8_t *buf, size_t buf_bytes, size_t n, unsigned w)
{
    if (!packed_length_is(buf_bytes, n, w))
        return SA_ERR_ARGUMENT;
    const unsigned used = (unsigned)((n * w) & 7);
    return used != 0 && buf[buf_bytes - 1] >> used != 0 ? SA_ERR_PADDING : SA_OK;
}

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
#define SA_MIN_WIDTH 1
#include "bits.inc.c"
#define SA_BITS 32
#define SA_MIN_WIDTH 17
#include "bits.inc.c"
#define SA_BITS 64
#define SA_MIN_WIDTH 33
#include "bits.inc.c"
