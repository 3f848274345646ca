/* Sums of residues in registers of SA_WIDTH 64-bit lanes. The including file defines SA_ISA, SA_ISA_TARGET, SA_WIDTH and
 * SA_LEAST(s, d), the lesser of two unsigned lanes, knowing that one of them is below 2^62 and the other is either too or, as
 * a negative difference, above 2^63. */
#include "../common/load.h"
#include "residues.h"

typedef uint64_t rvec __attribute__((vector_size(SA_WIDTH * 8)));
typedef int64_t rsvec __attribute__((vector_size(SA_WIDTH * 8)));

/* The top bit is set when some residue is q or more: then it is 2^63 or more itself, or q - 1 - x is negative.
 * CT: secret=none; public=all */
SA_ISA_TARGET uint64_t SA_CAT(sa_residues_check_u64_, SA_ISA)(const uint8_t *x, size_t n, uint64_t q)
{
    rvec bad = {0};
    uint64_t any = 0;
    size_t i = 0;
    for (; i + SA_WIDTH <= n; i += SA_WIDTH) {
        rvec v;
        memcpy(&v, x + 8 * i, sizeof v);
        bad |= (q - 1 - v) | v;
    }
    for (size_t k = 0; k < SA_WIDTH; k++)
        any |= bad[k];
    for (; i < n; i++) {
        const uint64_t v = sa_load64(x + 8 * i);
        any |= (q - 1 - v) | v;
    }
    return any;
}

/* acc and x below q, q at most 2^61. CT: secret=none; public=all */
SA_ISA_TARGET void SA_CAT(sa_residues_fold_u64_, SA_ISA)(uint64_t *acc, const uint8_t *x, size_t n, uint64_t q)
{
    size_t i = 0;
    for (; i + SA_WIDTH <= n; i += SA_WIDTH) {
        rvec a, v;
        memcpy(&a, acc + i, sizeof a);
        memcpy(&v, x + 8 * i, sizeof v);
        a += v;
        v = a - q;
        a = SA_LEAST(a, v);
        memcpy(acc + i, &a, sizeof a);
    }
    for (; i < n; i++) {
        const uint64_t sum = acc[i] + sa_load64(x + 8 * i), less = sum - q;
        acc[i] = less + (q & (0 - (less >> 63)));
    }
}
