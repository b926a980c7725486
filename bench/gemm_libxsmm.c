/* libxsmm's side of gemm_peers: weights packed into blocks of columns, the fastest of some block sizes. */
#include "gemm_peers.h"

#include <libxsmm.h>
#include <stdlib.h>
#include <string.h>

/* Column-major for libxsmm: its A is a block of weights [k, bn], its B the activations [bm, k], its C the output. */
struct plan {
    const struct bench_operands *o;
    size_t bn, bm, bk;
    const char *x;
    char *packed; /* [n / bn][k / group][bn][group] */
    char *out;
    union {
        libxsmm_smmfunction_reducebatch_strd f32;
        libxsmm_bsmmfunction_reducebatch_strd bf16;
        libxsmm_subimmfunction_reducebatch_strd i8;
    } kernel;
};

static const size_t element_sizes[] = {4, 2, 1};
static const size_t groups[] = {1, 2, 4}; /* values of k that lie beside each other */

void bench_libxsmm_cap_avx2(void)
{
    setenv("LIBXSMM_TARGET", "hsw", 1);
}

static void run(void *state)
{
    const struct plan *p = state;
    const struct bench_operands *o = p->o;
    size_t size = element_sizes[o->type];
    unsigned long long count = o->k / p->bk;
    for (size_t n0 = 0; n0 < o->n; n0 += p->bn) {
        const char *a = p->packed + n0 * o->k * size;
        for (size_t m0 = 0; m0 < o->m; m0 += p->bm) {
            const void *b = p->x + m0 * o->k * size;
            void *c = p->out + (m0 * o->n + n0) * 4;
            switch (o->type) {
            case BENCH_F32: p->kernel.f32((const float *)(const void *)a, b, c, &count); break;
            case BENCH_BF16: p->kernel.bf16((const libxsmm_bfloat16 *)(const void *)a, b, c, &count); break;
            case BENCH_I8: p->kernel.i8(a, b, c, &count); break;
            }
        }
    }
}

static bool dispatch(struct plan *p)
{
    const struct bench_operands *o = p->o;
    libxsmm_blasint m = (libxsmm_blasint)p->bn, n = (libxsmm_blasint)p->bm, k = (libxsmm_blasint)p->bk;
    libxsmm_blasint lda = m, ldb = (libxsmm_blasint)o->k, ldc = (libxsmm_blasint)o->n;
    libxsmm_blasint bytes = k * (libxsmm_blasint)element_sizes[o->type], stride_a = bytes * m, stride_b = bytes;
    const float alpha = 1, beta = 0;
    const int ialpha = 1, ibeta = 0;
    int plain = LIBXSMM_GEMM_FLAG_NONE, packed = LIBXSMM_GEMM_VNNI_FLAGS('N', 'N', 'V', 'N');
    switch (o->type) {
    case BENCH_F32:
        p->kernel.f32 = libxsmm_smmdispatch_reducebatch_strd(m, n, k, stride_a, stride_b, &lda, &ldb, &ldc, &alpha,
                                                             &beta, &plain, NULL);
        return p->kernel.f32 != NULL;
    case BENCH_BF16:
        p->kernel.bf16 = libxsmm_bsmmdispatch_reducebatch_strd(m, n, k, stride_a, stride_b, &lda, &ldb, &ldc, &alpha,
                                                               &beta, &packed, NULL);
        return p->kernel.bf16 != NULL;
    case BENCH_I8:
        p->kernel.i8 = libxsmm_subimmdispatch_reducebatch_strd(m, n, k, stride_a, stride_b, &lda, &ldb, &ldc, &ialpha,
                                                               &ibeta, &packed, NULL);
        return p->kernel.i8 != NULL;
    }
    return false;
}

static const void *pick(const struct bench_operands *o, const void *f32, const void *bf16, const void *i8)
{
    return o->type == BENCH_F32 ? f32 : o->type == BENCH_BF16 ? bf16 : i8;
}

static void pack(struct plan *p)
{
    const struct bench_operands *o = p->o;
    const char *w = pick(o, o->w, o->w16, o->w8);
    size_t size = element_sizes[o->type], group = groups[o->type];
    for (size_t j = 0; j < o->n; j++) {
        for (size_t i = 0; i < o->k; i++) {
            size_t to = (j - j % p->bn) * o->k + (i / group * p->bn + j % p->bn) * group + i % group;
            memcpy(p->packed + to * size, w + (j * o->k + i) * size, size);
        }
    }
}

static struct plan *plan_new(const struct bench_operands *o, size_t bn, size_t bm, size_t bk)
{
    struct plan *p = bench_buffer(sizeof *p);
    *p = (struct plan){.o = o, .bn = bn, .bm = bm, .bk = bk, .x = pick(o, o->x, o->x16, o->xu8)};
    if (o->n % bn || o->m % bm || o->k % bk || !dispatch(p)) {
        return NULL;
    }
    p->packed = bench_buffer(o->n * o->k * element_sizes[o->type]);
    p->out = bench_buffer(o->m * o->n * 4);
    pack(p);
    return p;
}

bool bench_libxsmm_new(struct bench_contender *c, const struct bench_operands *o)
{
    static const size_t columns[] = {32, 48, 64}, rows[] = {16, 32, 64, 128};
    double best = 1e9;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++) {
            for (int whole = 0; whole < 2; whole++) {
                struct plan *p = plan_new(o, columns[i], rows[j], whole ? o->k : 64);
                if (!p) {
                    continue;
                }
                struct bench_contender trial = {run, p, p->out};
                double seconds = bench_trial(&trial);
                if (seconds < best) {
                    best = seconds;
                    *c = trial;
                }
            }
        }
    }
    return best < 1e9;
}
