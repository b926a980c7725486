/* Attention of every tier against double precision, bit for bit under any split of the queries, and on extreme scores.
 * All operands end at a guard page. */
#include "kernel_test.h"

struct heads {
    size_t n, dim, ld;
    float scale;
    struct guarded q, k, v, out, scratch;
};

static size_t extent(const struct heads *h)
{
    return (h->n - 1) * h->ld + h->dim;
}

static void fill(const struct heads *h, struct guarded *g, float size, uint32_t *seed)
{
    for (size_t i = 0; i < h->n; i++) {
        for (size_t d = 0; d < h->dim; d++) {
            ((float *)g->data)[i * h->ld + d] = size * random_float(seed);
        }
    }
}

static struct heads heads_new(const struct emb_kernels *t, size_t n, size_t dim, size_t pad, float size, uint32_t seed)
{
    struct heads h = {.n = n, .dim = dim, .ld = dim + pad, .scale = 1.0f / sqrtf((float)dim)};
    h.q = guarded_new(extent(&h) * sizeof(float));
    h.k = guarded_new(extent(&h) * sizeof(float));
    h.v = guarded_new(extent(&h) * sizeof(float));
    h.out = guarded_new(extent(&h) * sizeof(float));
    size_t scratch = (t->attention_scratch(n, dim) + 63) / 64 * 64;
    h.scratch = guarded_new(scratch);
    fill(&h, &h.q, size, &seed);
    fill(&h, &h.k, size, &seed);
    fill(&h, &h.v, 1.0f, &seed);
    return h;
}

static void heads_free(struct heads *h)
{
    guarded_free(&h->q);
    guarded_free(&h->k);
    guarded_free(&h->v);
    guarded_free(&h->out);
    guarded_free(&h->scratch);
}

static void run(const struct emb_kernels *t, const struct heads *h, size_t q0, size_t q1, bool out_bf16)
{
    struct emb_attention_job job = {.q = h->q.data,
                                    .k = h->k.data,
                                    .v = h->v.data,
                                    .ld = h->ld,
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

/* One query's result, the plain way. */
static void exact_row(const struct heads *h, size_t i, double *weight, double *out)
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
    memset(out, 0, h->dim * sizeof(*out));
    for (size_t j = 0; j < h->n; j++) {
        double w = exp(weight[j] - max);
        sum += w;
        for (size_t d = 0; d < h->dim; d++) {
            out[d] += w * (double)v[j * h->ld + d];
        }
    }
    for (size_t d = 0; d < h->dim; d++) {
        out[d] /= sum;
    }
}

static void check_rows(const struct emb_kernels *t, const struct heads *h, bool out_bf16, double bound)
{
    double *weight = test_malloc(h->n * sizeof(double)), *want = test_malloc(h->dim * sizeof(double));
    for (size_t i = 0; i < h->n; i++) {
        exact_row(h, i, weight, want);
        for (size_t d = 0; d < h->dim; d++) {
            size_t at = i * h->ld + d;
            double got =
                (double)(out_bf16 ? emb_bf16_to_f32(((emb_bf16 *)h->out.data)[at]) : ((float *)h->out.data)[at]);
            double rounding = out_bf16 ? fabs(want[d]) * 0x1p-8 : 0;
            check_close(got, want[d], bound + rounding, "%s n=%zu dim=%zu at (%zu, %zu)\n", t->tier, h->n, h->dim, i,
                        d);
        }
    }
    test_free(weight);
    test_free(want);
}

static void results(const struct emb_kernels *t)
{
    static const size_t lengths[] = {1, 2, 5, 15, 16, 17, 33, 48, 63, 64, 65, 100, 128, 130, 200};
    static const size_t dims[] = {1, 3, 16, 24, 32, 33, 64, 80, 100, 128};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (size_t j = 0; j < sizeof(dims) / sizeof(dims[0]); j++) {
            bool out_bf16 = (i + j) % 3 == 0;
            struct heads h = heads_new(t, lengths[i], dims[j], (i + 2 * j) % 5, 3.0f, (uint32_t)(i * 100 + j));
            run(t, &h, 0, h.n, out_bf16);
            check_rows(t, &h, out_bf16, 4e-6);
            heads_free(&h);
        }
    }
}

static void test_results(void **state)
{
    (void)state;
    for_each_tier(results);
}

/* Queries in parts of every size: the same bits, and nothing written but those rows. */
static void splits(const struct emb_kernels *t)
{
    static const size_t dims[] = {32, 41};
    for (size_t i = 0; i < 2; i++) {
        struct heads h = heads_new(t, 77, dims[i], 3, 3.0f, 5);
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
    for_each_tier(splits);
}

/* A query of NaN spoils its own row only; one of infinity hangs nothing. */
static void bad_rows(const struct emb_kernels *t)
{
    struct heads h = heads_new(t, 70, 32, 0, 1.0f, 9);
    float *q = h.q.data, *out = h.out.data;
    run(t, &h, 0, h.n, false);
    size_t bytes = extent(&h) * sizeof(float);
    float *before = test_malloc(bytes);
    memcpy(before, out, bytes);
    q[10 * h.ld + 31] = NAN;
    q[20 * h.ld] = INFINITY;
    run(t, &h, 0, h.n, false);
    for (size_t i = 0; i < h.n; i++) {
        if (i == 10 || i == 20) {
            assert_true(isnan(out[i * h.ld]));
        } else {
            assert_memory_equal(out + i * h.ld, before + i * h.ld, h.dim * sizeof(float));
        }
    }
    float *v = h.v.data;
    v[3 * h.ld + 4] = NAN;
    run(t, &h, 0, h.n, false);
    assert_true(isnan(out[4]));
    assert_true(!isnan(out[5]));
    test_free(before);
    heads_free(&h);
}

static void test_bad_rows(void **state)
{
    (void)state;
    for_each_tier(bad_rows);
}

/* Scores far beyond what exp can hold, equal ones, and a negative scale. */
static void extreme_scores(const struct emb_kernels *t)
{
    struct heads h = heads_new(t, 100, 16, 1, 1.0f, 4);
    float *q = h.q.data, *k = h.k.data;
    for (size_t i = 0; i < h.n; i++) {
        for (size_t d = 0; d < h.dim; d++) {
            q[i * h.ld + d] = 100.0f;
            k[i * h.ld + d] = (float)(i % 2) * 64.0f;
        }
    }
    run(t, &h, 0, h.n, false);
    check_rows(t, &h, false, 4e-6);
    h.scale = -h.scale;
    run(t, &h, 0, h.n, false);
    check_rows(t, &h, false, 4e-6);
    for (size_t i = 0; i < h.n; i++) {
        for (size_t d = 0; d < h.dim; d++) {
            q[i * h.ld + d] = 3e38f;
            k[i * h.ld + d] = i % 2 ? 3e38f : -3e38f;
        }
    }
    run(t, &h, 0, h.n, false);
    heads_free(&h);
}

static void test_extreme_scores(void **state)
{
    (void)state;
    for_each_tier(extreme_scores);
}

/* Two keys with scores 0 and -x and values 0 and 1 give e^-x / (1 + e^-x): the exponential's relative error, next to
 * that of x times log2(e) in f32. */
static void exponential(const struct emb_kernels *t)
{
    struct heads h = heads_new(t, 2, 1, 0, 1.0f, 1);
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
        cmocka_unit_test(test_results),        cmocka_unit_test(test_splits),      cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_extreme_scores), cmocka_unit_test(test_exponential), cmocka_unit_test(test_scratch_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
