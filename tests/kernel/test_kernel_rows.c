/* Layer normalisation, conversion to bf16 and the dot product of every tier. All operands end at a guard page. */
#include "kernel_test.h"

#define EPS 1e-12f

static void check_norm_row(const struct emb_kernels *t, const float *x, const float *gamma, const float *beta,
                           size_t dim, const float *y)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < dim; i++) {
        mean += (double)x[i] / (double)dim;
    }
    for (size_t i = 0; i < dim; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double inverse = 1.0 / sqrt(squares / (double)dim + (double)EPS);
    for (size_t i = 0; i < dim; i++) {
        double want = ((double)x[i] - mean) * inverse * (double)gamma[i] + (double)beta[i];
        check_close((double)y[i], want, 3e-6 * (1 + fabs(want)), "%s layernorm dim %zu at %zu\n", t->tier, dim, i);
    }
}

static void check_bf16(const float *x, const emb_bf16 *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(y[i], emb_bf16_from_f32(x[i]));
    }
}

static void norms(const struct emb_kernels *t)
{
    static const size_t dims[] = {2, 3, 7, 8, 15, 16, 17, 31, 64, 65, 100, 127, 384, 400, 768, 1024};
    uint32_t seed = 1;
    for (size_t j = 0; j < sizeof(dims) / sizeof(dims[0]); j++) {
        size_t rows = 7, dim = dims[j], n = rows * dim;
        struct guarded x = guarded_new(n * sizeof(float)), y = guarded_new(n * sizeof(float));
        struct guarded gamma = guarded_new(dim * sizeof(float)), beta = guarded_new(dim * sizeof(float));
        struct guarded y16 = guarded_new(n * sizeof(emb_bf16));
        float *fx = x.data, *fg = gamma.data, *fb = beta.data, *fy = y.data;
        for (size_t i = 0; i < n; i++) {
            fx[i] = random_float(&seed) * 4 + (float)(i / dim);
        }
        for (size_t i = 0; i < dim; i++) {
            fg[i] = random_float(&seed);
            fb[i] = random_float(&seed);
        }
        t->layernorm(fx, rows, dim, fg, fb, EPS, fy, y16.data);
        for (size_t r = 0; r < rows; r++) {
            check_norm_row(t, fx + r * dim, fg, fb, dim, fy + r * dim);
        }
        check_bf16(fy, y16.data, n);
        /* In place, in groups of 1, 2 and 4: the same bits. */
        t->layernorm(fx, 1, dim, fg, fb, EPS, fx, NULL);
        t->layernorm(fx + dim, 2, dim, fg, fb, EPS, fx + dim, NULL);
        t->layernorm(fx + 3 * dim, 4, dim, fg, fb, EPS, fx + 3 * dim, NULL);
        assert_memory_equal(fx, fy, n * sizeof(float));
        guarded_free(&x);
        guarded_free(&y);
        guarded_free(&gamma);
        guarded_free(&beta);
        guarded_free(&y16);
    }
}

static void test_norms(void **state)
{
    (void)state;
    for_each_tier(norms);
}

/* A constant row gives beta; NaN and infinity stay in their row. */
static void norm_extremes(const struct emb_kernels *t)
{
    enum { ROWS = 4, DIM = 37 };
    float x[ROWS * DIM], y[ROWS * DIM], gamma[DIM], beta[DIM];
    uint32_t seed = 6;
    for (size_t i = 0; i < DIM; i++) {
        gamma[i] = 1.0f;
        beta[i] = random_float(&seed);
        x[i] = 0.0f;
        x[DIM + i] = random_float(&seed);
        x[2 * DIM + i] = random_float(&seed);
        x[3 * DIM + i] = random_float(&seed) * 1e15f;
    }
    x[DIM + 5] = NAN;
    x[2 * DIM + 6] = INFINITY;
    t->layernorm(x, ROWS, DIM, gamma, beta, EPS, y, NULL);
    assert_memory_equal(y, beta, sizeof(beta));
    for (size_t i = 0; i < DIM; i++) {
        assert_true(isnan(y[DIM + i]));
        assert_true(isnan(y[2 * DIM + i]));
    }
    check_norm_row(t, x + (size_t)3 * DIM, gamma, beta, DIM, y + (size_t)3 * DIM);
}

static void test_norm_extremes(void **state)
{
    (void)state;
    for_each_tier(norm_extremes);
}

#define CHUNK 4099
#define STRIDE 977u /* about 4.4 million of the 2^32 floats */

static bool same_bf16(const char *tier, float x, emb_bf16 got)
{
    emb_bf16 want = emb_bf16_from_f32(x);
    bool flushes = strcmp(tier, "avx512bf16") == 0 && fabsf(x) < 0x1p-126f;
    return got == want || (isnan(x) && isnan(emb_bf16_to_f32(got))) || (flushes && (got & 0x7fff) == 0);
}

static void conversions(const struct emb_kernels *t)
{
    struct guarded x = guarded_new(CHUNK * sizeof(float)), y = guarded_new(CHUNK * sizeof(emb_bf16));
    float *fx = x.data;
    emb_bf16 *hy = y.data;
    for (uint64_t bits = 0; bits < 1ull << 32;) {
        for (size_t i = 0; i < CHUNK; i++, bits += STRIDE) {
            fx[i] = float_of_bits((uint32_t)bits);
        }
        t->f32_to_bf16(fx, CHUNK, hy);
        for (size_t i = 0; i < CHUNK; i++) {
            if (!same_bf16(t->tier, fx[i], hy[i])) {
                fail_msg("%s: bf16 of %a is %04x", t->tier, (double)fx[i], hy[i]);
            }
        }
    }
    for (size_t n = 0; n < 40; n++) {
        memset(hy, 0xff, CHUNK * sizeof(emb_bf16));
        t->f32_to_bf16(fx + CHUNK - n, n, hy + CHUNK - n);
        assert_int_equal(hy[CHUNK - n - 1], 0xffff);
    }
    guarded_free(&x);
    guarded_free(&y);
}

static void test_conversions(void **state)
{
    (void)state;
    for_each_tier(conversions);
}

/* Ties go to even; NaN with an empty upper half stays NaN; too large becomes infinity. */
static void test_scalar_bf16(void **state)
{
    (void)state;
    assert_int_equal(emb_bf16_from_f32(float_of_bits(0x3f808000)), 0x3f80);
    assert_int_equal(emb_bf16_from_f32(float_of_bits(0x3f818000)), 0x3f82);
    assert_int_equal(emb_bf16_from_f32(float_of_bits(0x3f808001)), 0x3f81);
    assert_int_equal(emb_bf16_from_f32(float_of_bits(0x7f7fffff)), 0x7f80);
    assert_true(isnan(emb_bf16_to_f32(emb_bf16_from_f32(float_of_bits(0x7f800001)))));
    assert_true(isnan(emb_bf16_to_f32(emb_bf16_from_f32(float_of_bits(0xffffffff)))));
    assert_int_equal(emb_bf16_from_f32(-0.0f), 0x8000);
}

static void dots(const struct emb_kernels *t)
{
    uint32_t seed = 8;
    for (size_t n = 0; n < 300; n++) {
        struct guarded a = guarded_new(n * sizeof(float)), b = guarded_new(n * sizeof(float));
        float *fa = a.data, *fb = b.data;
        double want = 0, magnitude = 0;
        for (size_t i = 0; i < n; i++) {
            fa[i] = random_float(&seed);
            fb[i] = random_float(&seed);
            want += (double)fa[i] * (double)fb[i];
            magnitude += fabs((double)fa[i] * (double)fb[i]);
        }
        check_close((double)t->dot(fa, fb, n), want, magnitude * (4 + sqrt((double)n)) * 0x1p-24, "%s dot of %zu\n",
                    t->tier, n);
        guarded_free(&a);
        guarded_free(&b);
    }
}

static void test_dots(void **state)
{
    (void)state;
    for_each_tier(dots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),       cmocka_unit_test(test_norm_extremes), cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_scalar_bf16), cmocka_unit_test(test_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
