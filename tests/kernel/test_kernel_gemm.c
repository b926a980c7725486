/* Matrix products of every tier against double precision, their row and column independence bit for bit, and their
 * activations over the whole range of f32. All operands end at a guard page. */
#include "kernel_test.h"

struct shape {
    size_t m, n, k, n0, n1;
    enum emb_act act;
    bool bias, residual, in_place, out_bf16;
    size_t pad; /* extra elements in each stride */
};

/* The operands of one product. a is kept as f32 too: exactly the values the kernel sees. */
struct operands {
    struct shape s;
    const struct emb_gemm *gemm;
    bool bf16;
    size_t lda, ldo;
    struct guarded a, w, bias, residual, out, plain_w;
    float *exact_a, *exact_w;
};

static double act_exact(enum emb_act act, double x)
{
    switch (act) {
    case EMB_ACT_GELU: return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case EMB_ACT_GELU_TANH: return x / (1.0 + exp(-2.0 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case EMB_ACT_RELU: return x < 0 ? 0 : x;
    case EMB_ACT_SILU: return x / (1.0 + exp(-x));
    case EMB_ACT_NONE: break;
    }
    return x;
}

static size_t strided(size_t rows, size_t stride, size_t columns)
{
    return (rows - 1) * stride + columns;
}

static void fill_a(struct operands *o, uint32_t *seed)
{
    for (size_t r = 0; r < o->s.m; r++) {
        for (size_t p = 0; p < o->s.k; p++) {
            float x = random_float(seed);
            if (o->bf16) {
                ((emb_bf16 *)o->a.data)[r * o->lda + p] = emb_bf16_from_f32(x);
                x = emb_bf16_to_f32(emb_bf16_from_f32(x));
            } else {
                ((float *)o->a.data)[r * o->lda + p] = x;
            }
            o->exact_a[r * o->s.k + p] = x;
        }
    }
}

/* Packs in two calls, split at a panel, so that the ranges of pack are tried too. */
static void fill_w(struct operands *o, uint32_t *seed)
{
    size_t n = o->s.n, k = o->s.k;
    for (size_t i = 0; i < n * k; i++) {
        o->exact_w[i] = random_float(seed);
    }
    size_t middle = (n / o->gemm->nr + 1) / 2 * o->gemm->nr;
    middle = middle < n ? middle : 0;
    o->gemm->pack(o->w.data, o->exact_w + middle * k, middle, n, n, k);
    if (middle > 0) {
        o->gemm->pack(o->w.data, o->exact_w, 0, middle, n, k);
    }
    for (size_t i = 0; o->bf16 && i < n * k; i++) {
        o->exact_w[i] = emb_bf16_to_f32(emb_bf16_from_f32(o->exact_w[i]));
    }
}

static struct operands operands_new(const struct emb_gemm *gemm, bool bf16, struct shape s, uint32_t seed)
{
    struct operands o = {.s = s, .gemm = gemm, .bf16 = bf16, .lda = s.k + s.pad, .ldo = s.n + s.pad};
    size_t element = bf16 ? sizeof(emb_bf16) : sizeof(float);
    o.a = guarded_new(strided(s.m, o.lda, s.k) * element);
    o.w = guarded_new(gemm->packed_size(s.n, s.k));
    o.bias = guarded_new(s.n * sizeof(float));
    o.residual = guarded_new(strided(s.m, o.ldo, s.n) * sizeof(float));
    o.out = guarded_new(strided(s.m, o.ldo, s.n) * (s.out_bf16 ? sizeof(emb_bf16) : sizeof(float)));
    o.exact_a = test_malloc(s.m * s.k * sizeof(float));
    o.plain_w = guarded_new(s.n * s.k * sizeof(float));
    o.exact_w = o.plain_w.data;
    fill_a(&o, &seed);
    fill_w(&o, &seed);
    for (size_t i = 0; i < s.n; i++) {
        ((float *)o.bias.data)[i] = random_float(&seed);
    }
    for (size_t i = 0; i < strided(s.m, o.ldo, s.n); i++) {
        ((float *)o.residual.data)[i] = random_float(&seed);
    }
    return o;
}

static void operands_free(struct operands *o)
{
    guarded_free(&o->a);
    guarded_free(&o->w);
    guarded_free(&o->bias);
    guarded_free(&o->residual);
    guarded_free(&o->out);
    test_free(o->exact_a);
    guarded_free(&o->plain_w);
}

static struct emb_gemm_job job_of(const struct operands *o)
{
    return (struct emb_gemm_job){
        .a = o->a.data,
        .lda = o->lda,
        .m = o->s.m,
        .w = o->w.data,
        .n = o->s.n,
        .k = o->s.k,
        .n0 = o->s.n0,
        .n1 = o->s.n1,
        .bias = o->s.bias ? o->bias.data : NULL,
        .act = o->s.act,
        .residual = o->s.residual ? o->s.in_place ? o->out.data : o->residual.data : NULL,
        .ldr = o->ldo,
        .out = o->out.data,
        .ldo = o->ldo,
        .out_bf16 = o->s.out_bf16,
    };
}

static float out_at(const struct operands *o, size_t row, size_t column)
{
    size_t at = row * o->ldo + column;
    return o->s.out_bf16 ? emb_bf16_to_f32(((emb_bf16 *)o->out.data)[at]) : ((float *)o->out.data)[at];
}

/* Within (4 + sqrt k) roundings of the sum of magnitudes, the activation's 1e-6, and the output's rounding. */
static void check_element(const struct operands *o, size_t row, size_t column)
{
    double sum = 0, magnitude = 0;
    for (size_t p = 0; p < o->s.k; p++) {
        double product = (double)o->exact_a[row * o->s.k + p] * (double)o->exact_w[column * o->s.k + p];
        sum += product;
        magnitude += fabs(product);
    }
    if (o->s.bias) {
        sum += (double)((float *)o->bias.data)[column];
        magnitude += fabs((double)((float *)o->bias.data)[column]);
    }
    double want = act_exact(o->s.act, sum);
    if (o->s.residual) {
        want += (double)((float *)o->residual.data)[row * o->ldo + column];
    }
    double bound = (4 + sqrt((double)o->s.k)) * 0x1p-24 * (magnitude + 1) * 1.2;
    bound += o->s.act == EMB_ACT_NONE ? 0 : 1e-6;
    bound += o->s.out_bf16 ? fabs(want) * 0x1p-8 + 1e-6 : 0;
    check_close(out_at(o, row, column), want, bound, "%s m=%zu n=%zu k=%zu act=%d at (%zu, %zu)\n", o->gemm->name,
                o->s.m, o->s.n, o->s.k, (int)o->s.act, row, column);
}

/* Everything the job must not write still has the filling of its buffer. */
static void check_outside(const struct operands *o)
{
    size_t element = o->s.out_bf16 ? sizeof(emb_bf16) : sizeof(float);
    for (size_t i = 0; i < strided(o->s.m, o->ldo, o->s.n); i++) {
        size_t column = i % o->ldo;
        if (column >= o->s.n0 && column < o->s.n1) {
            continue;
        }
        const unsigned char *at = (const unsigned char *)o->out.data + i * element;
        for (size_t b = 0; b < element; b++) {
            assert_int_equal(at[b], 0xff);
        }
    }
}

static void check_product(const struct emb_gemm *gemm, bool bf16, struct shape s, uint32_t seed)
{
    struct operands o = operands_new(gemm, bf16, s, seed);
    for (size_t r = 0; s.residual && s.in_place && r < s.m; r++) {
        memcpy((float *)o.out.data + r * o.ldo + s.n0, (float *)o.residual.data + r * o.ldo + s.n0,
               (s.n1 - s.n0) * sizeof(float));
    }
    struct emb_gemm_job job = job_of(&o);
    gemm->run(&job);
    for (size_t r = 0; r < s.m; r++) {
        for (size_t c = s.n0; c < s.n1; c++) {
            check_element(&o, r, c);
        }
    }
    check_outside(&o);
    operands_free(&o);
}

static void products_of(const struct emb_gemm *gemm, bool bf16)
{
    static const size_t sizes[][2] = {{1, 1},   {1, 40},  {5, 3},   {16, 2},   {17, 7},    {33, 64},
                                      {63, 33}, {64, 64}, {65, 31}, {100, 50}, {130, 129}, {200, 384}};
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t m = 1; m <= 2 * gemm->mr + 1 || m <= 4; m++) {
            uint32_t r = next_random(&seed);
            struct shape s = {.m = m, .n = sizes[i][0], .k = sizes[i][1], .n1 = sizes[i][0]};
            size_t panels = (s.n + gemm->nr - 1) / gemm->nr;
            if (r & 1) {
                s.n0 = r / 32 % panels * gemm->nr;
                s.n1 = s.n0 + gemm->nr < s.n && (r & 2) ? s.n0 + gemm->nr : s.n;
            }
            s.act = (enum emb_act)(next_random(&seed) % 5);
            s.bias = r & 4;
            s.residual = r & 8;
            s.out_bf16 = r & 16;
            s.in_place = s.residual && !s.out_bf16 && next_random(&seed) % 2;
            s.pad = next_random(&seed) % 4;
            check_product(gemm, bf16, s, r);
        }
    }
    check_product(gemm, bf16, (struct shape){.m = 150, .n = 70, .k = 1537, .n1 = 70, .bias = true}, 5);
}

static void products(const struct emb_kernels *t)
{
    products_of(&t->gemm_f32, false);
    products_of(&t->gemm_bf16, true);
}

static void test_products(void **state)
{
    (void)state;
    for_each_tier(products);
}

/* All rows and columns at once, against rows i..i+count of each panel alone: the same bits. */
static void same_bits_of(const struct emb_gemm *gemm, bool bf16, bool out_bf16, enum emb_act act)
{
    struct shape s = {.m = 29, .n = 139, .k = 77, .n1 = 139, .act = act, .bias = true, .residual = true};
    s.out_bf16 = out_bf16;
    struct operands o = operands_new(gemm, bf16, s, 3);
    struct emb_gemm_job job = job_of(&o);
    gemm->run(&job);
    size_t element = out_bf16 ? sizeof(emb_bf16) : sizeof(float), bytes = s.m * s.n * element;
    char *whole = test_malloc(bytes);
    memcpy(whole, o.out.data, bytes);
    for (size_t count = 1; count <= 2 * gemm->mr + 1; count++) {
        memset(o.out.data, 0xff, bytes);
        for (size_t row = 0; row < s.m; row += count) {
            for (size_t column = 0; column < s.n; column += gemm->nr) {
                struct emb_gemm_job part = job;
                part.a = (const char *)job.a + row * o.lda * (bf16 ? sizeof(emb_bf16) : sizeof(float));
                part.m = s.m - row < count ? s.m - row : count;
                part.n0 = column;
                part.n1 = s.n - column < gemm->nr ? s.n : column + gemm->nr;
                part.residual = job.residual + row * o.ldo;
                part.out = (char *)job.out + row * o.ldo * element;
                gemm->run(&part);
            }
        }
        assert_memory_equal(whole, o.out.data, bytes);
    }
    test_free(whole);
    operands_free(&o);
}

static void same_bits(const struct emb_kernels *t)
{
    same_bits_of(&t->gemm_f32, false, false, EMB_ACT_NONE);
    same_bits_of(&t->gemm_f32, false, true, EMB_ACT_GELU);
    same_bits_of(&t->gemm_bf16, true, false, EMB_ACT_SILU);
    same_bits_of(&t->gemm_bf16, true, true, EMB_ACT_GELU);
}

static void test_same_bits(void **state)
{
    (void)state;
    for_each_tier(same_bits);
}

static void set_row(struct operands *o, size_t row, float value)
{
    for (size_t p = 0; p < o->s.k; p++) {
        if (o->bf16) {
            ((emb_bf16 *)o->a.data)[row * o->lda + p] = emb_bf16_from_f32(value);
            value = emb_bf16_to_f32(emb_bf16_from_f32(value));
        } else {
            ((float *)o->a.data)[row * o->lda + p] = value;
        }
        o->exact_a[row * o->s.k + p] = value;
    }
}

/* Rows of extreme values: each does what it must, and the ordinary rows between them keep their bits. */
static void extremes_of(const struct emb_gemm *gemm, bool bf16)
{
    struct shape s = {.m = 13, .n = 70, .k = 63, .n1 = 70, .bias = true};
    struct operands o = operands_new(gemm, bf16, s, 11);
    struct emb_gemm_job job = job_of(&o);
    gemm->run(&job);
    float before[13 * 70];
    memcpy(before, o.out.data, sizeof(before));
    set_row(&o, 1, 0.0f);
    set_row(&o, 3, 1e30f);
    set_row(&o, 5, 1e-40f);
    set_row(&o, 7, NAN);
    set_row(&o, 9, INFINITY);
    set_row(&o, 11, -3.3e38f);
    gemm->run(&job);
    for (size_t row = 0; row < s.m; row += 2) {
        assert_memory_equal(before + row * s.n, (float *)o.out.data + row * s.n, s.n * sizeof(float));
    }
    for (size_t c = 0; c < s.n; c++) {
        double bias = (double)((float *)o.bias.data)[c];
        check_close(out_at(&o, 1, c), bias, 0.0, "%s zeros\n", gemm->name);
        check_close(out_at(&o, 5, c), bias, 1e-37, "%s denormals\n", gemm->name);
        check_element(&o, 3, c);
        assert_true(isnan(out_at(&o, 7, c)));
        assert_true(!isfinite(out_at(&o, 9, c)));
    }
    operands_free(&o);
}

static void extremes(const struct emb_kernels *t)
{
    extremes_of(&t->gemm_f32, false);
    extremes_of(&t->gemm_bf16, true);
}

static void test_extremes(void **state)
{
    (void)state;
    for_each_tier(extremes);
}

/* NaN goes through every activation, and into bf16. */
static void nan_rows(const struct emb_kernels *t)
{
    for (int act = EMB_ACT_NONE; act <= EMB_ACT_SILU; act++) {
        for (int out_bf16 = 0; out_bf16 < 2; out_bf16++) {
            struct shape s = {.m = 2, .n = 19, .k = 5, .n1 = 19, .act = (enum emb_act)act, .out_bf16 = out_bf16};
            struct operands o = operands_new(&t->gemm_f32, false, s, 2);
            ((float *)o.a.data)[2] = NAN;
            struct emb_gemm_job job = job_of(&o);
            t->gemm_f32.run(&job);
            for (size_t c = 0; c < s.n; c++) {
                assert_true(isnan(out_at(&o, 0, c)));
                assert_true(isfinite(out_at(&o, 1, c)));
            }
            operands_free(&o);
        }
    }
}

static void test_nan_rows(void **state)
{
    (void)state;
    for_each_tier(nan_rows);
}

#define SWEEP_ROWS 4096
#define SWEEP_STRIDE 1999u /* about 2.1 million of the 2^32 floats */

/* The bound of an activation at x: 1e-6, or the rounding of a large result. */
static double act_bound(double want, bool out_bf16)
{
    double bound = 1e-6 + fabs(want) * 0x1p-23;
    return fabs(want) < 8 && !out_bf16 ? 1e-6 : bound + (out_bf16 ? fabs(want) * 0x1p-8 : 0);
}

/* A product with k = 1 and a weight of 1 is the activation alone. */
static void sweep(const struct emb_kernels *t, enum emb_act act, bool out_bf16)
{
    static float x[SWEEP_ROWS], y[SWEEP_ROWS];
    static emb_bf16 y16[SWEEP_ROWS];
    const float one = 1.0f;
    void *w = NULL;
    assert_int_equal(posix_memalign(&w, 64, t->gemm_f32.packed_size(1, 1)), 0);
    t->gemm_f32.pack(w, &one, 0, 1, 1, 1);
    struct emb_gemm_job job = {
        .a = x, .lda = 1, .m = SWEEP_ROWS, .w = w, .n = 1, .k = 1, .n1 = 1, .act = act, .ldo = 1};
    job.out = out_bf16 ? (void *)y16 : y;
    job.out_bf16 = out_bf16;
    for (uint64_t bits = 0; bits < 1ull << 32;) {
        for (size_t i = 0; i < SWEEP_ROWS; i++, bits += SWEEP_STRIDE) {
            float value = float_of_bits((uint32_t)bits);
            x[i] = isfinite(value) ? value : 0.0f;
        }
        t->gemm_f32.run(&job);
        for (size_t i = 0; i < SWEEP_ROWS; i++) {
            double want = act_exact(act, (double)x[i]);
            if (!isfinite(want) || fabs(want) > 3e38) {
                continue;
            }
            double got = (double)(out_bf16 ? emb_bf16_to_f32(y16[i]) : y[i]);
            check_close(got, want, act_bound(want, out_bf16), "%s act %d of %.9g\n", t->tier, (int)act, (double)x[i]);
        }
    }
    free(w);
}

static void sweeps(const struct emb_kernels *t)
{
    sweep(t, EMB_ACT_GELU, false);
    sweep(t, EMB_ACT_GELU, true);
    sweep(t, EMB_ACT_GELU_TANH, false);
    sweep(t, EMB_ACT_RELU, false);
    sweep(t, EMB_ACT_SILU, false);
}

static void test_activations(void **state)
{
    (void)state;
    for_each_tier(sweeps);
}

static void sizes(const struct emb_kernels *t)
{
    const struct emb_gemm *both[] = {&t->gemm_f32, &t->gemm_bf16};
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(both[i]->name);
        assert_int_equal(both[i]->packed_size(100, 33) % 64, 0);
        assert_true(both[i]->packed_size(100, 33) >= 100 * 33 * sizeof(emb_bf16));
        assert_int_equal(both[i]->packed_size(SIZE_MAX, 1), 0);
        assert_int_equal(both[i]->packed_size(SIZE_MAX / 4, 64), 0);
        assert_int_equal(both[i]->packed_size(64, SIZE_MAX / 64), 0);
    }
}

/* Packing writes the same bytes in one call as in one a panel, and zeros are zeros everywhere, padding too. */
static void packing_of(const struct emb_gemm *gemm)
{
    enum { N = 139, K = 77 };
    float *w = test_malloc(N * K * sizeof(float));
    uint32_t seed = 12;
    for (size_t i = 0; i < (size_t)N * K; i++) {
        w[i] = random_float(&seed);
    }
    size_t bytes = gemm->packed_size(N, K);
    struct guarded whole = guarded_new(bytes), parts = guarded_new(bytes);
    memset(whole.data, 0, bytes);
    gemm->pack(whole.data, w, 0, N, N, K);
    for (size_t r0 = 0; r0 < N; r0 += gemm->nr) {
        size_t r1 = N - r0 < gemm->nr ? N : r0 + gemm->nr;
        gemm->pack(parts.data, w + r0 * K, r0, r1, N, K);
    }
    assert_memory_equal(whole.data, parts.data, bytes);
    memset(w, 0, N * K * sizeof(float));
    memset(whole.data, 0xff, bytes);
    memset(parts.data, 0, bytes);
    gemm->pack(whole.data, w, 0, N, N, K);
    assert_memory_equal(whole.data, parts.data, bytes);
    guarded_free(&whole);
    guarded_free(&parts);
    test_free(w);
}

static void packing(const struct emb_kernels *t)
{
    packing_of(&t->gemm_f32);
    packing_of(&t->gemm_bf16);
}

static void test_packing(void **state)
{
    (void)state;
    for_each_tier(packing);
}

static void test_sizes(void **state)
{
    (void)state;
    for_each_tier(sizes);
}

static void test_dispatch(void **state)
{
    (void)state;
    const char *const *tiers = emb_kernels_tiers();
    assert_string_equal(tiers[0], "ref");
    size_t count = 0;
    for (; tiers[count]; count++) {
        assert_non_null(emb_kernels_get(tiers[count]));
        assert_string_equal(emb_kernels_get(tiers[count])->tier, tiers[count]);
    }
    assert_ptr_equal(emb_kernels_get(NULL), emb_kernels_get(tiers[count - 1]));
    assert_ptr_equal(emb_kernels_get(""), emb_kernels_get("auto"));
    assert_null(emb_kernels_get("AVX2"));
    assert_null(emb_kernels_get("nonesuch"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispatch), cmocka_unit_test(test_sizes),       cmocka_unit_test(test_packing),
        cmocka_unit_test(test_products), cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_nan_rows), cmocka_unit_test(test_activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
