/* Speed of each kernel of each tier this CPU has, on one core, against the peak measured here too.
 *
 * Usage: kernel_bench [TIER]. GFLOP/s are of the best of several runs; the percentage is of the peak of the widest
 * multiply-add the tier uses. */
#include "base/mem.h"
#include "base/peak.h"
#include "kernel/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUN_SECONDS 0.001 /* short enough that many are not interrupted */
#define RUNS 100
#define SLOW_SECONDS 0.02 /* a call from here on is run SLOW_RUNS times only */
#define SLOW_RUNS 3
#define PEAK_SECONDS 0.05

/* The thread's own time, so that other programs cost less. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds_of(void (*fn)(void *), void *arg, size_t calls)
{
    double start = now();
    for (size_t i = 0; i < calls; i++) {
        fn(arg);
    }
    return (now() - start) / (double)calls;
}

/* Seconds of one call, the best of some runs of about RUN_SECONDS each. */
static double best_seconds(void (*fn)(void *), void *arg)
{
    double best = seconds_of(fn, arg, 1);
    size_t calls = (size_t)(RUN_SECONDS / best) + 1;
    int runs = best < SLOW_SECONDS ? RUNS : SLOW_RUNS;
    for (int i = 0; i < runs; i++) {
        double seconds = seconds_of(fn, arg, calls);
        best = seconds < best ? seconds : best;
    }
    return best;
}

struct peaks {
    double f32, bf16, i8; /* GFLOP/s; 0 where not known */
};

static struct peaks measure_peaks(const char *tier)
{
    return (struct peaks){
        .f32 = emb_peak_measure(tier, EMBELLAMA_PRECISION_F32, PEAK_SECONDS) * 1e-9,
        .bf16 = emb_peak_measure(tier, EMBELLAMA_PRECISION_BF16, PEAK_SECONDS) * 1e-9,
        .i8 = emb_peak_measure(tier, EMBELLAMA_PRECISION_INT8, PEAK_SECONDS) * 1e-9,
    };
}

static void *buffer(size_t bytes)
{
    void *p = emb_alloc_aligned(64, bytes);
    if (!p) {
        fprintf(stderr, "kernel_bench: out of memory\n");
        _Exit(1);
    }
    memset(p, 0, bytes);
    return p;
}

static float *random_floats(size_t n)
{
    float *x = buffer(n * sizeof(float));
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return x;
}

static void report(const char *tier, const char *what, double gflops, double peak)
{
    printf("%-11s %-44s %8.1f GFLOP/s", tier, what, gflops);
    if (peak > 0) {
        printf("  %5.1f %% of peak", 100.0 * gflops / peak);
    }
    printf("\n");
}

struct gemm_call {
    const struct emb_gemm *gemm;
    struct emb_gemm_job job;
};

static void call_gemm(void *arg)
{
    struct gemm_call *call = arg;
    call->gemm->run(&call->job);
}

struct shape {
    size_t m, k, n;
    bool bias;
    enum emb_act act;
    bool residual;
    const char *end;
};

#define PLAIN false, EMB_ACT_NONE, false, "plain"
#define BIAS true, EMB_ACT_NONE, false, "bias"
#define GELU true, EMB_ACT_GELU, false, "bias+gelu"
#define RESIDUAL true, EMB_ACT_NONE, true, "bias+residual"

static const struct shape shapes[] = {
    {16, 384, 1536, PLAIN}, {64, 384, 1536, PLAIN},     {128, 384, 1536, PLAIN}, {512, 384, 1536, PLAIN},
    {16, 768, 3072, PLAIN}, {64, 768, 3072, PLAIN},     {128, 768, 3072, PLAIN}, {512, 768, 3072, PLAIN},
    {128, 384, 1152, BIAS}, {128, 384, 384, RESIDUAL},  {128, 384, 1536, BIAS},  {16, 384, 1536, GELU},
    {128, 384, 1536, GELU}, {128, 1536, 384, RESIDUAL}, {512, 1024, 1024, BIAS}, {1, 384, 1536, PLAIN},
    {2, 384, 1536, PLAIN},  {4, 384, 1536, PLAIN},      {8, 384, 1536, PLAIN},
};

/* x as the product takes it; the caller frees a and scales. */
static void encode(const struct emb_gemm *gemm, const float *x, size_t rows, size_t k, void **a, float **scales)
{
    *a = buffer(rows * k * gemm->a_size);
    *scales = buffer(rows * sizeof(float));
    if (gemm->encode) {
        gemm->encode(x, rows, k, *a, *scales);
    } else {
        memcpy(*a, x, rows * k * sizeof(*x));
    }
}

static void bench_gemm(const char *tier, const struct emb_gemm *gemm, double peak)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *s = &shapes[i];
        float *w = random_floats(s->n * s->k), *x = random_floats(s->m * s->k), *bias = random_floats(s->n);
        float *residual = random_floats(s->m * s->n), *out = buffer(s->m * s->n * sizeof(float)), *scales;
        void *packed = buffer(gemm->packed_size(s->n, s->k)), *a;
        gemm->pack(packed, w, 0, s->n, s->n, s->k);
        encode(gemm, x, s->m, s->k, &a, &scales);
        struct gemm_call call = {gemm,
                                 {.a = a,
                                  .lda = s->k,
                                  .a_scales = scales,
                                  .m = s->m,
                                  .w = packed,
                                  .n = s->n,
                                  .k = s->k,
                                  .n1 = s->n,
                                  .bias = s->bias ? bias : NULL,
                                  .act = s->act,
                                  .residual = s->residual ? residual : NULL,
                                  .ldr = s->n,
                                  .out = out,
                                  .ldo = s->n,
                                  .out_bf16 = gemm->a_size == sizeof(emb_bf16) && s->act == EMB_ACT_GELU}};
        double seconds = best_seconds(call_gemm, &call);
        char what[96];
        snprintf(what, sizeof(what), "%s %zux%zux%zu %s", gemm->name, s->m, s->k, s->n, s->end);
        report(tier, what, 2e-9 * (double)(s->m * s->k * s->n) / seconds, peak);
        void *all[] = {w, x, bias, residual, out, a, scales, packed};
        for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++) {
            emb_free(all[j]);
        }
    }
}

struct convert_call {
    const struct emb_gemm *gemm;
    const float *x;
    size_t rows, k;
    void *a;
    float *scales;
};

static void call_encode(void *arg)
{
    const struct convert_call *c = arg;
    c->gemm->encode(c->x, c->rows, c->k, c->a, c->scales);
}

static void call_pack(void *arg)
{
    const struct convert_call *c = arg;
    c->gemm->pack(c->a, c->x, 0, c->rows, c->rows, c->k);
}

/* What turns activations and weights into the product's types. */
static void bench_convert(const char *tier, const struct emb_gemm *gemm)
{
    static const size_t depths[] = {384, 1536};
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        struct convert_call c = {.gemm = gemm, .rows = 128, .k = depths[i]};
        float *x = random_floats(c.rows * c.k);
        double elements = (double)(c.rows * c.k);
        char what[96];
        c.x = x;
        c.scales = buffer(c.rows * sizeof(float));
        c.a = buffer(gemm->packed_size(c.rows, c.k));
        snprintf(what, sizeof(what), "%s pack %zux%zu", gemm->name, c.rows, c.k);
        printf("%-11s %-44s %8.3f ns an element\n", tier, what, best_seconds(call_pack, &c) / elements * 1e9);
        if (gemm->encode) {
            emb_free(c.a);
            c.a = buffer(c.rows * c.k * gemm->a_size);
            snprintf(what, sizeof(what), "%s encode %zux%zu", gemm->name, c.rows, c.k);
            printf("%-11s %-44s %8.3f ns an element\n", tier, what, best_seconds(call_encode, &c) / elements * 1e9);
        }
        emb_free(x);
        emb_free(c.scales);
        emb_free(c.a);
    }
}

struct attention_call {
    const struct emb_kernels *t;
    struct emb_attention_job job;
};

static void call_attention(void *arg)
{
    struct attention_call *call = arg;
    call->t->attention(&call->job);
}

static void bench_attention(const char *tier, const struct emb_kernels *t, size_t n, size_t dim, struct peaks peak)
{
    size_t ld = 3 * 12 * dim;
    float *qkv = random_floats(n * ld), *out = buffer(n * dim * sizeof(float));
    emb_bf16 *qkv16 = buffer(n * ld * sizeof(emb_bf16));
    void *scratch = buffer(t->attention_scratch(n, dim));
    t->f32_to_bf16(qkv, n * ld, qkv16);
    struct attention_call call = {t,
                                  {.q = qkv,
                                   .k = qkv + 12 * dim,
                                   .v = qkv + 24 * dim,
                                   .ld = ld,
                                   .n = n,
                                   .q1 = n,
                                   .head_dim = dim,
                                   .scale = 0.17677669f,
                                   .out = out,
                                   .ldo = dim,
                                   .scratch = scratch}};
    double seconds = best_seconds(call_attention, &call), gflop = 4e-9 * (double)(n * n * dim);
    char what[96];
    snprintf(what, sizeof(what), "attention f32 n=%zu head_dim=%zu", n, dim);
    report(tier, what, gflop / seconds, peak.f32);
    call.job.q = qkv16;
    call.job.k = qkv16 + 12 * dim;
    call.job.v = qkv16 + 24 * dim;
    call.job.in_bf16 = true;
    call.job.out_bf16 = true;
    double seconds16 = best_seconds(call_attention, &call);
    snprintf(what, sizeof(what), "attention bf16 n=%zu head_dim=%zu (%.2f x)", n, dim, seconds / seconds16);
    report(tier, what, gflop / seconds16, peak.bf16);
    emb_free(qkv);
    emb_free(qkv16);
    emb_free(out);
    emb_free(scratch);
}

struct rows_call {
    const struct emb_kernels *t;
    size_t rows, dim;
    float *x, *y, *gamma;
    emb_bf16 *y16;
};

static void call_layernorm(void *arg)
{
    struct rows_call *c = arg;
    c->t->layernorm(c->x, c->rows, c->dim, c->gamma, c->gamma, 1e-12f, c->y, c->y16);
}

static void call_convert(void *arg)
{
    struct rows_call *c = arg;
    c->t->f32_to_bf16(c->x, c->rows * c->dim, c->y16);
}

static void bench_rows(const char *tier, const struct emb_kernels *t, size_t dim)
{
    struct rows_call c = {.t = t, .rows = 128, .dim = dim};
    c.x = random_floats(c.rows * c.dim);
    c.gamma = random_floats(c.dim);
    c.y = buffer(c.rows * c.dim * sizeof(float));
    c.y16 = buffer(c.rows * c.dim * sizeof(emb_bf16));
    double elements = (double)(c.rows * c.dim);
    char what[96];
    snprintf(what, sizeof(what), "layernorm 128x%zu, f32 and bf16 out", dim);
    printf("%-11s %-44s %8.3f ns an element\n", tier, what, best_seconds(call_layernorm, &c) / elements * 1e9);
    snprintf(what, sizeof(what), "f32_to_bf16 128x%zu", dim);
    printf("%-11s %-44s %8.3f ns an element\n", tier, what, best_seconds(call_convert, &c) / elements * 1e9);
    emb_free(c.x);
    emb_free(c.gamma);
    emb_free(c.y);
    emb_free(c.y16);
}

/* The activation alone: a product with k = 1 is all end. */
static void bench_act(const char *tier, const struct emb_kernels *t, enum emb_act act, const char *name)
{
    size_t m = 128, n = 384;
    float *a = random_floats(m), *w = random_floats(n), *out = buffer(m * n * sizeof(float));
    void *packed = buffer(t->gemm_f32.packed_size(n, 1));
    t->gemm_f32.pack(packed, w, 0, n, n, 1);
    struct gemm_call call = {
        &t->gemm_f32,
        {.a = a, .lda = 1, .m = m, .w = packed, .n = n, .k = 1, .n1 = n, .act = act, .out = out, .ldo = n}};
    printf("%-11s %-44s %8.3f ns an element\n", tier, name, best_seconds(call_gemm, &call) / (double)(m * n) * 1e9);
    emb_free(a);
    emb_free(w);
    emb_free(out);
    emb_free(packed);
}

static void bench_tier(const char *tier)
{
    const struct emb_kernels *t = emb_kernels_get(tier);
    struct peaks peak = measure_peaks(tier);
    if (peak.f32 > 0) {
        printf("%-11s %-44s %8.1f f32, %.1f bf16, %.1f int8\n", tier, "peak of one core, GFLOP/s", peak.f32, peak.bf16,
               peak.i8);
    }
    const struct emb_gemm *gemms[] = {&t->gemm_f32, &t->gemm_bf16, &t->gemm_i8};
    const double gemm_peaks[] = {peak.f32, peak.bf16, peak.i8};
    for (size_t i = 0; i < 3; i++) {
        bench_gemm(tier, gemms[i], gemm_peaks[i]);
        bench_convert(tier, gemms[i]);
    }
    static const size_t lengths[] = {16, 32, 64, 128, 256, 512, 2048};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        bench_attention(tier, t, lengths[i], 32, peak);
        bench_attention(tier, t, lengths[i], 64, peak);
    }
    bench_act(tier, t, EMB_ACT_NONE, "end of a tile, no activation");
    bench_act(tier, t, EMB_ACT_GELU, "end of a tile, gelu");
    bench_act(tier, t, EMB_ACT_GELU_TANH, "end of a tile, gelu_tanh");
    bench_act(tier, t, EMB_ACT_SILU, "end of a tile, silu");
    bench_rows(tier, t, 384);
    bench_rows(tier, t, 768);
    bench_rows(tier, t, 1024);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (!emb_kernels_get(argv[1])) {
            fprintf(stderr, "kernel_bench: no tier '%s' in this build or on this CPU\n", argv[1]);
            return 2;
        }
        bench_tier(emb_kernels_get(argv[1])->tier);
        return 0;
    }
    for (const char *const *tier = emb_kernels_tiers(); *tier; tier++) {
        bench_tier(*tier);
    }
    return 0;
}
