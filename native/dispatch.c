/* Which implementation runs: the best one that this processor has the features for, or the one chosen by name. */
#include "dispatch.h"
#include "ring.h"

#include <string.h>

#define SA_AES(isa)                                \
    sa_key_expand_##isa, sa_aes_rounds_##isa,      \
    {                                              \
        sa_mask_apply_u16_##isa, sa_mask_apply_u32_##isa, sa_mask_apply_u64_##isa \
    }
#define SA_ENCODES(isa)                                                                                    \
    {                                                                                                      \
        {sa_fixed_encode_f32_u16_##isa, sa_fixed_encode_f32_u32_##isa, sa_fixed_encode_f32_u64_##isa},     \
        {sa_fixed_encode_f64_u16_##isa, sa_fixed_encode_f64_u32_##isa, sa_fixed_encode_f64_u64_##isa},     \
    },                                                                                                     \
        sa_fixed_decode_u64_##isa

#define SA_PACKS(isa16, isa32, isa64)                                                                      \
    {sa_pack_run_u16_##isa16, sa_pack_run_u32_##isa32, sa_pack_run_u64_##isa64},                           \
        {sa_unpack_run_u16_##isa16, sa_unpack_run_u32_##isa32, sa_unpack_run_u64_##isa64},                 \
    {                                                                                                      \
        sa_unpack_add_run_u16_##isa16, sa_unpack_add_run_u32_##isa32, sa_unpack_add_run_u64_##isa64        \
    }
#define SA_PACKS_AVX512 SA_PACKS(avx512, avx512, avx512)
#define SA_PACKS_AVX2 SA_PACKS(avx2, avx2, portable)
#define SA_PACKS_PORTABLE SA_PACKS(portable, portable, portable)

#define SA_CPU_VAES512 (SA_CPU_AES | SA_CPU_SSE41 | SA_CPU_AVX2 | SA_CPU_VAES | SA_CPU_AVX512 | SA_CPU_VBMI2)
#define SA_CPU_VAES256 (SA_CPU_AES | SA_CPU_SSE41 | SA_CPU_AVX2 | SA_CPU_VAES)

/* Best first. */
static const struct sa_impl impls[] = {
#if defined(SA_X86_64)
    {"vaes512", SA_CPU_VAES512, 176, 512, SA_AES(vaes512), SA_ENCODES(avx512), SA_PACKS_AVX512,
     sa_split_run_u64_avx512, &sa_ring_ifma},
    {"vaes256", SA_CPU_VAES256, 176, 256, SA_AES(vaes256), SA_ENCODES(avx2), SA_PACKS_AVX2,
     sa_split_run_u64_avx2, &sa_ring_avx2},
    {"avx2", SA_CPU_AES | SA_CPU_SSE41 | SA_CPU_AVX2, 176, 128, SA_AES(avx2), SA_ENCODES(avx2), SA_PACKS_AVX2,
     sa_split_run_u64_avx2, &sa_ring_avx2},
    {"aesni", SA_CPU_AES | SA_CPU_SSE41, 176, 128, SA_AES(aesni), SA_ENCODES(portable), SA_PACKS_PORTABLE,
     sa_split_run_u64_portable, &sa_ring_portable},
#elif defined(SA_NEON_AES)
    {"neon", SA_CPU_AES, 176, 128, SA_AES(neon), SA_ENCODES(neon), SA_PACKS_PORTABLE,
     sa_split_run_u64_portable, &sa_ring_neon},
#endif
    {"portable", 0, 704, 128, SA_AES(portable), SA_ENCODES(portable), SA_PACKS_PORTABLE,
     sa_split_run_u64_portable, &sa_ring_portable},
};
#define SA_IMPLS (sizeof impls / sizeof impls[0])

/* Read while other threads are in kernels; atomic, as what is chosen at import may be chosen again in a test. */
static const struct sa_impl *selected;

static int runs_here(const struct sa_impl *impl)
{
    return (impl->requires & ~sa_cpu_features()) == 0;
}

const struct sa_impl *sa_impl(void)
{
    if (__atomic_load_n(&selected, __ATOMIC_ACQUIRE) == NULL)
        sa_select(sa_available(0));
    return __atomic_load_n(&selected, __ATOMIC_ACQUIRE);
}

const struct sa_ring_impl *sa_ring_kernels(const struct sa_impl *impl, unsigned bits)
{
    const struct sa_ring_impl *ring = impl->ring;
    /* The last one needs no features, and gets what no other is for. */
    while (ring->otherwise != NULL && ((ring->requires & ~sa_cpu_features()) != 0 || bits > ring->max_bits))
        ring = ring->otherwise;
    return ring;
}

const char *sa_available(size_t index)
{
    for (size_t i = 0; i < SA_IMPLS; i++)
        if (runs_here(&impls[i]) && index-- == 0)
            return impls[i].name;
    return NULL;
}

const char *sa_selected(void)
{
    return sa_impl()->name;
}

int sa_select(const char *name)
{
    for (size_t i = 0; i < SA_IMPLS; i++)
        if (strcmp(impls[i].name, name) == 0 && runs_here(&impls[i])) {
            __atomic_store_n(&selected, &impls[i], __ATOMIC_RELEASE);
            return SA_OK;
        }
    return SA_ERR_UNKNOWN;
}

/* CT: secret=none; public=all. For benchmarks: no keystream comes out. */
int sa_aes_rounds(uint8_t *state, size_t state_bytes, size_t nbytes)
{
    const struct sa_impl *impl = sa_impl();
    if (state_bytes < impl->chunk_bytes)
        return SA_ERR_ARGUMENT;
    impl->rounds(state, nbytes / impl->chunk_bytes);
    return SA_OK;
}

const char *sa_compiler(void)
{
#if defined(__clang__)
    return __VERSION__;
#else
    return "GCC " __VERSION__;
#endif
}
