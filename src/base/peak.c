/* One loop an instruction. Twelve independent accumulators are enough to hide a latency of six at two a cycle; all registers
 * are zero, since some CPUs stumble over denormals. */
#include "base/peak.h"

#include <string.h>
#include <time.h>

#include "base/cpu_features.h"

#if defined(__x86_64__)

enum { ITERATIONS = 100000, ACCUMULATORS = 12 };

#define CLOBBERED                                                                                                      \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15"
#define STEP(op, reg, i) op " %%" reg "12, %%" reg "13, %%" reg #i "\n"
#define PEAK_LOOP(name, op, reg)                                                                                       \
    static void name(void)                                                                                             \
    {                                                                                                                  \
        __asm__ volatile("vzeroall" ::: CLOBBERED);                                                                    \
        for (int i = 0; i < ITERATIONS; i++) {                                                                         \
            __asm__ volatile(STEP(op, reg, 0) STEP(op, reg, 1) STEP(op, reg, 2) STEP(op, reg, 3) STEP(op, reg, 4)      \
                                 STEP(op, reg, 5) STEP(op, reg, 6) STEP(op, reg, 7) STEP(op, reg, 8) STEP(op, reg, 9)  \
                                     STEP(op, reg, 10) STEP(op, reg, 11)::                                             \
                                         : CLOBBERED);                                                                 \
        }                                                                                                              \
        __asm__ volatile("vzeroupper" ::: CLOBBERED);                                                                  \
    }
PEAK_LOOP(fma_ymm, "vfmadd231ps", "ymm")
PEAK_LOOP(fma_zmm, "vfmadd231ps", "zmm")
PEAK_LOOP(bf16_zmm, "vdpbf16ps", "zmm")
PEAK_LOOP(i8_zmm, "vpdpbusd", "zmm")
PEAK_LOOP(i16_ymm, "vpmaddwd", "ymm")

struct loop {
    void (*run)(void);
    double flops; /* of one instruction */
};

/* run is NULL where the CPU has nothing of the kind. */
static struct loop loop_for(const char *tier, embellama_precision precision)
{
    struct emb_cpu_features cpu = emb_cpu_features_read();
    bool wide = cpu.avx512 && strncmp(tier, "avx512", 6) == 0;
    bool bf16 = cpu.avx512bf16 && strcmp(tier, "avx512bf16") == 0;
    bool vnni = cpu.avx512vnni && (bf16 || strcmp(tier, "avx512vnni") == 0);
    if (!cpu.avx2) {
        return (struct loop){0};
    }
    if (precision == EMBELLAMA_PRECISION_INT8) {
        return vnni ? (struct loop){i8_zmm, 128} : (struct loop){i16_ymm, 32};
    }
    if (precision == EMBELLAMA_PRECISION_BF16 && bf16) {
        return (struct loop){bf16_zmm, 64};
    }
    return wide ? (struct loop){fma_zmm, 32} : (struct loop){fma_ymm, 16};
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double emb_peak_measure(const char *tier, embellama_precision precision, double seconds)
{
    struct loop loop = loop_for(tier, precision);
    if (!loop.run) {
        return 0;
    }
    double best = 1e9, start = now(), last = start;
    do {
        loop.run();
        double end = now();
        best = end - last < best ? end - last : best;
        last = end;
    } while (last - start < seconds);
    return best > 0 ? (double)ACCUMULATORS * ITERATIONS * loop.flops / best : 0;
}

#else

double emb_peak_measure(const char *tier, embellama_precision precision, double seconds)
{
    (void)tier;
    (void)precision;
    (void)seconds;
    return 0;
}

#endif
