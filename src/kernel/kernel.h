/* The table of compute kernels, and the contract of each.
 *
 * Portable C (ref/) defines the semantics and fills the table first; the tiers of the CPU (x86/ ...) overwrite entries
 * in rising order (dispatch.c). A table is const once made. Nothing here allocates, locks or starts threads.
 *
 * The same bits, always: an output element depends only on its own row of the input, its own column of the weights and
 * the tier. Each is one accumulator chain over rising k (int8: an exact sum), whatever the number of rows, the tile, the
 * tail or the range of columns asked for; attention's key blocks start at 0 and have a fixed width. No kernel may read outside its operands,
 * packed weights (padded by pack) excepted. */
#ifndef EMB_KERNEL_H
#define EMB_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bfloat16: the upper half of an f32. Conversions round to nearest even; NaN stays NaN. */
typedef uint16_t emb_bf16;

enum emb_act {
    EMB_ACT_NONE,
    EMB_ACT_GELU,      /* x/2 * (1 + erf(x/sqrt 2)); absolute error <= 1e-6 in f32 */
    EMB_ACT_GELU_TANH, /* the tanh approximation, for models that name it */
    EMB_ACT_RELU,
    EMB_ACT_SILU,
};

/* out[m, n0..n1) = act(a[m, k] * W^T[k, n0..n1) + bias) + residual */
struct emb_gemm_job {
    const void *a; /* [m, k] in the gemm's activation type (a_size bytes), rows lda elements apart */
    size_t lda;
    const float *a_scales; /* [m], int8: what encode wrote; others ignore it */
    size_t m;
    const void *w; /* packed weights of all n columns, as pack wrote them; 64-byte aligned */
    size_t n, k;
    size_t n0, n1;     /* columns to compute: n0 a multiple of nr; n1 also, or equal to n */
    const float *bias; /* [n] or NULL */
    enum emb_act act;
    const float *residual; /* [m, n], rows ldr elements apart, or NULL; may be out itself (f32, same stride) */
    size_t ldr;
    void *out; /* [m, n], rows ldo elements apart: f32, or bf16 where out_bf16 */
    size_t ldo;
    bool out_bf16;
};

/* One way to multiply: the tile, the packed form and the kernel belong together. */
struct emb_gemm {
    const char *name; /* for example "bf16_avx512bf16" */
    bool native;      /* the CPU multiplies this type itself; false where it is only emulated */
    size_t nr;        /* columns of a packed panel */
    size_t mr;        /* rows of the largest tile: a good row count is a multiple of it */
    size_t a_size;    /* bytes of an element of a: 4 for f32, 2 for bf16, 1 or 2 for int8 (the tier's own form) */

    /* Turns f32 rows x [rows, k], dense, into the activation type, a [rows, k], dense. int8: rotates, quantises and
     * writes each row's scale to scales [rows] (int8.h has the scheme); others ignore scales, which may be NULL. The
     * result of a row depends on the row alone. NULL for f32: x itself is a. */
    void (*encode)(const float *x, size_t rows, size_t k, void *a, float *scales);

    /* Bytes of n x k weights once packed (a multiple of 64), or 0 on overflow (int8: or k > 65536). */
    size_t (*packed_size)(size_t n, size_t k);

    /* Packs rows r0..r1 of W (output columns; w is the f32 [r1 - r0, k] matrix of just these rows, dense) into dst,
     * the packed form of all n x k. r0 is a multiple of nr; r1 also, or equal to n. Calls on disjoint ranges may run
     * at once. Padding is written as zero by the call that owns the panel. */
    void (*pack)(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k);

    void (*run)(const struct emb_gemm_job *job);
};

/* Attention of one head of one text, for queries q0..q1:
 * out[i] = sum_j softmax_j(scale * q[i].k[j]) v[j], over keys j in [0, n). */
struct emb_attention_job {
    const void *q, *k, *v; /* each [n, head_dim], rows ld elements apart, from key/query 0 of this text and head:
                              f32, or bf16 where in_bf16 */
    size_t ld;
    bool in_bf16; /* tiers with bf16 products then round softmax's weights to bf16; the others compute in f32 */
    size_t n;
    size_t q0, q1;
    size_t head_dim; /* any size >= 1; multiples of 16 are the fast ones */
    float scale;
    void *out; /* [n, head_dim], row i at out + i * ldo elements: f32, or bf16 where out_bf16 */
    size_t ldo;
    bool out_bf16;
    void *scratch; /* attention_scratch(n, head_dim) bytes, 64-byte aligned, this call's own */
};

struct emb_kernels {
    const char
        *tier; /* "ref"; x86: "avx2", "avx512", "avx512vnni", "avx512bf16"; ARM: "neon", "dotprod", "i8mm", "bf16" */
    struct emb_gemm gemm_f32;  /* a, w: f32; accumulates in f32 */
    struct emb_gemm gemm_bf16; /* a, w: bf16; exact products, accumulates in f32 */
    struct emb_gemm gemm_i8; /* a, w: int8 by int8.h, a scale a row and a column; accumulates in int32. A row of a or w
                                * with a value that is not finite makes NaN of its row or column of the output. */

    size_t (*attention_scratch)(size_t n, size_t head_dim);
    void (*attention)(const struct emb_attention_job *job);

    /* y = (x - mean) / sqrt(var + eps) * gamma + beta, row by row over dim columns; x, y, y16: [rows, dim] dense.
     * y may be x. y16, where not NULL, gets y rounded to bf16. */
    void (*layernorm)(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                      float *y, emb_bf16 *y16);

    void (*f32_to_bf16)(const float *x, size_t n, emb_bf16 *y);

    /* dot product in one fixed order */
    float (*dot)(const float *a, const float *b, size_t n);
};

/* The table for the best tier this CPU has, or for the tier named (NULL, "" and "auto" mean the best).
 * Returns NULL when there is no such tier in this build or the CPU cannot run it. The result lives for ever. */
const struct emb_kernels *emb_kernels_get(const char *tier);

/* Names of the tiers this CPU can run, rising, NULL-terminated. */
const char *const *emb_kernels_tiers(void);

#endif
