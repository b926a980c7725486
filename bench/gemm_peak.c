/* Measures what one core can do at most: twelve independent accumulators, enough to hide a latency of 6 at two a cycle. */
#include "gemm_peak.h"

#include <string.h>
#include <time.h>

#include "base/cpu_features.h"

#define ITERATIONS 100000
#define RUNS 30

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#if defined(__x86_64__)
#define STEP(op, reg, i) op " %%" reg "12, %%" reg "13, %%" reg #i "\n"
#define STEPS(op, reg)                                                                                                 \
    STEP(op, reg, 0)                                                                                                   \
    STEP(op, reg, 1)                                                                                                   \
    STEP(op, reg, 2)                                                                                                   \
    STEP(op, reg, 3)                                                                                                   \
    STEP(op, reg, 4)                                                                                                   \
    STEP(op, reg, 5)                                                                                                   \
    STEP(op, reg, 6)                                                                                                   \
    STEP(op, reg, 7)                                                                                                   \
    STEP(op, reg, 8)                                                                                                   \
    STEP(op, reg, 9)                                                                                                   \
    STEP(op, reg, 10)                                                                                                  \
    STEP(op, reg, 11)
#define LOOP(name, op, reg)                                                                                            \
    static void name(void)                                                                                             \
    {                                                                                                                  \
        for (int i = 0; i < ITERATIONS; i++) {                                                                         \
            __asm__ volatile(STEPS(op, reg)::                                                                          \
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",     \
                                   "xmm10", "xmm11");                                                                  \
        }                                                                                                              \
    }
LOOP(fma_ymm, "vfmadd231ps", "ymm")
LOOP(fma_zmm, "vfmadd231ps", "zmm")
LOOP(bf16_zmm, "vdpbf16ps", "zmm")
LOOP(i8_zmm, "vpdpbusd", "zmm")
LOOP(i16_ymm, "vpmaddwd", "ymm")

static double peak_of(void (*loop)(void), double flops_per_op)
{
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        double start = bench_now();
        loop();
        double seconds = bench_now() - start;
        best = seconds < best ? seconds : best;
    }
    return 12.0 * ITERATIONS * flops_per_op / best * 1e-9;
}
#endif

struct bench_peaks bench_peaks_of(const char *tier)
{
    struct bench_peaks p = {0, 0, 0};
#if defined(__x86_64__)
    struct emb_cpu_features cpu = emb_cpu_features_read();
    bool bf16 = cpu.avx512bf16 && strcmp(tier, "avx512bf16") == 0;
    bool vnni = cpu.avx512vnni && (strcmp(tier, "avx512vnni") == 0 || bf16);
    if (cpu.avx2) {
        p.f32 = cpu.avx512 && strncmp(tier, "avx512", 6) == 0 ? peak_of(fma_zmm, 32) : peak_of(fma_ymm, 16);
        p.bf16 = bf16 ? peak_of(bf16_zmm, 64) : p.f32;
        p.i8 = vnni ? peak_of(i8_zmm, 128) : peak_of(i16_ymm, 32);
    }
#else
    (void)tier;
#endif
    return p;
}
