/* The int8 product of every tier: the conversion of rows against the definition and the portable tier bit for bit, exact
 * sums, row and column independence bit for bit, extreme values, and nearness to the product of the plain values.
 * All operands end at a guard page. */
#include "kernel_test.h"

#include "kernel/int8.h"

#define ROOT_HALF 0.70710678118654752440

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

struct shape {
    size_t m, n, k, n0, n1;
    enum emb_act act;
    bool bias, residual, in_place, out_bf16;
    size_t pad; /* extra elements in each stride */
};

/* The operands of one product, with the whole numbers both sides hold and the weights' scales. */
struct operands {
    struct shape s;
    const struct emb_gemm *gemm;
    size_t lda, ldo;
    struct guarded a, a_scales, w, bias, residual, out;
    float *x, *plain_w, *w_scales;
    int *qa, *qw;
};

static size_t strided(size_t rows, size_t stride, size_t columns)
{
    return (rows - 1) * stride + columns;
}

static void set_rows(struct operands *o)
{
    size_t k = o->s.k, size = o->gemm->a_size;
    char *dense = test_malloc(k * size);
    for (size_t r = 0; r < o->s.m; r++) {
        o->gemm->encode(o->x + r * k, 1, k, dense, (float *)o->a_scales.data + r);
        memcpy((char *)o->a.data + r * o->lda * size, dense, k * size);
        for (size_t p = 0; p < k; p++) {
            o->qa[r * k + p] = value_of(o->gemm, dense, p);
        }
    }
    test_free(dense);
}

/* Packs in two calls, split at a panel. The numbers come from the portable conversion, which is that of weights too. */
static void set_weights(struct operands *o)
{
    size_t n = o->s.n, k = o->s.k;
    uint8_t *q = test_malloc(k);
    for (size_t c = 0; c < n; c++) {
        ref_gemm()->encode(o->plain_w + c * k, 1, k, q, o->w_scales + c);
        o->w_scales[c] /= (float)emb_i8_block(k);
        for (size_t p = 0; p < k; p++) {
            o->qw[c * k + p] = q[p] - EMB_I8_ZERO;
        }
    }
    size_t middle = (n / o->gemm->nr + 1) / 2 * o->gemm->nr;
    middle = middle < n ? middle : 0;
    o->gemm->pack(o->w.data, o->plain_w + middle * k, middle, n, n, k);
    if (middle > 0) {
        o->gemm->pack(o->w.data, o->plain_w, 0, middle, n, k);
    }
    test_free(q);
}

static struct operands operands_new(const struct emb_gemm *gemm, struct shape s, uint32_t seed)
{
    struct operands o = {.s = s, .gemm = gemm, .lda = s.k + s.pad, .ldo = s.n + s.pad};
    o.a = guarded_new(strided(s.m, o.lda, s.k) * gemm->a_size);
    o.a_scales = guarded_new(s.m * sizeof(float));
    o.w = guarded_new(gemm->packed_size(s.n, s.k));
    o.bias = guarded_new(s.n * sizeof(float));
    o.residual = guarded_new(strided(s.m, o.ldo, s.n) * sizeof(float));
    o.out = guarded_new(strided(s.m, o.ldo, s.n) * (s.out_bf16 ? sizeof(emb_bf16) : sizeof(float)));
    o.x = test_malloc(s.m * s.k * sizeof(float));
    o.plain_w = test_malloc(s.n * s.k * sizeof(float));
    o.w_scales = test_malloc(s.n * sizeof(float));
    o.qa = test_malloc(s.m * s.k * sizeof(int));
    o.qw = test_malloc(s.n * s.k * sizeof(int));
    for (size_t i = 0; i < s.m * s.k; i++) {
        o.x[i] = random_float(&seed);
    }
    for (size_t i = 0; i < s.n * s.k; i++) {
        o.plain_w[i] = random_float(&seed);
    }
    for (size_t i = 0; i < s.n; i++) {
        ((float *)o.bias.data)[i] = random_float(&seed);
    }
    for (size_t i = 0; i < strided(s.m, o.ldo, s.n); i++) {
        ((float *)o.residual.data)[i] = random_float(&seed);
    }
    set_rows(&o);
    set_weights(&o);
    return o;
}

static void operands_free(struct operands *o)
{
    struct guarded *guards[] = {&o->a, &o->a_scales, &o->w, &o->bias, &o->residual, &o->out};
    void *plain[] = {o->x, o->plain_w, o->w_scales, o->qa, o->qw};
    for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++) {
        guarded_free(guards[i]);
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        test_free(plain[i]);
    }
}

static struct emb_gemm_job job_of(const struct operands *o)
{
    return (struct emb_gemm_job){
        .a = o->a.data,
        .lda = o->lda,
        .a_scales = o->a_scales.data,
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

static double act_exact(enum emb_act act, double x)
{
    switch (act) {
    case EMB_ACT_GELU: return 0.5 * x * erfc(-x * ROOT_HALF);
    case EMB_ACT_GELU_TANH: return x / (1.0 + exp(-2.0 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case EMB_ACT_RELU: return x < 0 ? 0 : x;
    case EMB_ACT_SILU: return x / (1.0 + exp(-x));
    case EMB_ACT_NONE: break;
    }
    return x;
}

/* Within a few roundings: a sum that is one off would be seen, as long as it is below some 2^21. */
static void check_element(const struct operands *o, size_t row, size_t column)
{
    int64_t sum = 0;
    for (size_t p = 0; p < o->s.k; p++) {
        sum += (int64_t)o->qa[row * o->s.k + p] * o->qw[column * o->s.k + p];
    }
    double want = (double)sum * (double)((float *)o->a_scales.data)[row] * (double)o->w_scales[column];
    double magnitude = fabs(want);
    if (o->s.bias) {
        want += (double)((float *)o->bias.data)[column];
        magnitude += fabs((double)((float *)o->bias.data)[column]);
    }
    want = act_exact(o->s.act, want);
    if (o->s.residual) {
        want += (double)((float *)o->residual.data)[row * o->ldo + column];
        magnitude += 1;
    }
    double bound = 4 * 0x1p-24 * magnitude + (o->s.act == EMB_ACT_NONE ? 0 : 1e-6);
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
        for (size_t b = 0; (column < o->s.n0 || column >= o->s.n1) && b < element; b++) {
            assert_int_equal(((const unsigned char *)o->out.data)[i * element + b], 0xff);
        }
    }
}

static void check_product(const struct emb_gemm *gemm, struct shape s, uint32_t seed)
{
    struct operands o = operands_new(gemm, s, seed);
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

static void products(const struct emb_kernels *t)
{
    static const size_t sizes[][2] = {{1, 1},   {1, 40},  {5, 3},   {16, 2},   {17, 7},    {33, 64},  {40, 5},
                                      {63, 33}, {64, 64}, {65, 31}, {100, 50}, {130, 129}, {200, 384}};
    const struct emb_gemm *gemm = &t->gemm_i8;
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
            check_product(gemm, s, r);
        }
    }
    check_product(gemm, (struct shape){.m = 150, .n = 70, .k = 1537, .n1 = 70, .bias = true}, 5);
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
    struct emb_gemm_job job = job_of(&o);
    t->gemm_i8.run(&job);
    for (size_t r = 0; r < 3; r++) {
        for (size_t c = 0; c < 4; c++) {
            double want = (r == 1) == (c % 2 == 1) ? K : -K;
            check_close(out_at(&o, r, c), want, K * 1e-6, "%s largest sums\n", t->gemm_i8.name);
        }
    }
    operands_free(&o);
}

static void test_largest_sums(void **state)
{
    (void)state;
    for_each_tier(largest_sums);
}

/* All rows and columns at once, against rows i..i+count of each panel alone: the same bits. */
static void same_bits_of(const struct emb_gemm *gemm, bool out_bf16, enum emb_act act)
{
    struct shape s = {.m = 29, .n = 139, .k = 77, .n1 = 139, .act = act, .bias = true, .residual = true};
    s.out_bf16 = out_bf16;
    struct operands o = operands_new(gemm, s, 3);
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
                part.a = (const char *)job.a + row * o.lda * gemm->a_size;
                part.a_scales = job.a_scales + row;
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
    for (size_t p = 0; p < o->s.k; p++) {
        o->x[row * o->s.k + p] *= value;
    }
}

/* Rows of extreme values: each does what it must, and the ordinary rows between them keep their bits. */
static void extreme_rows(const struct emb_kernels *t)
{
    struct shape s = {.m = 13, .n = 70, .k = 192, .n1 = 70, .bias = true};
    struct operands o = operands_new(&t->gemm_i8, s, 11);
    struct emb_gemm_job job = job_of(&o);
    t->gemm_i8.run(&job);
    float before[13 * 70];
    memcpy(before, o.out.data, sizeof(before));
    set_row(&o, 1, 0.0f);
    set_row(&o, 3, 1e30f);
    set_row(&o, 5, 1e-40f);
    o.x[7 * s.k + 100] = NAN;
    o.x[9 * s.k + 191] = INFINITY;
    set_row(&o, 11, -3.3e38f);
    set_rows(&o);
    t->gemm_i8.run(&job);
    for (size_t row = 0; row < s.m; row += 2) {
        assert_memory_equal(before + row * s.n, (float *)o.out.data + row * s.n, s.n * sizeof(float));
    }
    for (size_t c = 0; c < s.n; c++) {
        double bias = (double)((float *)o.bias.data)[c];
        check_close(out_at(&o, 1, c), bias, 0.0, "%s zeros\n", o.gemm->name);
        check_close(out_at(&o, 5, c), bias, 1e-28, "%s denormals\n", o.gemm->name);
        check_element(&o, 3, c);
        assert_true(isnan(out_at(&o, 7, c)));
        assert_true(isnan(out_at(&o, 9, c)));
        assert_true(!isfinite(out_at(&o, 11, c)));
    }
    operands_free(&o);
}

/* The same of the weights: a column that is not finite is NaN, whatever the activation, and the others keep their bits. */
static void extreme_columns(const struct emb_kernels *t, enum emb_act act, bool out_bf16)
{
    struct shape s = {.m = 7, .n = 70, .k = 100, .n1 = 70, .act = act, .out_bf16 = out_bf16};
    struct operands o = operands_new(&t->gemm_i8, s, 13);
    struct emb_gemm_job job = job_of(&o);
    t->gemm_i8.run(&job);
    float before[7 * 70];
    size_t element = out_bf16 ? sizeof(emb_bf16) : sizeof(float);
    memcpy(before, o.out.data, 7 * 70 * element);
    o.plain_w[3 * s.k + 99] = NAN;
    o.plain_w[66 * s.k] = -INFINITY;
    memset(o.plain_w + 40 * s.k, 0, s.k * sizeof(float));
    set_weights(&o);
    t->gemm_i8.run(&job);
    for (size_t row = 0; row < s.m; row++) {
        for (size_t c = 0; c < s.n; c++) {
            if (c == 3 || c == 66) {
                assert_true(isnan(out_at(&o, row, c)));
            } else if (c == 40) {
                check_close(out_at(&o, row, c), 0.0, 1e-6, "%s column of zeros\n", o.gemm->name);
            } else {
                size_t at = (row * s.n + c) * element;
                assert_memory_equal((char *)before + at, (char *)o.out.data + at, element);
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
    struct emb_gemm_job job = job_of(&o);
    t->gemm_i8.run(&job);
    double errors = 0, norm = 0;
    for (size_t r = 0; r < s.m; r++) {
        for (size_t c = 0; c < s.n; c++) {
            double want = 0;
            for (size_t p = 0; p < s.k; p++) {
                want += (double)o.x[r * s.k + p] * (double)o.plain_w[c * s.k + p];
            }
            errors += (want - (double)out_at(&o, r, c)) * (want - (double)out_at(&o, r, c));
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
    const struct emb_gemm *g = &t->gemm_i8;
    assert_non_null(g->name);
    assert_int_equal(g->packed_size(100, 33) % 64, 0);
    assert_true(g->packed_size(100, 33) >= 100 * 33);
    assert_true(g->packed_size(1, EMB_I8_MAX_K) > 0);
    assert_int_equal(g->packed_size(1, EMB_I8_MAX_K + 1), 0);
    assert_int_equal(g->packed_size(64, SIZE_MAX / 64), 0);
    assert_int_equal(g->packed_size(SIZE_MAX, 1), 0);
    assert_int_equal(g->packed_size(SIZE_MAX / 4, 64), 0);
}

static void test_sizes(void **state)
{
    (void)state;
    for_each_tier(sizes);
}

/* Packing writes the same bytes in one call as in one a panel, all of them, and zeros are zeros, padding too. */
static void packing(const struct emb_kernels *t)
{
    enum { N = 139, K = 77 };
    const struct emb_gemm *gemm = &t->gemm_i8;
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
