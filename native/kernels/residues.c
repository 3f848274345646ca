/* Sums of residue polynomials, as SEAL lays them out: polynomial by polynomial, in each prime by prime, little-endian. */
#include "../common/load.h"
#include "residues.h"

/* By the features that the selected implementation may use, so that forcing one by name forces these too. */
static sa_residues_fold_fn *chosen(void)
{
#if defined(SA_X86_64)
    const uint32_t features = sa_impl()->requires;
    if ((features & SA_CPU_AVX512) != 0)
        return sa_residues_fold_u64_avx512;
    if ((features & SA_CPU_AVX2) != 0)
        return sa_residues_fold_u64_avx2;
#elif defined(SA_NEON_AES)
    if (sa_impl()->requires != 0)
        return sa_residues_fold_u64_neon;
#endif
    return sa_residues_fold_u64_portable;
}

/* Undoes a fold exactly, also of x that is not below q: of acc - x and acc - x + q, what was there before is the one below q,
 * and the other is larger or wrapped. CT: secret=none; public=all */
static void unfold(uint64_t *acc, const uint8_t *x, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t less = acc[i] - sa_load64(x + 8 * i), more = less + q;
        acc[i] = less < more ? less : more;
    }
}

/* Which part of acc, which of which buffer, modulo what, at step s: all buffers of a row before the next row, so that the row
 * stays in a cache. */
struct step {
    uint64_t *acc;
    const uint8_t *x;
    uint64_t q;
};
struct plan {
    uint64_t *acc;
    const uint8_t *const *bufs;
    size_t depth, n, parts, nmoduli;
    const uint64_t *moduli;
};

static struct step step_at(const struct plan *p, size_t s)
{
    const size_t j = s % p->parts, buf = s / p->parts, row = buf / p->depth;
    return (struct step){p->acc + p->n * (row * p->parts + j), p->bufs[buf] + 8 * p->n * j, p->moduli[j % p->nmoduli]};
}

/* One pass, since memory is what it waits for: a residue too large is noticed while it is added, and then all is undone, the
 * last first. CT: secret=none (ciphertexts); public=all */
int sa_residues_add_u64(uint64_t *acc, size_t rows, const uint8_t *const *bufs, size_t depth, size_t n,
                        const uint64_t *moduli, size_t nmoduli, size_t npolys)
{
    sa_residues_fold_fn *const fold = chosen();
    const struct plan plan = {acc, bufs, depth, n, npolys * nmoduli, nmoduli, moduli};
    const size_t steps = rows * plan.parts * depth;
    for (size_t k = 0; k < nmoduli; k++)
        if (moduli[k] < 2 || moduli[k] > (uint64_t)1 << 61)
            return SA_ERR_ARGUMENT;
    for (size_t s = 0; s < steps; s++) {
        const struct step at = step_at(&plan, s);
        if (fold(at.acc, at.x, n, at.q) >> 63 == 0)
            continue;
        for (size_t back = s + 1; back-- > 0;) {
            const struct step was = step_at(&plan, back);
            unfold(was.acc, was.x, n, was.q);
        }
        return SA_ERR_VALUE;
    }
    return SA_OK;
}
