/* Layer normalisation with vcvtneps2bf16, which takes denormals as zero. */
#include "kernel/x86/avx512_tier.h"

#define EMB512_TO_BF16(x) ((__m256i)_mm512_cvtneps_pbh(x))
#include "kernel/x86/avx512_norm.h"

void emb_layernorm_avx512bf16(const float *x, size_t rows, size_t dim, const float *gamma, const float *beta, float eps,
                              float *y, emb_bf16 *y16)
{
    layernorm(x, rows, dim, gamma, beta, eps, y, y16);
}
