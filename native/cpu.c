/* What this processor can do and the operating system saves: CPUID and XGETBV on x86-64, hardware capabilities on AArch64. */
#include "dispatch.h"

#if defined(SA_X86_64)
#include <cpuid.h>

static uint64_t read_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ __volatile__(".byte 0x0f, 0x01, 0xd0" : "=a"(lo), "=d"(hi) : "c"(0)); /* xgetbv */
    return ((uint64_t)hi << 32) | lo;
}

static uint32_t detect(void)
{
    unsigned a, b, c, d;
    uint32_t found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    found |= (c >> 25 & 1) ? SA_CPU_AES : 0;
    found |= (c >> 19 & 1) ? SA_CPU_SSE41 : 0;
    const int osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1;
    const uint64_t saved = osxsave ? read_xcr0() : 0;
    if (!avx || (saved & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return found; /* XMM and YMM are not saved, or there is no leaf 7 */
    found |= (b >> 5 & 1) ? SA_CPU_AVX2 : 0;
    found |= fma ? SA_CPU_FMA : 0;
    found |= (c >> 9 & 1) ? SA_CPU_VAES : 0;
    if ((saved & 0xe6) != 0xe6)
        return found; /* nor opmask and both halves of ZMM */
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, vbmi_vbmi2 = 1u << 1 | 1u << 6;
    if ((b & f_dq_bw_vl) == f_dq_bw_vl) {
        found |= SA_CPU_AVX512;
        found |= (c & vbmi_vbmi2) == vbmi_vbmi2 ? SA_CPU_VBMI2 : 0;
        found |= (b >> 21 & 1) != 0 && (c >> 14 & 1) != 0 ? SA_CPU_IFMA : 0;
    }
    return found;
}

#elif defined(SA_AARCH64) && defined(__linux__)
#include <sys/auxv.h>

#define SA_HWCAP_AES (1ul << 3) /* asm/hwcap.h */

static uint32_t detect(void)
{
    return (getauxval(AT_HWCAP) & SA_HWCAP_AES) != 0 ? SA_CPU_AES : 0;
}

#elif defined(SA_AARCH64) && defined(__APPLE__)
static uint32_t detect(void)
{
    return SA_CPU_AES; /* every 64-bit Apple processor has it */
}

#else
static uint32_t detect(void)
{
    return 0;
}
#endif

/* Features that a build for tests takes as missing. */
#ifndef SA_HIDDEN_FEATURES
#define SA_HIDDEN_FEATURES 0
#endif

/* Asked once: in a virtual machine each CPUID leaves it, and costs tens of microseconds. */
uint32_t sa_cpu_features(void)
{
    static uint32_t known;
    const uint32_t asked = 1u << 31;
    uint32_t found = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (found == 0) {
        found = detect() | asked;
        __atomic_store_n(&known, found, __ATOMIC_RELAXED);
    }
    return found & ~asked & ~(uint32_t)SA_HIDDEN_FEATURES;
}
