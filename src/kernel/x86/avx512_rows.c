/* Layer normalisation, conversion and dot product for AVX-512, and the tier's entry into the table.
 *
 * Sums run in lanes and are folded in one fixed order, so a row's result depends on the row alone. */
#include "kernel/tiers.h"

#include "kernel/attention.h"
#include "kernel/x86/avx512_tier.h"

#define EMB512_TO_BF16(x) emb512_to_bf16(x)
#include "kernel/x86/avx512_norm.h"

#define LANES 16

static inline __mmask16 tail_mask(size_t left)
{
    return left < LANES ? emb512_mask(left) : 0xffff;
}

void emb_f32_to_bf16_avx512(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 mask = tail_mask(n - i);
        _mm256_mask_storeu_epi16(y + i, mask, emb512_to_bf16(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        for (size_t j = 0; j < 4; j++) {
            sum[j] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + j * LANES), _mm512_loadu_ps(b + i + j * LANES), sum[j]);
        }
    }
    for (; i < n; i += LANES) {
        __mmask16 mask = tail_mask(n - i);
        sum[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), sum[0]);
    }
    return emb512_sum(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

void emb_kernels_init_avx512(struct emb_kernels *t)
{
    t->gemm_f32 = emb_gemm_f32_avx512;
    t->gemm_bf16 = emb_gemm_bf16_avx512;
    t->attention_scratch = emb_attention_room_size;
    t->attention = emb_attention_avx512;
    t->layernorm = layernorm;
    t->f32_to_bf16 = emb_f32_to_bf16_avx512;
    t->dot = dot;
}
