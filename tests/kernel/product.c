/* Operands of matrix products for the tests, and the checks of them that need no numbers. */
#include "product.h"

static size_t strided(size_t rows, size_t stride, size_t columns)
{
    return (rows - 1) * stride + columns;
}

static size_t out_size(const struct product *p)
{
    return p->s.out_bf16 ? sizeof(emb_bf16) : sizeof(float);
}

static void fill(const struct guarded *g, size_t count, uint32_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        ((float *)g->data)[i] = random_float(seed);
    }
}

struct product product_new(const struct emb_gemm *gemm, struct shape s, uint32_t *seed)
{
    struct product p = {.s = s, .gemm = gemm, .lda = s.k + s.pad, .ldo = s.n + s.pad};
    size_t out = strided(s.m, p.ldo, s.n);
    p.a = guarded_new(strided(s.m, p.lda, s.k) * gemm->a_size);
    p.a_scales = guarded_new(s.m * sizeof(float));
    p.w = guarded_new(gemm->packed_size(s.n, s.k));
    p.bias = guarded_new(s.n * sizeof(float));
    p.residual = guarded_new(out * sizeof(float));
    p.out = guarded_new(out * out_size(&p));
    fill(&p.bias, s.n, seed);
    fill(&p.residual, out, seed);
    return p;
}

void product_free(struct product *p)
{
    struct guarded *all[] = {&p->a, &p->a_scales, &p->w, &p->bias, &p->residual, &p->out};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        guarded_free(all[i]);
    }
}

void product_pack(const struct product *p, const float *w)
{
    size_t n = p->s.n, k = p->s.k;
    size_t middle = (n / p->gemm->nr + 1) / 2 * p->gemm->nr;
    middle = middle < n ? middle : 0;
    p->gemm->pack(p->w.data, w + middle * k, middle, n, n, k);
    if (middle > 0) {
        p->gemm->pack(p->w.data, w, 0, middle, n, k);
    }
}

struct emb_gemm_job product_job(const struct product *p)
{
    return (struct emb_gemm_job){
        .a = p->a.data,
        .lda = p->lda,
        .a_scales = p->a_scales.data,
        .m = p->s.m,
        .w = p->w.data,
        .n = p->s.n,
        .k = p->s.k,
        .n0 = p->s.n0,
        .n1 = p->s.n1,
        .bias = p->s.bias ? p->bias.data : NULL,
        .act = p->s.act,
        .residual = p->s.residual ? p->s.in_place ? p->out.data : p->residual.data : NULL,
        .ldr = p->ldo,
        .out = p->out.data,
        .ldo = p->ldo,
        .out_bf16 = p->s.out_bf16,
    };
}

void product_run(const struct product *p)
{
    const struct shape *s = &p->s;
    for (size_t r = 0; s->residual && s->in_place && r < s->m; r++) {
        size_t at = r * p->ldo + s->n0;
        memcpy((float *)p->out.data + at, (float *)p->residual.data + at, (s->n1 - s->n0) * sizeof(float));
    }
    struct emb_gemm_job job = product_job(p);
    p->gemm->run(&job);
}

float product_out(const struct product *p, size_t row, size_t column)
{
    size_t at = row * p->ldo + column;
    return p->s.out_bf16 ? emb_bf16_to_f32(((emb_bf16 *)p->out.data)[at]) : ((float *)p->out.data)[at];
}

double act_exact(enum emb_act act, double x)
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

double product_bias(const struct product *p, size_t column)
{
    return p->s.bias ? (double)((float *)p->bias.data)[column] : 0;
}

double product_want(const struct product *p, size_t row, size_t column, double sum)
{
    double residual = p->s.residual ? (double)((float *)p->residual.data)[row * p->ldo + column] : 0;
    return act_exact(p->s.act, sum) + residual;
}

void product_check(const struct product *p, size_t row, size_t column, double want, double bound)
{
    bound += p->s.act == EMB_ACT_NONE ? 0 : 1e-6;
    bound += p->s.out_bf16 ? fabs(want) * 0x1p-8 + 1e-6 : 0;
    check_close(product_out(p, row, column), want, bound, "%s m=%zu n=%zu k=%zu act=%d at (%zu, %zu)\n", p->gemm->name,
                p->s.m, p->s.n, p->s.k, (int)p->s.act, row, column);
}

void product_check_outside(const struct product *p)
{
    size_t element = out_size(p);
    for (size_t i = 0; i < strided(p->s.m, p->ldo, p->s.n); i++) {
        size_t column = i % p->ldo;
        for (size_t b = 0; (column < p->s.n0 || column >= p->s.n1) && b < element; b++) {
            assert_int_equal(((const unsigned char *)p->out.data)[i * element + b], 0xff);
        }
    }
}

static struct shape random_shape(const struct emb_gemm *gemm, size_t m, size_t n, size_t k, uint32_t r, uint32_t *seed)
{
    struct shape s = {.m = m, .n = n, .k = k, .n1 = n};
    size_t panels = (n + gemm->nr - 1) / gemm->nr;
    if (r & 1) {
        s.n0 = r / 32 % panels * gemm->nr;
        s.n1 = s.n0 + gemm->nr < n && (r & 2) ? s.n0 + gemm->nr : n;
    }
    s.act = (enum emb_act)(next_random(seed) % 5);
    s.bias = r & 4;
    s.residual = r & 8;
    s.out_bf16 = r & 16;
    s.in_place = s.residual && !s.out_bf16 && next_random(seed) % 2;
    s.pad = next_random(seed) % 4;
    return s;
}

void for_each_shape(const struct emb_gemm *gemm,
                    void (*check)(const struct emb_gemm *gemm, struct shape s, uint32_t seed))
{
    static const size_t sizes[][2] = {{1, 1},   {1, 40},  {5, 3},   {16, 2},   {17, 7},    {33, 64},  {40, 5},
                                      {63, 33}, {64, 64}, {65, 31}, {100, 50}, {130, 129}, {200, 384}};
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t m = 1; m <= 2 * gemm->mr + 1 || m <= 4; m++) {
            uint32_t r = next_random(&seed);
            check(gemm, random_shape(gemm, m, sizes[i][0], sizes[i][1], r, &seed), r);
        }
    }
    check(gemm, (struct shape){.m = 150, .n = 70, .k = 1537, .n1 = 70, .bias = true}, 5);
}

void check_same_bits(const struct product *p)
{
    const struct shape *s = &p->s;
    struct emb_gemm_job job = product_job(p);
    p->gemm->run(&job);
    size_t element = out_size(p), bytes = s->m * s->n * element;
    char *whole = test_malloc(bytes);
    memcpy(whole, p->out.data, bytes);
    for (size_t count = 1; count <= 2 * p->gemm->mr + 1; count++) {
        memset(p->out.data, 0xff, bytes);
        for (size_t row = 0; row < s->m; row += count) {
            for (size_t column = 0; column < s->n; column += p->gemm->nr) {
                struct emb_gemm_job part = job;
                part.a = (const char *)job.a + row * p->lda * p->gemm->a_size;
                part.a_scales = job.a_scales + row;
                part.m = s->m - row < count ? s->m - row : count;
                part.n0 = column;
                part.n1 = s->n - column < p->gemm->nr ? s->n : column + p->gemm->nr;
                part.residual = job.residual + row * p->ldo;
                part.out = (char *)job.out + row * p->ldo * element;
                p->gemm->run(&part);
            }
        }
        assert_memory_equal(whole, p->out.data, bytes);
    }
    test_free(whole);
}

void check_even_rows(const struct product *p, const float *before)
{
    for (size_t row = 0; row < p->s.m; row += 2) {
        const float *now = (const float *)p->out.data + row * p->ldo;
        assert_memory_equal(before + row * p->ldo, now, p->s.n * sizeof(float));
    }
}

void check_packing(const struct emb_gemm *gemm)
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

void check_sizes(const struct emb_gemm *gemm, size_t element)
{
    assert_non_null(gemm->name);
    assert_int_equal(gemm->packed_size(100, 33) % 64, 0);
    assert_true(gemm->packed_size(100, 33) >= 100 * 33 * element);
    assert_int_equal(gemm->packed_size(SIZE_MAX, 1), 0);
    assert_int_equal(gemm->packed_size(SIZE_MAX / 4, 64), 0);
    assert_int_equal(gemm->packed_size(64, SIZE_MAX / 64), 0);
}
