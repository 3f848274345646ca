/* Sums of residue polynomials, as SEAL lays them out: polynomial by polynomial, in each prime by prime, little-endian. */
#include "residues.h"

struct residues {
    sa_residues_check_fn *check;
    sa_residues_fold_fn *fold;
};

/* By the features that the selected implementation may use, so that forcing one by name forces these too. */
static struct residues chosen(void)
{
#if defined(SA_X86_64)
    const uint32_t features = sa_impl()->requires;
    if ((features & SA_CPU_AVX512) != 0)
        return (struct residues){sa_residues_check_u64_avx512, sa_residues_fold_u64_avx512};
    if ((features & SA_CPU_AVX2) != 0)
        return (struct residues){sa_residues_check_u64_avx2, sa_residues_fold_u64_avx2};
#elif defined(SA_NEON_AES)
    if (sa_impl()->requires != 0)
        return (struct residues){sa_residues_check_u64_neon, sa_residues_fold_u64_neon};
#endif
    return (struct residues){sa_residues_check_u64_portable, sa_residues_fold_u64_portable};
}

/* CT: secret=none (ciphertexts); public=all */
int sa_residues_add_u64(uint64_t *acc, const uint8_t *x, size_t n, const uint64_t *moduli, size_t nmoduli, size_t npolys)
{
    const struct residues impl = chosen();
    uint64_t bad = 0;
    for (size_t k = 0; k < nmoduli; k++)
        if (moduli[k] < 2 || moduli[k] > (uint64_t)1 << 61)
            return SA_ERR_ARGUMENT;
    for (size_t j = 0; j < npolys * nmoduli; j++)
        bad |= impl.check(x + 8 * n * j, n, moduli[j % nmoduli]);
    if (bad >> 63 != 0)
        return SA_ERR_VALUE;
    for (size_t j = 0; j < npolys * nmoduli; j++)
        impl.fold(acc + n * j, x + 8 * n * j, n, moduli[j % nmoduli]);
    return SA_OK;
}
