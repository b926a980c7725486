/* The conversion of rows to signed bytes for all ARM tiers, as int8.h defines it, bit for bit; and the int8 matrix
 * product for the base of armv8-a.
 *
 * That product widens both sides to int16 and multiplies them by smlal, four products at a time: no faster than f32,
 * but weights, kept as int16 [k][16], take half the memory. */
#include "kernel/arm/neon_tier.h"

#include "kernel/int8.h"

#define EMB_NEON_TO_BF16(x) emb_neon_to_bf16(x)
#include "kernel/arm/neon_int8_end.h"

#define MR EMB_NEON_MR
#define NR EMB_NEON_NR
#define LANES EMB_NEON_LANES
#define VECTORS EMB_NEON_VECTORS
#define BLOCK_VECTORS (EMB_I8_BLOCK / LANES)

/* ---- Conversion of rows ---- */

/* The last two stages, within a vector: lanes where sign is -1 get partner - own, the others partner + own. */
EMB_NEON_INLINE float32x4_t rotate_lanes(float32x4_t y, size_t block)
{
    static const float signs[2][4] = {{1, 1, -1, -1}, {1, -1, 1, -1}};
    if (block > 2) {
        y = vfmaq_f32(vextq_f32(y, y, 2), y, vld1q_f32(signs[0]));
    }
    return block > 1 ? vfmaq_f32(vrev64q_f32(y), y, vld1q_f32(signs[1])) : y;
}

/* count <= 64 values, a multiple of block; what is beyond count becomes 0. */
EMB_NEON_INLINE void rotate(const float *x, size_t count, size_t block, float32x4_t y[BLOCK_VECTORS])
{
    for (size_t v = 0; v < BLOCK_VECTORS; v++) {
        size_t left = count > v * LANES ? count - v * LANES : 0;
        y[v] = emb_neon_load_part(left > 0 ? x + v * LANES : x, left < LANES ? left : LANES);
    }
    for (size_t h = BLOCK_VECTORS / 2; h > 0; h /= 2) {
        for (size_t i = 0; block > h * LANES && i < BLOCK_VECTORS; i += 2 * h) {
            for (size_t j = i; j < i + h; j++) {
                float32x4_t a = y[j], b = y[j + h];
                y[j] = vaddq_f32(a, b);
                y[j + h] = vsubq_f32(a, b);
            }
        }
    }
    for (size_t v = 0; v < BLOCK_VECTORS; v++) {
        y[v] = rotate_lanes(y[v], block);
    }
}

EMB_NEON_INLINE uint32_t max_bits_of(const float *x, size_t count, size_t block)
{
    uint32x4_t max = vdupq_n_u32(0);
    for (size_t p = 0; p < count; p += EMB_I8_BLOCK) {
        float32x4_t y[BLOCK_VECTORS];
        rotate(x + p, count - p < EMB_I8_BLOCK ? count - p : EMB_I8_BLOCK, block, y);
        for (size_t v = 0; v < BLOCK_VECTORS; v++) {
            max = vmaxq_u32(max, vreinterpretq_u32_f32(vabsq_f32(y[v])));
        }
    }
    return vmaxvq_u32(max);
}

static uint32_t max_bits(const float *x, size_t count, size_t block)
{
    return block == EMB_I8_BLOCK ? max_bits_of(x, count, EMB_I8_BLOCK) : max_bits_of(x, count, block);
}

EMB_NEON_INLINE int16x8_t quantise_8(float32x4_t a, float32x4_t b, float inverse)
{
    int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(a, inverse)), high = vcvtnq_s32_f32(vmulq_n_f32(b, inverse));
    return vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
}

/* count <= 64 values into 64 numbers. */
EMB_NEON_INLINE void quantise_chunk(const float *x, size_t count, size_t block, float inverse, int8_t q[EMB_I8_BLOCK])
{
    float32x4_t y[BLOCK_VECTORS];
    rotate(x, count, block, y);
    for (size_t v = 0; v < BLOCK_VECTORS; v += 4) {
        int16x8_t low = quantise_8(y[v], y[v + 1], inverse), high = quantise_8(y[v + 2], y[v + 3], inverse);
        vst1q_s8(q + v * LANES, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
    }
}

static void quantise(const float *x, size_t count, size_t block, float inverse, int8_t *q)
{
    size_t p = 0;
    for (; block == EMB_I8_BLOCK && p < count; p += EMB_I8_BLOCK) {
        quantise_chunk(x + p, EMB_I8_BLOCK, EMB_I8_BLOCK, inverse, q + p);
    }
    for (; p < count; p += EMB_I8_BLOCK) {
        int8_t chunk[EMB_I8_BLOCK];
        size_t n = count - p < EMB_I8_BLOCK ? count - p : EMB_I8_BLOCK;
        quantise_chunk(x + p, n, block, inverse, chunk);
        memcpy(q + p, chunk, n);
    }
}

const struct emb_panel_i8_rows emb_i8_rows_neon = {max_bits, quantise, 0};

void emb_encode_i8_neon(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    size_t block = emb_i8_block(k);
    for (size_t r = 0; r < rows; r++) {
        int8_t *to = (int8_t *)a + r * k;
        struct emb_i8_scale s = emb_i8_scale_of(max_bits(x + r * k, k, block));
        scales[r] = s.scale;
        if (s.inverse == 0.0f) {
            memset(to, 0, k);
        } else {
            quantise(x + r * k, k, block, s.inverse, to);
        }
    }
}

/* ---- The product ---- */

/* sum += one lane of each row's a times a row of the panel. */
#define STEP(sum, a, w, lane, rows, vectors)                                                                           \
    do {                                                                                                               \
        EMB_UNROLL for (size_t v_ = 0; v_ < (vectors); v_++)                                                           \
        {                                                                                                              \
            int16x4_t b_ = vld1_s16((w) + v_ * LANES);                                                                 \
            EMB_UNROLL for (size_t r_ = 0; r_ < (rows); r_++)                                                          \
            {                                                                                                          \
                (sum)[r_][v_] = vmlal_lane_s16((sum)[r_][v_], b_, (a)[r_], lane);                                      \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* Four bytes of a row as int16. */
EMB_NEON_INLINE int16x4_t load_4(const int8_t *a)
{
    int8_t bytes[8] = {0};
    memcpy(bytes, a, 4);
    return vget_low_s16(vmovl_s8(vld1_s8(bytes)));
}

EMB_NEON_INLINE void tile_i8(const struct emb_panel_tile *t, size_t rows, size_t vectors)
{
    const int8_t *a = t->a;
    const int16_t *w = t->panel;
    size_t lda = t->lda, k = t->k, p = 0;
    int32x4_t sum[MR][VECTORS];
    int16x4_t x[MR];
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = vdupq_n_s32(0);
        }
    }
    for (; p + 4 <= k; p += 4) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = load_4(a + r * lda + p);
        }
        STEP(sum, x, w + p * NR, 0, rows, vectors);
        STEP(sum, x, w + (p + 1) * NR, 1, rows, vectors);
        STEP(sum, x, w + (p + 2) * NR, 2, rows, vectors);
        STEP(sum, x, w + (p + 3) * NR, 3, rows, vectors);
    }
    for (; p < k; p++) {
        EMB_UNROLL
        for (size_t r = 0; r < rows; r++) {
            x[r] = vdup_n_s16(a[r * lda + p]);
        }
        STEP(sum, x, w + p * NR, 0, rows, vectors);
    }
    EMB_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EMB_UNROLL
        for (size_t v = 0; v < vectors; v++) {
            put_sums(t, r, v, sum[r][v]);
        }
    }
}

EMB_PANEL_TILES_4(i8)

static const struct emb_panel_kernel kernel = {
    .nr = NR,
    .mr = MR,
    .lanes = LANES,
    .a_size = sizeof(int8_t),
    .element = sizeof(int16_t),
    .k_step = 1,
    .end = EMB_PANEL_END_I8(NR),
    .tiles = tiles_i8,
    .finish = finish,
    .i8 = &emb_i8_rows_neon,
};

EMB_PANEL_FUNCTIONS(i8, kernel)
const struct emb_gemm emb_gemm_i8_neon = {
    .name = "i8_neon",
    .native = false,
    .nr = NR,
    .mr = MR,
    .a_size = sizeof(int8_t),
    .encode = emb_encode_i8_neon,
    EMB_PANEL_MEMBERS(i8),
};
