/* Pooling and normalisation on numbers worked out by hand. */
#include "model/pooling.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const float states[3][2] = {{1, -4}, {2, 5}, {6, 2}};

static void check(embellama_pooling pooling, float a, float b)
{
    float out[2];
    emb_pool_states(&states[0][0], 3, 2, pooling, out);
    assert_float_equal(out[0], a, 1e-6);
    assert_float_equal(out[1], b, 1e-6);
}

static void test_pooling(void **state)
{
    (void)state;
    check(EMBELLAMA_POOLING_MEAN, 3, 1);
    check(EMBELLAMA_POOLING_CLS, 1, -4);
    check(EMBELLAMA_POOLING_LAST, 6, 2);
    check(EMBELLAMA_POOLING_MAX, 6, 5);
    check(EMBELLAMA_POOLING_MEAN_SQRT_LEN, 5.19615242F, 1.73205081F);
}

static void test_nan_survives_pooling(void **state)
{
    (void)state;
    static const embellama_pooling kinds[] = {EMBELLAMA_POOLING_MEAN, EMBELLAMA_POOLING_MAX,
                                              EMBELLAMA_POOLING_MEAN_SQRT_LEN};
    for (size_t at = 0; at < 3; at++) {
        float with_nan[3][2], out[2];
        memcpy(with_nan, states, sizeof with_nan);
        with_nan[at][1] = NAN;
        for (size_t k = 0; k < 3; k++) {
            emb_pool_states(&with_nan[0][0], 3, 2, kinds[k], out);
            assert_false(emb_all_finite(out, 2));
        }
    }
}

static void check_normalised(embellama_normalize normalize, float p, float a, float b)
{
    float v[2] = {3, -4};
    embellama_normalize_vector(v, 2, normalize, p);
    assert_float_equal(v[0], a, 1e-6);
    assert_float_equal(v[1], b, 1e-6);
}

static void test_normalisation(void **state)
{
    (void)state;
    check_normalised(EMBELLAMA_NORMALIZE_NONE, 2, 3, -4);
    check_normalised(EMBELLAMA_NORMALIZE_L2, 2, 0.6F, -0.8F);
    check_normalised(EMBELLAMA_NORMALIZE_AUTO, 2, 0.6F, -0.8F);
    check_normalised(EMBELLAMA_NORMALIZE_MAX_ABS, 2, 0.75F, -1);
    check_normalised(EMBELLAMA_NORMALIZE_P, 1, 3.0F / 7, -4.0F / 7);
    check_normalised(EMBELLAMA_NORMALIZE_P, 3, 3 / cbrtf(91), -4 / cbrtf(91));
}

static void test_extreme_vectors(void **state)
{
    (void)state;
    float zero[3] = {0, 0, 0}, huge[2] = {3e38F, 3e38F}, tiny[2] = {1e-45F, 0};
    embellama_normalize_vector(zero, 3, EMBELLAMA_NORMALIZE_L2, 2);
    assert_true(zero[0] == 0 && zero[1] == 0 && zero[2] == 0);
    embellama_normalize_vector(huge, 2, EMBELLAMA_NORMALIZE_L2, 2);
    assert_float_equal(huge[0], 0.70710678F, 1e-6);
    embellama_normalize_vector(tiny, 2, EMBELLAMA_NORMALIZE_P, 7);
    assert_float_equal(tiny[0], 1, 1e-6);
}

static void test_cosine(void **state)
{
    (void)state;
    const float a[2] = {1, 0}, b[2] = {1, 1}, zero[2] = {0, 0};
    assert_float_equal(embellama_cosine(a, b, 2), 0.70710678F, 1e-6);
    assert_float_equal(embellama_cosine(a, a, 2), 1, 1e-7);
    assert_float_equal(embellama_cosine(a, zero, 2), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pooling),       cmocka_unit_test(test_nan_survives_pooling),
        cmocka_unit_test(test_normalisation), cmocka_unit_test(test_extreme_vectors),
        cmocka_unit_test(test_cosine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
