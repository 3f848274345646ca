/* The implementations of residues.c. Internal. */
#ifndef SA_RESIDUES_H
#define SA_RESIDUES_H

#include "../dispatch.h"

typedef uint64_t sa_residues_check_fn(const uint8_t *x, size_t n, uint64_t q);
typedef void sa_residues_fold_fn(uint64_t *acc, const uint8_t *x, size_t n, uint64_t q);

#define SA_DECLARE_RESIDUES(isa)                    \
    sa_residues_check_fn sa_residues_check_u64_##isa; \
    sa_residues_fold_fn sa_residues_fold_u64_##isa;

SA_DECLARE_RESIDUES(portable)
#if defined(SA_X86_64)
SA_DECLARE_RESIDUES(avx2)
SA_DECLARE_RESIDUES(avx512)
#elif defined(SA_NEON_AES)
SA_DECLARE_RESIDUES(neon)
#endif

#endif
