/* Which implementation runs: found once by CPUID and XGETBV, or chosen by name. */
#include "dispatch.h"

#include <string.h>

#ifdef SA_X86_64
#include <cpuid.h>
#endif

#define SA_MASKS(isa) {sa_mask_apply_u16_##isa, sa_mask_apply_u32_##isa, sa_mask_apply_u64_##isa}
#define SA_ENCODES(isa)                                                                                    \
    {                                                                                                      \
        {sa_fixed_encode_f32_u16_##isa, sa_fixed_encode_f32_u32_##isa, sa_fixed_encode_f32_u64_##isa},     \
        {sa_fixed_encode_f64_u16_##isa, sa_fixed_encode_f64_u32_##isa, sa_fixed_encode_f64_u64_##isa},     \
    }

/* Best first. */
static const struct sa_impl impls[] = {
#ifdef SA_X86_64
    {"vaes512", SA_CPU_AES | SA_CPU_SSE41 | SA_CPU_VAES | SA_CPU_AVX512, 176, 512, sa_key_expand_vaes512,
     SA_MASKS(vaes512), SA_ENCODES(avx512)},
    {"aesni", SA_CPU_AES | SA_CPU_SSE41, 176, 128, sa_key_expand_aesni, SA_MASKS(aesni), SA_ENCODES(portable)},
#endif
    {"portable", 0, 704, 128, sa_key_expand_portable, SA_MASKS(portable), SA_ENCODES(portable)},
};
#define SA_IMPLS (sizeof impls / sizeof impls[0])

static const struct sa_impl *selected;

#ifdef SA_X86_64
static uint64_t read_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ __volatile__(".byte 0x0f, 0x01, 0xd0" : "=a"(lo), "=d"(hi) : "c"(0)); /* xgetbv */
    return ((uint64_t)hi << 32) | lo;
}

static uint32_t cpu_features(void)
{
    unsigned a, b, c, d;
    uint32_t found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    found |= (c >> 25 & 1) ? SA_CPU_AES : 0;
    found |= (c >> 19 & 1) ? SA_CPU_SSE41 : 0;
    const int osxsave = c >> 27 & 1;
    /* XMM, YMM, opmask and both halves of ZMM must be saved by the OS. */
    if (!osxsave || (read_xcr0() & 0xe6) != 0xe6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return found;
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    found |= (b & f_dq_bw_vl) == f_dq_bw_vl ? SA_CPU_AVX512 : 0;
    found |= (c >> 9 & 1) ? SA_CPU_VAES : 0;
    return found;
}
#else
static uint32_t cpu_features(void)
{
    return 0;
}
#endif

static int runs_here(const struct sa_impl *impl)
{
    return (impl->requires & ~cpu_features()) == 0;
}

const struct sa_impl *sa_impl(void)
{
    if (selected == NULL)
        sa_select(sa_available(0));
    return selected;
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
            selected = &impls[i];
            return SA_OK;
        }
    return SA_ERR_UNKNOWN;
}

const char *sa_compiler(void)
{
#if defined(__clang__)
    return __VERSION__;
#else
    return "GCC " __VERSION__;
#endif
}
