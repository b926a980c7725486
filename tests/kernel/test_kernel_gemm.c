/* Matrix products of every tier against double precision, their row and column independence bit for bit, and their
 * activations over the whole range of f32. All operands end at a guard page. */
#include "product.h"

/* A product with its numbers as f32: exactly the values the kernel sees. */
struct operands {
    struct product p;
    struct guarded w;
    float *exact_a, *exact_w;
};

/* f32 or bf16: both are their own activation type. */
static bool is_bf16(const struct emb_gemm *gemm)
{
    return gemm->a_size == sizeof(emb_bf16);
}

static void set_a(struct operands *o, size_t row, size_t i, float x)
{
    size_t at = row * o->p.lda + i;
    if (is_bf16(o->p.gemm)) {
        ((emb_bf16 *)o->p.a.data)[at] = emb_bf16_from_f32(x);
        x = emb_bf16_to_f32(emb_bf16_from_f32(x));
    } else {
        ((float *)o->p.a.data)[at] = x;
    }
    o->exact_a[row * o->p.s.k + i] = x;
}

static struct operands operands_new(const struct emb_gemm *gemm, struct shape s, uint32_t seed)
{
    struct operands o = {.p = product_new(gemm, s, &seed)};
    size_t count = s.n * s.k;
    o.w = guarded_new(count * sizeof(float));
    o.exact_w = o.w.data;
    o.exact_a = test_malloc(s.m * s.k * sizeof(float));
    for (size_t i = 0; i < s.m * s.k; i++) {
        set_a(&o, i / s.k, i % s.k, random_float(&seed));
    }
    for (size_t i = 0; i < count; i++) {
        o.exact_w[i] = random_float(&seed);
    }
    product_pack(&o.p, o.exact_w);
    for (size_t i = 0; is_bf16(gemm) && i < count; i++) {
        o.exact_w[i] = emb_bf16_to_f32(emb_bf16_from_f32(o.exact_w[i]));
    }
    return o;
}

static void operands_free(struct operands *o)
{
    product_free(&o->p);
    guarded_free(&o->w);
    test_free(o->exact_a);
}

/* Within (4 + sqrt k) roundings of the sum of magnitudes. */
static void check_element(const struct operands *o, size_t row, size_t column)
{
    size_t k = o->p.s.k;
    double sum = product_bias(&o->p, column), magnitude = fabs(sum);
    for (size_t i = 0; i < k; i++) {
        double product = (double)o->exact_a[row * k + i] * (double)o->exact_w[column * k + i];
        sum += product;
        magnitude += fabs(product);
    }
    double bound = (4 + sqrt((double)k)) * 0x1p-24 * (magnitude + 1) * 1.2;
    product_check(&o->p, row, column, product_want(&o->p, row, column, sum), bound);
}

static void check_product(const struct emb_gemm *gemm, struct shape s, uint32_t seed)
{
    struct operands o = operands_new(gemm, s, seed);
    product_run(&o.p);
    for (size_t r = 0; r < s.m; r++) {
        for (size_t c = s.n0; c < s.n1; c++) {
            check_element(&o, r, c);
        }
    }
    product_check_outside(&o.p);
    operands_free(&o);
}

static void products(const struct emb_kernels *t)
{
    for_each_shape(&t->gemm_f32, check_product);
    for_each_shape(&t->gemm_bf16, check_product);
}

static void test_products(void **state)
{
    (void)state;
    for_each_tier(products);
}

static void same_bits_of(const struct emb_gemm *gemm, bool out_bf16, enum emb_act act)
{
    struct shape s = {.m = 29, .n = 139, .k = 77, .n1 = 139, .act = act, .bias = true, .residual = true};
    s.out_bf16 = out_bf16;
    struct operands o = operands_new(gemm, s, 3);
    check_same_bits(&o.p);
    operands_free(&o);
}

static void same_bits(const struct emb_kernels *t)
{
    same_bits_of(&t->gemm_f32, false, EMB_ACT_NONE);
    same_bits_of(&t->gemm_f32, true, EMB_ACT_GELU);
    same_bits_of(&t->gemm_bf16, false, EMB_ACT_SILU);
    same_bits_of(&t->gemm_bf16, true, EMB_ACT_GELU);
}

static void test_same_bits(void **state)
{
    (void)state;
    for_each_tier(same_bits);
}

static void set_row(struct operands *o, size_t row, float value)
{
    for (size_t i = 0; i < o->p.s.k; i++) {
        set_a(o, row, i, value);
    }
}

/* Rows of extreme values: each does what it must, and the ordinary rows between them keep their bits. */
static void extremes_of(const struct emb_gemm *gemm)
{
    struct operands o = operands_new(gemm, (struct shape){.m = 13, .n = 70, .k = 63, .n1 = 70, .bias = true}, 11);
    product_run(&o.p);
    float before[13 * 70];
    memcpy(before, o.p.out.data, sizeof(before));
    set_row(&o, 1, 0.0f);
    set_row(&o, 3, 1e30f);
    set_row(&o, 5, 1e-40f);
    set_row(&o, 7, NAN);
    set_row(&o, 9, INFINITY);
    set_row(&o, 11, -3.3e38f);
    product_run(&o.p);
    check_even_rows(&o.p, before);
    for (size_t c = 0; c < o.p.s.n; c++) {
        double bias = product_bias(&o.p, c);
        check_close(product_out(&o.p, 1, c), bias, 0.0, "%s zeros\n", gemm->name);
        check_close(product_out(&o.p, 5, c), bias, 1e-37, "%s denormals\n", gemm->name);
        check_element(&o, 3, c);
        assert_true(isnan(product_out(&o.p, 7, c)));
        assert_true(!isfinite(product_out(&o.p, 9, c)));
    }
    operands_free(&o);
}

static void extremes(const struct emb_kernels *t)
{
    extremes_of(&t->gemm_f32);
    extremes_of(&t->gemm_bf16);
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
            struct operands o = operands_new(&t->gemm_f32, s, 2);
            set_a(&o, 0, 2, NAN);
            product_run(&o.p);
            for (size_t c = 0; c < s.n; c++) {
                assert_true(isnan(product_out(&o.p, 0, c)));
                assert_true(isfinite(product_out(&o.p, 1, c)));
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
    check_sizes(&t->gemm_f32, sizeof(float));
    check_sizes(&t->gemm_bf16, sizeof(emb_bf16));
}

static void packing(const struct emb_kernels *t)
{
    check_packing(&t->gemm_f32);
    check_packing(&t->gemm_bf16);
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
