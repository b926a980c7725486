/* What the tests of matrix products share, whatever the type: shapes, operands, and the checks that need no numbers. */
#ifndef EMB_TEST_PRODUCT_H
#define EMB_TEST_PRODUCT_H

#include "kernel_test.h"

struct shape {
    size_t m, n, k, n0, n1;
    enum emb_act act;
    bool bias, residual, in_place, out_bf16;
    size_t pad; /* extra elements in each stride */
};

/* The operands of one product, each of which ends at a guard page. */
struct product {
    struct shape s;
    const struct emb_gemm *gemm;
    size_t lda, ldo;
    struct guarded a, a_scales, w, bias, residual, out;
};

/* bias and residual are random; a, its scales and the weights are up to the caller. */
struct product product_new(const struct emb_gemm *gemm, struct shape s, uint32_t *seed);
void product_free(struct product *p);

/* Packs in two calls, split at a panel, so that the ranges of pack are tried too. */
void product_pack(const struct product *p, const float *w);

struct emb_gemm_job product_job(const struct product *p);
void product_run(const struct product *p);
float product_out(const struct product *p, size_t row, size_t column);

double act_exact(enum emb_act act, double x);

/* The bias of a column, 0 without one; what the output should be for a sum that the bias is part of. */
double product_bias(const struct product *p, size_t column);
double product_want(const struct product *p, size_t row, size_t column, double sum);

/* An output against what it should be: bound is that of the sum, to which the activation's and the output's are added. */
void product_check(const struct product *p, size_t row, size_t column, double want, double bound);

/* Everything the job must not write still has the filling of its buffer. */
void product_check_outside(const struct product *p);

/* Calls check for shapes of all kinds: every number of rows of a tile, odd sizes, ranges of columns, ends. */
void for_each_shape(const struct emb_gemm *gemm,
                    void (*check)(const struct emb_gemm *gemm, struct shape s, uint32_t seed));

/* All rows and columns at once, against rows i..i+count of each panel alone: the same bits. No padding in s. */
void check_same_bits(const struct product *p);

/* The output, against what it was when the even rows were as they are: those keep their bits. */
void check_even_rows(const struct product *p, const float *before);

/* Packing writes the same bytes in one call as in one a panel, all of them, and zeros are zeros, padding too. */
void check_packing(const struct emb_gemm *gemm);

void check_sizes(const struct emb_gemm *gemm, size_t element);

#endif
