/* Masks modulo a product of primes: the table of a masking ring, and how a chunk of values lies in polynomials. Internal. */
#ifndef SA_HINT_H
#define SA_HINT_H

#include "ring.h"

#define SA_HINT_HEADER 16
#define SA_HINT_PRIMES 8
#define SA_HINT_LIMBS 4 /* q is below 2^256 */
#define SA_HINT_ROW (4 + 2 * SA_HINT_PRIMES + SA_HINT_LIMBS)

struct sa_hint {
    size_t primes, degree, table_words; /* the last: of a prime's ring */
    unsigned width, per, group, bits;   /* digits that are joined before they are weighed */
    const uint64_t *tables, *limit, *rows;
};

/* What belongs to prime i: t, its quotient, t B; inverses of earlier primes; their product; the digits' weights. */
SA_INLINE const uint64_t *sa_hint_row(const struct sa_hint *hint, size_t i)
{
    return hint->rows + i * (SA_HINT_ROW + 2 * (size_t)hint->per);
}
#define SA_ROW_OFFSET 2
#define SA_ROW_INVERSES 4
#define SA_ROW_BEFORE (4 + 2 * SA_HINT_PRIMES)
#define SA_ROW_WEIGHTS SA_HINT_ROW

/* A polynomial of a chunk. */
struct sa_hint_part {
    size_t coefficients, values, first, residue; /* the first value, and the first residue of a sum */
};

#endif
