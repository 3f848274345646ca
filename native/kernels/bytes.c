/* Comparison and wiping of bytes. */
#include "../common/ct.h"
#include "../common/zero.h"
#include "secagg_native.h"

/* No kernel goes deeper; fixed_protect's tiles are in its own frame, and wiped by it. */
#define SA_DEEPEST 4096

/* CT: secret=none; public=all */
__attribute__((noinline)) void sa_wipe_stack(void)
{
    uint8_t below[SA_DEEPEST];
    sa_wipe(below, sizeof below);
}

/* CT: secret=a, b; public=nbytes */
int sa_ct_equal(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
    uint64_t differ = 0;
    for (size_t i = 0; i < nbytes; i++)
        differ |= (uint64_t)(a[i] ^ b[i]);
    return (int)(sa_ct_hide(differ - 1) >> 63);
}

/* CT: secret=p; public=nbytes */
void sa_zero(void *p, size_t nbytes)
{
    sa_wipe(p, nbytes);
}
