/* The implementations of residues.c. Internal. */
#ifndef SA_RESIDUES_H
#define SA_RESIDUES_H

#include "../dispatch.h"

typedef uint64_t sa_residues_fold_fn(uint64_t *acc, const uint8_t *x, size_t n, uint64_t q);

sa_residues_fold_fn sa_residues_fold_u64_portable;
#if defined(SA_X86_64)
sa_residues_fold_fn sa_residues_fold_u64_avx2;
sa_residues_fold_fn sa_residues_fold_u64_avx512;
#elif defined(SA_NEON_AES)
sa_residues_fold_fn sa_residues_fold_u64_neon;
#endif

#endif
