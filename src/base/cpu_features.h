/* What the CPU and the operating system let this process run.
 *
 * Owns the reading of cpuid and xgetbv, and of what the kernel says of ARM CPUs. Chooses nothing: src/kernel/dispatch.c does. */
#ifndef EMB_CPU_FEATURES_H
#define EMB_CPU_FEATURES_H

#include <stdbool.h>

/* A feature is set only where the system also saves the registers it needs. All false on other CPUs than x86-64 and
 * 64-bit ARM. */
struct emb_cpu_features {
    bool avx2;       /* AVX2, FMA and F16C */
    bool avx512;     /* AVX-512 F, BW, DQ and VL, and all of avx2 */
    bool avx512bf16; /* AVX-512 BF16, and all of avx512 */
    bool avx512vnni; /* AVX-512 VNNI, and all of avx512 */
    bool neon;       /* Advanced SIMD, the base of armv8-a */
    bool dotprod;    /* sdot, and all of neon */
    bool i8mm;       /* smmla, and all of dotprod */
    bool bf16;       /* bfmmla and bfcvtn, and all of neon */
};

/* Asks the CPU: some microseconds under a hypervisor, so ask once. Safe from many threads. */
struct emb_cpu_features emb_cpu_features_read(void);

#endif
