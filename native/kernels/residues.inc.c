/* Sums of residues in registers of SA_WIDTH 64-bit lanes. The including file defines SA_ISA, SA_ISA_TARGET, SA_WIDTH and
 * SA_EITHER(d, q): of the lanes d and d + q the one below q, knowing that one of them is, and q at most 2^61. */
#include "../common/load.h"
#include "residues.h"

/* Bytes ahead that the second cache is asked for, of both streams: what comes from outside lies in small pages, at whose ends
 * hardware stops looking ahead. Measured: without, it takes nearly twice as long. */
#define SA_AHEAD 16384
#define SA_LINE 8 /* words of a cache line */

typedef uint64_t rvec __attribute__((vector_size(SA_WIDTH * 8)));
typedef int64_t rsvec __attribute__((vector_size(SA_WIDTH * 8)));

/* acc below q, q at most 2^61. When the top bit of what is returned is set, some residue is q or more: either it is 2^63 or
 * more, or q - 1 - x is negative. Whatever x holds, each of acc is then acc + x or acc + x - q, so that it can be undone.
 * CT: secret=none; public=all */
SA_ISA_TARGET uint64_t SA_CAT(sa_residues_fold_u64_, SA_ISA)(uint64_t *acc, const uint8_t *x, size_t n, uint64_t q)
{
    rvec bad = {0};
    uint64_t any = 0;
    size_t i = 0;
    for (; i + SA_LINE <= n; i += SA_LINE) {
        __builtin_prefetch((const void *)((uintptr_t)(x + 8 * i) + SA_AHEAD), 0, 2);
        __builtin_prefetch((const void *)((uintptr_t)(acc + i) + SA_AHEAD), 0, 2);
        for (size_t j = i; j < i + SA_LINE; j += SA_WIDTH) {
            rvec a, v;
            memcpy(&a, acc + j, sizeof a);
            memcpy(&v, x + 8 * j, sizeof v);
            bad |= (q - 1 - v) | v;
            a = a + v - q;
            a = SA_EITHER(a, q);
            memcpy(acc + j, &a, sizeof a);
        }
    }
    for (size_t k = 0; k < SA_WIDTH; k++)
        any |= bad[k];
    for (; i < n; i++) {
        const uint64_t v = sa_load64(x + 8 * i), less = acc[i] + v - q;
        any |= (q - 1 - v) | v;
        acc[i] = less + (q & (0 - (less >> 63)));
    }
    return any;
}
