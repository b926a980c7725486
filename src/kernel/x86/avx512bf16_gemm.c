/* Matrix products of bf16 by vdpbf16ps, and conversion by vcvtneps2bf16.
 *
 * Both instructions take denormals as zero, whatever MXCSR says. A lane adds the two products of a pair in the
 * instruction's own order and rounding; over pairs the chain rises. The tile is that of avx512_gemm.c. */
#include "kernel/x86/avx512_tier.h"

#include "kernel/bf16.h"
#include "kernel/tiers.h"
#include "kernel/x86/avx512vnni_tier.h"
#include "kernel/panel.h"

#define EMB512_TO_BF16(x) ((__m256i)_mm512_cvtneps_pbh(x))
#include "kernel/x86/avx512_finish.h"

#define MR 6
#define NR 64
#define LANES 16
#define TILE_INLINE static inline __attribute__((always_inline))

/* acc += the pairs of one step: w is at [vectors][16][2]. */
TILE_INLINE void add_pair(__m512 acc[MR][4], const emb_bf16 *w, const int pair[MR], size_t rows, size_t vectors)
{
    __m512i b[4];
    EMB_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        b[v] = _mm512_loadu_si512(w + v * 2 * LANES);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        __m512i x = _mm512_set1_epi32(pair[r]);
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            acc[r][v] = _mm512_dpbf16_ps(acc[r][v], (__m512bh)x, (__m512bh)b[v]);
        }
    }
}

TILE_INLINE void tile_bf16(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const emb_bf16 *a = t->a, *w = t->panel;
    size_t lda = t->lda, k = t->k;
    __m512 acc[MR][4];
    int pair[MR];
    emb512_clear(acc, rows, vectors);
    for (size_t p = 0; p + 1 < k; p += 2) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            pair[r] = emb_bf16_load_pair(a + r * lda + p);
        }
        add_pair(acc, w + p * NR, pair, rows, vectors);
    }
    if (k % 2) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            pair[r] = a[r * lda + k - 1];
        }
        add_pair(acc, w + (k - 1) * NR, pair, rows, vectors);
    }
    emb512_put(t, acc, rows, vectors);
}

EMB_PANEL_TILES_4(bf16)

static const struct emb_panel_kernel kernel = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(emb_bf16),
    .element = sizeof(emb_bf16),
    .k_step = 2,
    .tiles = tiles_bf16,
    .finish = finish,
};

static void run(const struct emb_gemm_job *job)
{
    emb_panel_run(job, &kernel);
}

/* The int8 product of the tier below, with this tier's end. */
static void run_i8(const struct emb_gemm_job *job)
{
    struct emb_panel_kernel with_end = emb_panel_i8_avx512vnni;
    with_end.finish = finish;
    emb_panel_run(job, &with_end);
}

static void f32_to_bf16(const float *x, size_t n, emb_bf16 *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 mask = n - i < LANES ? emb512_mask(n - i) : 0xffff;
        _mm256_mask_storeu_epi16(y + i, mask, EMB512_TO_BF16(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

static void encode(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    (void)scales;
    f32_to_bf16(x, rows * k, a);
}

void emb_kernels_init_avx512bf16(struct emb_kernels *t)
{
    t->gemm_bf16.name = "bf16_avx512bf16";
    t->gemm_bf16.native = true;
    t->gemm_bf16.encode = encode;
    t->gemm_bf16.run = run;
    t->gemm_i8.run = run_i8;
    t->attention = emb_attention_avx512bf16;
    t->layernorm = emb_layernorm_avx512bf16;
    t->f32_to_bf16 = f32_to_bf16;
}
