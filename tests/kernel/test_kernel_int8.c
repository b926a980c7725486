/* The int8 product of every tier: the conversion of rows against the definition and the portable tier bit for bit, exact
 * sums, row and column independence bit for bit, extreme values, and nearness to the product of the plain values.
 * All operands end at a guard page. */
#include "product.h"

#include "kernel/int8.h"

static const struct emb_gemm *ref_gemm(void)
{
    return &emb_kernels_get("ref")->gemm_i8;
}

/* The whole number that element i of a converted row holds: int16, or bytes, signed or with 128 for zero. */
static int value_of(const struct emb_gemm *gemm, const void *a, size_t i)
{
    if (gemm->a_size == 2) {
        return ((const int16_t *)a)[i];
    }
    const float nothing = 0.0f;
    uint8_t zero;
    float scale;
    gemm->encode(&nothing, 1, 1, &zero, &scale);
    return zero == EMB_I8_ZERO ? ((const uint8_t *)a)[i] - EMB_I8_ZERO : ((const int8_t *)a)[i];
}

/* ---- Conversion of rows ---- */

static void fill_row(float *x, size_t k, size_t kind, uint32_t *seed)
{
    static const float special[] = {0.0f, 1e30f, 1e-40f, -1e-29f, -0.0f, 3.3e38f};
    enum { KINDS = sizeof(special) / sizeof(special[0]) };
    for (size_t p = 0; p < k; p++) {
        x[p] = random_float(seed);
        x[p] *= kind > 0 && kind <= KINDS ? special[kind - 1] : 1.0f;
    }
    if (kind > KINDS) {
        static const float odd[] = {NAN, INFINITY, -INFINITY, 1000.0f};
        x[next_random(seed) % k] = odd[(kind - KINDS - 1) % 4];
    }
}

#define ROW_KINDS 11

/* A converted row against its definition, in double precision. */
static void check_row(const struct emb_gemm *gemm, const float *x, size_t k, const void *a, float scale)
{
    size_t block = emb_i8_block(k);
    double max = 0;
    bool finite = true;
    for (size_t p = 0; p < k; p++) {
        finite = finite && isfinite(x[p]);
        double y = 0;
        for (size_t j = 0; j < block; j++) {
            double term = (double)x[p / block * block + j];
            y += __builtin_popcountll(j & (p % block)) % 2 ? -term : term;
        }
        max = fabs(y) > max ? fabs(y) : max;
        double error = fabs(y - (double)scale * value_of(gemm, a, p));
        assert_true(isnan(scale) || error <= 0.501 * (double)scale + 1e-30);
        assert_in_range(value_of(gemm, a, p) + 127, 0, 254);
    }
    if (!finite || max > 3.5e38) {
        assert_true(isnan(scale));
    } else if (max < 3.3e38) {
        check_close(scale, max / 127, max * 1e-6 + 1e-30, "%s scale, k=%zu\n", gemm->name, k);
    }
}

static void conversion_of(const struct emb_gemm *gemm, size_t k)
{
    uint32_t seed = (uint32_t)k;
    struct guarded x = guarded_new(ROW_KINDS * k * sizeof(float)), a = guarded_new(ROW_KINDS * k * gemm->a_size);
    struct guarded scales = guarded_new(ROW_KINDS * sizeof(float)), one = guarded_new(k * gemm->a_size);
    uint8_t *want = test_malloc(k);
    for (size_t r = 0; r < ROW_KINDS; r++) {
        fill_row((float *)x.data + r * k, k, r, &seed);
    }
    gemm->encode(x.data, ROW_KINDS, k, a.data, scales.data);
    for (size_t r = 0; r < ROW_KINDS; r++) {
        const float *row = (float *)x.data + r * k;
        const char *got = (char *)a.data + r * k * gemm->a_size;
        float scale = ((float *)scales.data)[r], alone, wanted;
        check_row(gemm, row, k, got, scale);
        gemm->encode(row, 1, k, one.data, &alone);
        assert_memory_equal(got, one.data, k * gemm->a_size);
        ref_gemm()->encode(row, 1, k, want, &wanted);
        assert_true(alone == scale || (isnan(alone) && isnan(scale)));
        assert_true(wanted == scale || (isnan(wanted) && isnan(scale)));
        for (size_t p = 0; p < k; p++) {
            assert_int_equal(value_of(gemm, got, p), want[p] - EMB_I8_ZERO);
        }
    }
    guarded_free(&x);
    guarded_free(&a);
    guarded_free(&scales);
    guarded_free(&one);
    test_free(want);
}

static void conversions(const struct emb_kernels *t)
{
    static const size_t depths[] = {1, 2, 3, 4, 6, 8, 12, 15, 16, 24, 32, 40, 63, 64, 80, 96, 100, 128, 192, 224, 384};
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        conversion_of(&t->gemm_i8, depths[i]);
    }
    conversion_of(&t->gemm_i8, 4096);
    conversion_of(&t->gemm_i8, 4160);
    conversion_of(&t->gemm_i8, 4100);
}

static void test_conversions(void **state)
{
    (void)state;
    for_each_tier(conversions);
}

/* ---- Products ---- */

/* A product with the whole numbers both sides hold and the weights' scales. */
struct operands {
    struct product p;
    float *x, *plain_w, *w_scales;
    int *qa, *qw;
};

static void set_rows(struct operands *o)
{
    size_t k = o->p.s.k, size = o->p.gemm->a_size;
    char *dense = test_malloc(k * size);
    for (size_t r = 0; r < o->p.s.m; r++) {
        o->p.gemm->encode(o->x + r * k, 1, k, dense, (float *)o->p.a_scales.data + r);
        memcpy((char *)o->p.a.data + r * o->p.lda * size, dense, k * size);
        for (size_t i = 0; i < k; i++) {
            o->qa[r * k + i] = value_of(o->p.gemm, dense, i);
        }
    }
    test_free(dense);
}

/* The numbers come from the portable conversion, which is that of weights too. */
static void set_weights(struct operands *o)
{
    size_t n = o->p.s.n, k = o->p.s.k;
    uint8_t *q = test_malloc(k);
    for (size_t c = 0; c < n; c++) {
        ref_gemm()->encode(o->plain_w + c * k, 1, k, q, o->w_scales + c);
        o->w_scales[c] /= (float)emb_i8_block(k);
        for (size_t i = 0; i < k; i++) {
            o->qw[c * k + i] = q[i] - EMB_I8_ZERO;
        }
    }
    product_pack(&o->p, o->plain_w);
    test_free(q);
}

static float *random_floats(size_t count, uint32_t *seed)
{
    float *x = test_malloc(count * sizeof(*x));
    for (size_t i = 0; i < count; i++) {
        x[i] = random_float(seed);
    }
    return x;
}

static struct operands operands_new(const struct emb_gemm *gemm, struct shape s, uint32_t seed)
{
    struct operands o = {.p = product_new(gemm, s, &seed)};
    o.x = random_floats(s.m * s.k, &seed);
    o.plain_w = random_floats(s.n * s.k, &seed);
    o.w_scales = test_malloc(s.n * sizeof(float));
    o.qa = test_malloc(s.m * s.k * sizeof(int));
    o.qw = test_malloc(s.n * s.k * sizeof(int));
    set_rows(&o);
    set_weights(&o);
    return o;
}

static void operands_free(struct operands *o)
{
    void *plain[] = {o->x, o->plain_w, o->w_scales, o->qa, o->qw};
    product_free(&o->p);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        test_free(plain[i]);
    }
}

/* Within a few roundings: a sum that is one off would be seen, as long as it is below some 2^21. */
static void check_element(const struct operands *o, size_t row, size_t column)
{
    int64_t sum = 0;
    size_t k = o->p.s.k;
    for (size_t i = 0; i < k; i++) {
        sum += (int64_t)o->qa[row * k + i] * o->qw[column * k + i];
    }
    double scale = (double)((float *)o->p.a_scales.data)[row] * (double)o->w_scales[column];
    double scaled = (double)sum * scale, bias = product_bias(&o->p, column);
    double magnitude = fabs(scaled) + fabs(bias) + (o->p.s.residual ? 1 : 0);
    double want = product_want(&o->p, row, column, scaled + bias);
    product_check(&o->p, row, column, want, 4 * 0x1p-24 * magnitude);
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
    for_each_shape(&t->gemm_i8, check_product);
}

static void test_products(void **state)
{
    (void)state;
    for_each_tier(products);
}

/* The largest sums there can be: every number 127 or -127, at the largest k without rotation. */
static void largest_sums(const struct emb_kernels *t)
{
    enum { K = EMB_I8_MAX_K - 1 };
    struct operands o = operands_new(&t->gemm_i8, (struct shape){.m = 3, .n = 4, .k = K, .n1 = 4}, 1);
    for (size_t i = 0; i < 3 * (size_t)K; i++) {
        o.x[i] = i / K == 1 ? -1.0f : 1.0f;
    }
    for (size_t i = 0; i < 4 * (size_t)K; i++) {
        o.plain_w[i] = i / K % 2 == 1 ? -1.0f : 1.0f;
    }
    set_rows(&o);
    set_weights(&o);
    product_run(&o.p);
    for (size_t r = 0; r < 3; r++) {
        for (size_t c = 0; c < 4; c++) {
            double want = (r == 1) == (c % 2 == 1) ? K : -K;
            check_close(product_out(&o.p, r, c), want, K * 1e-6, "%s largest sums\n", t->gemm_i8.name);
        }
    }
    operands_free(&o);
}

static void test_largest_sums(void **state)
{
    (void)state;
    for_each_tier(largest_sums);
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
    same_bits_of(&t->gemm_i8, false, EMB_ACT_NONE);
    same_bits_of(&t->gemm_i8, true, EMB_ACT_GELU);
    same_bits_of(&t->gemm_i8, false, EMB_ACT_SILU);
}

static void test_same_bits(void **state)
{
    (void)state;
    for_each_tier(same_bits);
}

/* ---- Extreme values ---- */

static void set_row(struct operands *o, size_t row, float value)
{
    for (size_t i = 0; i < o->p.s.k; i++) {
        o->x[row * o->p.s.k + i] *= value;
    }
}

/* Rows of extreme values: each does what it must, and the ordinary rows between them keep their bits. */
static void extreme_rows(const struct emb_kernels *t)
{
    struct shape s = {.m = 13, .n = 70, .k = 192, .n1 = 70, .bias = true};
    struct operands o = operands_new(&t->gemm_i8, s, 11);
    product_run(&o.p);
    float before[13 * 70];
    memcpy(before, o.p.out.data, sizeof(before));
    set_row(&o, 1, 0.0f);
    set_row(&o, 3, 1e30f);
    set_row(&o, 5, 1e-40f);
    o.x[7 * s.k + 100] = NAN;
    o.x[9 * s.k + 191] = INFINITY;
    set_row(&o, 11, -3.3e38f);
    set_rows(&o);
    product_run(&o.p);
    check_even_rows(&o.p, before);
    for (size_t c = 0; c < s.n; c++) {
        double bias = product_bias(&o.p, c);
        check_close(product_out(&o.p, 1, c), bias, 0.0, "%s zeros\n", o.p.gemm->name);
        check_close(product_out(&o.p, 5, c), bias, 1e-28, "%s denormals\n", o.p.gemm->name);
        check_element(&o, 3, c);
        assert_true(isnan(product_out(&o.p, 7, c)));
        assert_true(isnan(product_out(&o.p, 9, c)));
        assert_true(!isfinite(product_out(&o.p, 11, c)));
    }
    operands_free(&o);
}

/* The same of the weights: a column that is not finite is NaN, whatever the activation, and the others keep their bits. */
static void extreme_columns(const struct emb_kernels *t, enum emb_act act, bool out_bf16)
{
    struct shape s = {.m = 7, .n = 70, .k = 100, .n1 = 70, .act = act, .out_bf16 = out_bf16};
    struct operands o = operands_new(&t->gemm_i8, s, 13);
    product_run(&o.p);
    float before[7 * 70];
    size_t element = out_bf16 ? sizeof(emb_bf16) : sizeof(float);
    memcpy(before, o.p.out.data, 7 * 70 * element);
    o.plain_w[3 * s.k + 99] = NAN;
    o.plain_w[66 * s.k] = -INFINITY;
    memset(o.plain_w + 40 * s.k, 0, s.k * sizeof(float));
    set_weights(&o);
    product_run(&o.p);
    for (size_t row = 0; row < s.m; row++) {
        for (size_t c = 0; c < s.n; c++) {
            if (c == 3 || c == 66) {
                assert_true(isnan(product_out(&o.p, row, c)));
            } else if (c == 40) {
                check_close(product_out(&o.p, row, c), 0.0, 1e-6, "%s column of zeros\n", o.p.gemm->name);
            } else {
                size_t at = (row * s.n + c) * element;
                assert_memory_equal((char *)before + at, (char *)o.p.out.data + at, element);
            }
        }
    }
    operands_free(&o);
}

static void extremes(const struct emb_kernels *t)
{
    extreme_rows(t);
    for (int act = EMB_ACT_NONE; act <= EMB_ACT_SILU; act++) {
        extreme_columns(t, (enum emb_act)act, false);
        extreme_columns(t, (enum emb_act)act, true);
    }
}

static void test_extremes(void **state)
{
    (void)state;
    for_each_tier(extremes);
}

/* ---- Nearness, sizes, packing ---- */

/* Against the product of the plain values, some of the row's far larger than the rest, as a model's are: the rotation
 * keeps the error of a whole product's norm below 1.5 %. */
static void near(const struct emb_kernels *t)
{
    struct shape s = {.m = 20, .n = 70, .k = 384, .n1 = 70};
    struct operands o = operands_new(&t->gemm_i8, s, 17);
    for (size_t r = 0; r < s.m; r++) {
        o.x[r * s.k + 77] *= 25.0f;
        o.x[r * s.k + 300] *= -25.0f;
    }
    set_rows(&o);
    product_run(&o.p);
    double errors = 0, norm = 0;
    for (size_t r = 0; r < s.m; r++) {
        for (size_t c = 0; c < s.n; c++) {
            double want = 0;
            for (size_t p = 0; p < s.k; p++) {
                want += (double)o.x[r * s.k + p] * (double)o.plain_w[c * s.k + p];
            }
            errors += (want - (double)product_out(&o.p, r, c)) * (want - (double)product_out(&o.p, r, c));
            norm += want * want;
        }
    }
    assert_true(sqrt(errors / norm) < 0.015);
    operands_free(&o);
}

static void test_near(void **state)
{
    (void)state;
    for_each_tier(near);
}

static void sizes(const struct emb_kernels *t)
{
    check_sizes(&t->gemm_i8, sizeof(int8_t));
    assert_true(t->gemm_i8.packed_size(1, EMB_I8_MAX_K) > 0);
    assert_int_equal(t->gemm_i8.packed_size(1, EMB_I8_MAX_K + 1), 0);
}

static void test_sizes(void **state)
{
    (void)state;
    for_each_tier(sizes);
}

static void packing(const struct emb_kernels *t)
{
    check_packing(&t->gemm_i8);
}

static void test_packing(void **state)
{
    (void)state;
    for_each_tier(packing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),        cmocka_unit_test(test_packing),  cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_products),     cmocka_unit_test(test_near),     cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_largest_sums), cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
