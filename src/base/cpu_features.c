/* Reading of cpuid and xgetbv (Intel SDM volume 1, sections 14.3 and 15.2; volume 2, CPUID), and of the auxiliary vector
 * on ARM (the kernel's document arm64/elf_hwcaps). */
#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

#define LEAF1_ECX_FMA (1u << 12)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX (1u << 28)
#define LEAF1_ECX_F16C (1u << 29)
#define LEAF7_EBX_AVX2 (1u << 5)
#define LEAF7_EBX_AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) /* F, DQ, BW, VL */
#define LEAF7_ECX_AVX512_VNNI (1u << 11)
#define LEAF7_1_EAX_AVX512_BF16 (1u << 5)
#define XCR0_YMM 0x06u /* xmm and ymm state saved */
#define XCR0_ZMM 0xe6u /* the same, with masks and both halves of the zmm state */

static uint32_t read_xcr0(void)
{
    uint32_t eax, edx;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

struct emb_cpu_features emb_cpu_features_read(void)
{
    struct emb_cpu_features f = {0};
    uint32_t eax, ebx, ecx, edx;
    const uint32_t leaf1 = LEAF1_ECX_FMA | LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX | LEAF1_ECX_F16C;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & leaf1) != leaf1) {
        return f;
    }
    uint32_t xcr0 = read_xcr0();
    if ((xcr0 & XCR0_YMM) != XCR0_YMM || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        return f;
    }
    uint32_t last_subleaf = eax;
    f.avx2 = ebx & LEAF7_EBX_AVX2;
    f.avx512 = f.avx2 && (xcr0 & XCR0_ZMM) == XCR0_ZMM && (ebx & LEAF7_EBX_AVX512) == LEAF7_EBX_AVX512;
    f.avx512vnni = f.avx512 && (ecx & LEAF7_ECX_AVX512_VNNI);
    if (f.avx512 && last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) {
        f.avx512bf16 = eax & LEAF7_1_EAX_AVX512_BF16;
    }
    return f;
}

#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

struct emb_cpu_features emb_cpu_features_read(void)
{
    unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
    struct emb_cpu_features f = {0};
    f.neon = caps & HWCAP_ASIMD;
    f.dotprod = f.neon && (caps & HWCAP_ASIMDDP);
    f.i8mm = f.dotprod && (caps2 & HWCAP2_I8MM);
    f.bf16 = f.neon && (caps2 & HWCAP2_BF16);
    return f;
}

#else

struct emb_cpu_features emb_cpu_features_read(void)
{
    return (struct emb_cpu_features){0};
}

#endif
