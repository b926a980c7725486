/* Attention of every tier, of f32 and of bf16, against double precision, bit for bit under any split of the queries, and
 * on extreme scores. All operands end at a guard page. */
#include "kernel_test.h"

#define F32_BOUND 4e-6

struct heads {
    size_t n, dim, ld;
    float scale;
    bool bf16;              /* the kernel is given q16, k16, v16; q, k, v hold the same numbers */
    struct guarded q, k, v; /* f32 */
    struct guarded q16, k16, v16;
    struct guarded out, scratch;
};

static void (*kind_test)(const struct emb_kernels *t, bool bf16);

static void both_kinds(const struct emb_kernels *t)
{
    kind_test(t, false);
    kind_test(t, true);
}

/* Runs test once a tier and type of input. */
static void for_each_kind(void (*test)(const struct emb_kernels *t, bool bf16))
{
    kind_test = test;
    for_each_tier(both_kinds);
}

static size_t extent(const struct heads *h)
{
    return (h->n - 1) * h->ld + h->dim;
}

static void set(const struct heads *h, const struct guarded *g, const struct guarded *g16, size_t i, size_t d, float x)
{
    emb_bf16 rounded = emb_bf16_from_f32(x);
    ((float *)g->data)[i * h->ld + d] = h->bf16 ? emb_bf16_to_f32(rounded) : x;
    ((emb_bf16 *)g16->data)[i * h->ld + d] = rounded;
}

static void set_q(const struct heads *h, size_t i, size_t d, float x)
{
    set(h, &h->q, &h->q16, i, d, x);
}

static void set_k(const struct heads *h, size_t i, size_t d, float x)
{
    set(h, &h->k, &h->k16, i, d, x);
}

static void set_v(const struct heads *h, size_t i, size_t d, float x)
{
    set(h, &h->v, &h->v16, i, d, x);
}

static void fill(const struct heads *h, const struct guarded *g, const struct guarded *g16, float size, uint32_t *seed)
{
    for (size_t i = 0; i < h->n; i++) {
        for (size_t d = 0; d < h->dim; d++) {
            set(h, g, g16, i, d, size * random_float(seed));
        }
    }
}

static struct heads heads_new(const struct emb_kernels *t, bool bf16, size_t n, size_t dim, size_t pad, float size,
                              uint32_t seed)
{
    struct heads h = {.n = n, .dim = dim, .ld = dim + pad, .scale = 1.0f / sqrtf((float)dim), .bf16 = bf16};
    size_t count = extent(&h);
    h.q = guarded_new(count * sizeof(float));
    h.k = guarded_new(count * sizeof(float));
    h.v = guarded_new(count * sizeof(float));
    h.q16 = guarded_new(count * sizeof(emb_bf16));
    h.k16 = guarded_new(count * sizeof(emb_bf16));
    h.v16 = guarded_new(count * sizeof(emb_bf16));
    h.out = guarded_new(count * sizeof(float));
    size_t scratch = (t->attention_scratch(n, dim) + 63) / 64 * 64;
    h.scratch = guarded_new(scratch);
    fill(&h, &h.q, &h.q16, size, &seed);
    fill(&h, &h.k, &h.k16, size, &seed);
    fill(&h, &h.v, &h.v16, 1.0f, &seed);
    return h;
}

static void heads_free(struct heads *h)
{
    struct guarded *all[] = {&h->q, &h->k, &h->v, &h->q16, &h->k16, &h->v16, &h->out, &h->scratch};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        guarded_free(all[i]);
    }
}

static void run(const struct emb_kernels *t, const struct heads *h, size_t q0, size_t q1, bool out_bf16)
{
    struct emb_attention_job job = {.q = h->bf16 ? h->q16.data : h->q.data,
                                    .k = h->bf16 ? h->k16.data : h->k.data,
                                    .v = h->bf16 ? h->v16.data : h->v.data,
                                    .ld = h->ld,
                                    .in_bf16 = h->bf16,
                                    .n = h->n,
                                    .q0 = q0,
                                    .q1 = q1,
                                    .head_dim = h->dim,
                                    .scale = h->scale,
                                    .out = h->out.data,
                                    .ldo = h->ld,
                                    .out_bf16 = out_bf16,
                                    .scratch = h->scratch.data};
    t->attention(&job);
}

/* One query's result, the plain way, and how far the values lie from it on average. A relative error of up to e in each
 * weight moves the result by up to e * spread, for a sum of those same weights divides it. */
static void exact_row(const struct heads *h, size_t i, double *weight, double *out, double *spread)
{
    const float *q = h->q.data, *k = h->k.data, *v = h->v.data;
    double max = -INFINITY, sum = 0;
    for (size_t j = 0; j < h->n; j++) {
        weight[j] = 0;
        for (size_t d = 0; d < h->dim; d++) {
            weight[j] += (double)q[i * h->ld + d] * (double)k[j * h->ld + d];
        }
        weight[j] *= (double)h->scale;
        max = fmax(max, weight[j]);
    }
    for (size_t j = 0; j < h->n; j++) {
        weight[j] = exp(weight[j] - max);
        sum += weight[j];
    }
    for (size_t d = 0; d < h->dim; d++) {
        out[d] = 0;
        spread[d] = 0;
        for (size_t j = 0; j < h->n; j++) {
            out[d] += weight[j] / sum * (double)v[j * h->ld + d];
        }
        for (size_t j = 0; j < h->n; j++) {
            spread[d] += weight[j] / sum * fabs((double)v[j * h->ld + d] - out[d]);
        }
    }
}

/* The bound: F32_BOUND, what an error of score_error in the scores makes, and, where the tier multiplies bf16 itself,
 * half an ulp of bf16 in each weight. */
static void check_rows(const struct emb_kernels *t, const struct heads *h, bool out_bf16, double score_error)
{
    double *weight = test_malloc(h->n * sizeof(double)), *want = test_malloc(h->dim * sizeof(double));
    double *spread = test_malloc(h->dim * sizeof(double));
    double error = 2 * score_error + (h->bf16 && t->gemm_bf16.native ? 0x1.02p-8 : 0);
    for (size_t i = 0; i < h->n; i++) {
        exact_row(h, i, weight, want, spread);
        for (size_t d = 0; d < h->dim; d++) {
            size_t at = i * h->ld + d;
            double got =
                (double)(out_bf16 ? emb_bf16_to_f32(((emb_bf16 *)h->out.data)[at]) : ((float *)h->out.data)[at]);
            double rounding = out_bf16 ? fabs(want[d]) * 0x1p-8 : 0;
            check_close(got, want[d], F32_BOUND + error * spread[d] + rounding, "%s%s n=%zu dim=%zu at (%zu, %zu)\n",
                        t->tier, h->bf16 ? " of bf16" : "", h->n, h->dim, i, d);
        }
    }
    test_free(weight);
    test_free(want);
    test_free(spread);
}

static void results(const struct emb_kernels *t, bool bf16)
{
    static const size_t lengths[] = {1, 2, 5, 15, 16, 17, 33, 48, 63, 64, 65, 100, 128, 130, 200, 259};
    static const size_t dims[] = {1, 2, 3, 16, 24, 31, 32, 33, 48, 64, 80, 100, 128};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (size_t j = 0; j < sizeof(dims) / sizeof(dims[0]); j++) {
            bool out_bf16 = (i + j) % 3 == 0;
            struct heads h = heads_new(t, bf16, lengths[i], dims[j], (i + 2 * j) % 5, 3.0f, (uint32_t)(i * 100 + j));
            run(t, &h, 0, h.n, out_bf16);
            check_rows(t, &h, out_bf16, 0);
            heads_free(&h);
        }
    }
}

static void test_results(void **state)
{
    (void)state;
    for_each_kind(results);
}

/* Queries in parts of every size: the same bits, and nothing written but those rows. */
static void splits(const struct emb_kernels *t, bool bf16)
{
    static const size_t lengths[] = {14, 77, 300}, dims[] = {64, 32, 41};
    for (size_t i = 0; i < 3; i++) {
        struct heads h = heads_new(t, bf16, lengths[i], dims[i], 3, 6.0f, 5);
        size_t bytes = extent(&h) * sizeof(float);
        run(t, &h, 0, h.n, false);
        char *whole = test_malloc(bytes);
        memcpy(whole, h.out.data, bytes);
        for (size_t count = 1; count <= 14; count++) {
            memset(h.out.data, 0xff, bytes);
            for (size_t q = 0; q < h.n; q += count) {
                run(t, &h, q, h.n - q < count ? h.n : q + count, false);
            }
            assert_memory_equal(whole, h.out.data, bytes);
        }
        test_free(whole);
        heads_free(&h);
    }
}

static void test_splits(void **state)
{
    (void)state;
    for_each_kind(splits);
}

/* A query of NaN spoils its own row only; one of infinity hangs nothing. */
static void bad_rows(const struct emb_kernels *t, bool bf16)
{
    struct heads h = heads_new(t, bf16, 70, 32, 0, 1.0f, 9);
    float *out = h.out.data;
    run(t, &h, 0, h.n, false);
    size_t bytes = extent(&h) * sizeof(float);
    float *before = test_malloc(bytes);
    memcpy(before, out, bytes);
    set_q(&h, 10, 31, NAN);
    set_q(&h, 20, 0, INFINITY);
    run(t, &h, 0, h.n, false);
    for (size_t i = 0; i < h.n; i++) {
        if (i == 10 || i == 20) {
            assert_true(isnan(out[i * h.ld]));
        } else {
            assert_memory_equal(out + i * h.ld, before + i * h.ld, h.dim * sizeof(float));
        }
    }
    set_v(&h, 3, 4, NAN);
    run(t, &h, 0, h.n, false);
    assert_true(isnan(out[4]));
    assert_true(!isnan(out[5]));
    set_k(&h, 67, 2, NAN);
    run(t, &h, 0, h.n, false);
    for (size_t i = 0; i < h.n; i++) {
        assert_true(isnan(out[i * h.ld]));
    }
    test_free(before);
    heads_free(&h);
}

static void test_bad_rows(void **state)
{
    (void)state;
    for_each_kind(bad_rows);
}

/* Scores far beyond what exp can hold, equal ones, and a negative scale. */
static void extreme_scores(const struct emb_kernels *t, bool bf16)
{
    struct heads h = heads_new(t, bf16, 100, 16, 1, 1.0f, 4);
    for (size_t i = 0; i < h.n; i++) {
        for (size_t d = 0; d < h.dim; d++) {
            set_q(&h, i, d, 100.0f);
            set_k(&h, i, d, (float)(i % 2) * 64.0f);
        }
    }
    run(t, &h, 0, h.n, false);
    check_rows(t, &h, false, 0);
    h.scale = -h.scale;
    run(t, &h, 0, h.n, false);
    check_rows(t, &h, false, 0);
    for (size_t i = 0; i < h.n; i++) {
        for (size_t d = 0; d < h.dim; d++) {
            set_q(&h, i, d, 3e38f);
            set_k(&h, i, d, i % 2 ? 3e38f : -3e38f);
        }
    }
    run(t, &h, 0, h.n, false);
    heads_free(&h);
}

/* A key whose scores are all -infinity weighs nothing, wherever it stands. */
static void lost_key(const struct emb_kernels *t, bool bf16)
{
    static const size_t keys[] = {0, 40, 99};
    for (size_t i = 0; i < 3; i++) {
        struct heads h = heads_new(t, bf16, 100, 16, 1, 1.0f, 4);
        for (size_t j = 0; j < h.n; j++) {
            set_q(&h, j, 3, 0.5f);
        }
        set_k(&h, keys[i], 3, -INFINITY);
        run(t, &h, 0, h.n, false);
        check_rows(t, &h, false, 0);
        heads_free(&h);
    }
}

static void test_lost_key(void **state)
{
    (void)state;
    for_each_kind(lost_key);
}

/* Scores within +-1e4, where one key takes all, and all far below zero, where padding must not win; each slowly rising
 * and falling over the keys too, so that the running maximum moves by less and by more than any threshold. */
static void large_scores(const struct emb_kernels *t, bool bf16)
{
    static const float sizes[] = {1.0f, 4.0f, 20.0f, 100.0f};
    for (size_t i = 0; i < 8; i++) {
        float size = sizes[i / 2], slope = i % 2 ? -0.02f : 0.02f;
        struct heads h = heads_new(t, bf16, 203, 32, 0, size, (uint32_t)i);
        double largest = 0;
        h.scale = 1.0f / 32.0f;
        for (size_t j = 0; j < h.n; j++) {
            set_q(&h, j, 0, 32.0f);
            set_k(&h, j, 0, slope * size * size * (float)j - (i < 4 ? 0.0f : 9e3f));
            largest = fmax(largest, fabs((double)((float *)h.k.data)[j * h.ld]));
        }
        largest += (double)(size * size);
        run(t, &h, 0, h.n, i % 3 == 0);
        check_rows(t, &h, i % 3 == 0, 8 * largest * 0x1p-24);
        heads_free(&h);
    }
}

static void test_large_scores(void **state)
{
    (void)state;
    for_each_kind(large_scores);
}

static void test_extreme_scores(void **state)
{
    (void)state;
    for_each_kind(extreme_scores);
}

/* Two keys with scores 0 and -x and values 0 and 1 give e^-x / (1 + e^-x): the exponential's relative error, next to
 * that of x times log2(e) in f32. */
static void exponential(const struct emb_kernels *t)
{
    struct heads h = heads_new(t, false, 2, 1, 0, 1.0f, 1);
    float *q = h.q.data, *k = h.k.data, *v = h.v.data, *out = h.out.data;
    h.scale = 1.0f;
    q[0] = 1.0f;
    k[0] = 0.0f;
    v[0] = 0.0f;
    v[1] = 1.0f;
    for (float x = 0.0f; x < 85.0f; x += 0.00173f) {
        k[1] = -x;
        run(t, &h, 0, 1, false);
        double want = exp(-(double)x) / (1.0 + exp(-(double)x));
        check_close((double)out[0] / want, 1.0, 3.5e-7 + 1e-7 * (double)x, "%s exp(-%g)\n", t->tier, (double)x);
    }
    heads_free(&h);
}

static void test_exponential(void **state)
{
    (void)state;
    for_each_tier(exponential);
}

/* The same in bf16: where weights are rounded, the exponential is off by half an ulp of bf16 and 4e-6 at most. */
static void exponential_bf16(const struct emb_kernels *t)
{
    struct heads h = heads_new(t, true, 2, 1, 0, 1.0f, 1);
    const float *k = h.k.data, *out = h.out.data;
    h.scale = 1.0f;
    set_q(&h, 0, 0, 1.0f);
    set_k(&h, 0, 0, 0.0f);
    set_v(&h, 0, 0, 0.0f);
    set_v(&h, 1, 0, 1.0f);
    for (float x = 0.0f; x < 85.0f; x = x * 1.003f + 0.001f) {
        set_k(&h, 1, 0, -x);
        run(t, &h, 0, 1, false);
        double want = exp((double)k[h.ld]), got = (double)out[0] / (1.0 - (double)out[0]);
        double half_ulp = ldexp(1.0, ilogb(want) - 8) / want;
        double error = t->gemm_bf16.native ? half_ulp + 4e-6 : 7e-7;
        check_close(got / want, 1.0, error + 1e-7 * (double)x, "%s exp(-%g)\n", t->tier, (double)x);
    }
    heads_free(&h);
}

static void test_exponential_bf16(void **state)
{
    (void)state;
    for_each_tier(exponential_bf16);
}

static void scratch_sizes(const struct emb_kernels *t)
{
    assert_true(t->attention_scratch(1, 1) > 0);
    assert_true(t->attention_scratch(8192, 128) > 0);
}

static void test_scratch_sizes(void **state)
{
    (void)state;
    for_each_tier(scratch_sizes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),       cmocka_unit_test(test_splits),
        cmocka_unit_test(test_bad_rows),      cmocka_unit_test(test_extreme_scores),
        cmocka_unit_test(test_lost_key),      cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_exponential),   cmocka_unit_test(test_exponential_bf16),
        cmocka_unit_test(test_scratch_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
