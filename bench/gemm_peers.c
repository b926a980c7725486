/* Our matrix product beside libxsmm's and oneDNN's, on one core, as a share of the core's measured peak.
 *
 *     gemm_peers [TIER]
 *
 * TIER avx2 caps the libraries to AVX2 too. Contenders take turns within one run; medians. Weights are packed beforehand
 * and used again and again (warm), but for the column "cold", where copies beyond the L2 cache take turns. Each library's
 * output is checked against sums of products of the same operands. */
#include "gemm_peers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "kernel/kernel.h"
#include "gemm_peak.h"

#define SAMPLES 15
#define TRIAL_SAMPLES 3
#define SAMPLE_SECONDS 0.004
#define COLD_BYTES ((size_t)24 << 20)
#define CHECKS 64

static const size_t ms[] = {16, 64, 128, 512};
static const struct {
    size_t k, n;
} sizes[] = {{384, 1536}, {768, 3072}};

/* All an instance of one product needs. */
struct ours {
    const struct emb_gemm *gemm;
    struct emb_gemm_job job;
    char *weights; /* copies, of which each run takes the next */
    size_t size, copies, next;
};

void *bench_buffer(size_t bytes)
{
    void *p = emb_alloc_aligned(64, bytes);
    if (!p) {
        fprintf(stderr, "gemm_peers: out of memory\n");
        exit(1);
    }
    memset(p, 0, bytes);
    return p;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sample(const struct bench_contender *c, size_t calls)
{
    double start = bench_now();
    for (size_t i = 0; i < calls; i++) {
        c->run(c->state);
    }
    return (bench_now() - start) / (double)calls;
}

static size_t calls_of(const struct bench_contender *c)
{
    sample(c, 1);
    return (size_t)(SAMPLE_SECONDS / sample(c, 1)) + 1;
}

double bench_trial(const struct bench_contender *c)
{
    double best = 1e9;
    size_t calls = calls_of(c);
    for (int i = 0; i < TRIAL_SAMPLES; i++) {
        double seconds = sample(c, calls);
        best = seconds < best ? seconds : best;
    }
    return best;
}

/* Medians of all of them, sampled in turn. Those without run get 0. */
static void medians(const struct bench_contender *c, size_t n, double *out)
{
    double seconds[8][SAMPLES];
    size_t calls[8];
    for (size_t i = 0; i < n; i++) {
        calls[i] = c[i].run ? calls_of(&c[i]) : 0;
    }
    for (size_t s = 0; s < SAMPLES; s++) {
        for (size_t i = 0; i < n; i++) {
            seconds[i][s] = c[i].run ? sample(&c[i], calls[i]) : 0;
        }
    }
    for (size_t i = 0; i < n; i++) {
        qsort(seconds[i], SAMPLES, sizeof seconds[i][0], by_value);
        out[i] = seconds[i][SAMPLES / 2];
    }
}

static void run_ours(void *state)
{
    struct ours *s = state;
    s->job.w = s->weights + s->next * s->size;
    s->next = (s->next + 1) % s->copies;
    s->gemm->run(&s->job);
}

static struct bench_contender ours_new(const struct emb_gemm *gemm, const struct bench_operands *o, bool fused,
                                       bool cold)
{
    struct ours *s = bench_buffer(sizeof *s);
    size_t size = gemm->packed_size(o->n, o->k);
    void *a = bench_buffer(o->m * o->k * sizeof(float));
    float *scales = bench_buffer(o->m * sizeof(float));
    if (gemm->encode) {
        gemm->encode(o->x, o->m, o->k, a, scales);
    } else {
        memcpy(a, o->x, o->m * o->k * sizeof(float));
    }
    *s = (struct ours){.gemm = gemm, .size = size, .copies = cold ? COLD_BYTES / size + 2 : 1};
    s->weights = bench_buffer(size * s->copies);
    for (size_t i = 0; i < s->copies; i++) {
        gemm->pack(s->weights + i * size, o->w, 0, o->n, o->n, o->k);
    }
    s->job = (struct emb_gemm_job){.a = a,
                                   .lda = o->k,
                                   .a_scales = scales,
                                   .m = o->m,
                                   .n = o->n,
                                   .k = o->k,
                                   .n1 = o->n,
                                   .bias = fused ? bench_buffer(o->n * sizeof(float)) : NULL,
                                   .act = fused ? EMB_ACT_GELU : EMB_ACT_NONE,
                                   .out = bench_buffer(o->m * o->n * sizeof(float)),
                                   .ldo = o->n};
    return (struct bench_contender){run_ours, s, s->job.out};
}

static uint32_t random_bits(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static float from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* x and w are set for every type: our int8 makes its own of them. */
static struct bench_operands operands_new(enum bench_type type, size_t m, size_t k, size_t n,
                                          const struct emb_kernels *t)
{
    float *x = bench_buffer(m * k * sizeof *x), *w = bench_buffer(n * k * sizeof *w);
    uint16_t *x16 = bench_buffer(m * k * sizeof *x16), *w16 = bench_buffer(n * k * sizeof *w16);
    uint8_t *xu8 = bench_buffer(m * k);
    int8_t *w8 = bench_buffer(n * k);
    for (size_t i = 0; i < m * k; i++) {
        x[i] = (float)random_bits() * 0x1p-23f - 1.0f;
        xu8[i] = (uint8_t)random_bits();
    }
    for (size_t i = 0; i < n * k; i++) {
        w[i] = (float)random_bits() * 0x1p-23f - 1.0f;
        w8[i] = (int8_t)(random_bits() % 255) - 127;
    }
    t->f32_to_bf16(x, m * k, x16);
    t->f32_to_bf16(w, n * k, w16);
    return (struct bench_operands){type, m, k, n, x, w, x16, w16, xu8, w8};
}

/* Some elements of the output against the sum in double. */
static bool right(const struct bench_contender *c, const struct bench_operands *o)
{
    c->run(c->state);
    for (int check = 0; check < CHECKS; check++) {
        size_t row = random_bits() % o->m, column = random_bits() % o->n;
        double sum = 0;
        for (size_t i = 0; i < o->k; i++) {
            size_t xi = row * o->k + i, wi = column * o->k + i;
            sum += o->type == BENCH_F32    ? (double)o->x[xi] * (double)o->w[wi]
                   : o->type == BENCH_BF16 ? (double)from_bf16(o->x16[xi]) * (double)from_bf16(o->w16[wi])
                                           : (double)o->xu8[xi] * o->w8[wi];
        }
        size_t at = row * o->n + column;
        double got = o->type == BENCH_I8 ? (double)((const int32_t *)c->out)[at] : (double)((const float *)c->out)[at];
        if (fabs(got - sum) > 1e-3 * sqrt((double)o->k)) {
            return false;
        }
    }
    return true;
}

static struct bench_contender checked(bool made, struct bench_contender c, const struct bench_operands *o,
                                      const char *name)
{
    if (made && !right(&c, o)) {
        fprintf(stderr, "gemm_peers: %s computes something else; left out\n", name);
        made = false;
    }
    return made ? c : (struct bench_contender){0};
}

static void bench_one(const struct emb_kernels *t, enum bench_type type, size_t m, size_t k, size_t n, double peak)
{
    static const char *const names[] = {"f32", "bf16", "int8"};
    const struct emb_gemm *gemms[] = {&t->gemm_f32, &t->gemm_bf16, &t->gemm_i8};
    struct bench_operands o = operands_new(type, m, k, n, t);
    struct bench_contender libxsmm = {0}, onednn = {0};
    bool has_libxsmm = bench_libxsmm_new(&libxsmm, &o), has_onednn = bench_onednn_new(&onednn, &o);
    struct bench_contender all[] = {ours_new(gemms[type], &o, false, false),
                                    checked(has_libxsmm, libxsmm, &o, "libxsmm"),
                                    checked(has_onednn, onednn, &o, "oneDNN"), ours_new(gemms[type], &o, true, false),
                                    ours_new(gemms[type], &o, false, true)};
    double seconds[5];
    medians(all, 5, seconds);
    double flops = 2e-9 * (double)(m * k * n);
    printf("| %s %zu x %zu x %zu | %.0f |", names[type], m, k, n, flops / seconds[0]);
    for (size_t i = 0; i < 5; i++) {
        if (all[i].run) {
            printf(" %.1f %% |", 100.0 * flops / seconds[i] / peak);
        } else {
            printf(" |");
        }
    }
    printf("\n");
    fflush(stdout);
}

/* oneDNN's OpenMP reads its environment before main. */
static void ensure_one_thread(char **argv)
{
    const char *threads = getenv("OMP_NUM_THREADS");
    if (!threads || strcmp(threads, "1") != 0) {
        setenv("OMP_NUM_THREADS", "1", 1);
        execv("/proc/self/exe", argv);
        perror("gemm_peers: cannot start again with one thread");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    ensure_one_thread(argv);
    const struct emb_kernels *t = emb_kernels_get(argc > 1 ? argv[1] : NULL);
    if (!t || argc > 2) {
        fprintf(stderr, "usage: gemm_peers [TIER]\n");
        return 2;
    }
    if (strcmp(t->tier, "avx2") == 0) {
        bench_libxsmm_cap_avx2();
        bench_onednn_cap_avx2();
    }
    struct bench_peaks peaks = bench_peaks_of(t->tier);
    const double peak[] = {peaks.f32, peaks.bf16, peaks.i8};
    printf("Tier %s, one core; measured peak in GFLOP/s: f32 %.0f, bf16 %.0f, int8 %.0f\n\n", t->tier, peaks.f32,
           peaks.bf16, peaks.i8);
    printf(
        "| m x k x n | ours, GFLOP/s | ours, of the peak | libxsmm | oneDNN | ours with bias and GELU | ours, cold |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (int type = BENCH_F32; type <= BENCH_I8; type++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
                bench_one(t, (enum bench_type)type, ms[i], sizes[s].k, sizes[s].n, peak[type]);
            }
        }
    }
    return 0;
}
