/* The int8 matrix product in portable C: the definition of what every tier computes (the scheme is that of int8.h).
 *
 * Activations are unsigned bytes, q + 128. Packed form: panels of NR columns, each [k rounded up to even][NR] signed
 * bytes, then the NR columns' scales. The end multiplies the exact sum, rounded to f32, by the product of both scales. */
#include "kernel/ref/ref.h"

#include "kernel/int8.h"

#define NR 32

static uint32_t row_max(const float *x, size_t k, size_t block)
{
    uint32_t max = 0;
    for (size_t p = 0; p < k; p += block) {
        float y[EMB_I8_BLOCK];
        memcpy(y, x + p, block * sizeof(*y));
        emb_i8_rotate(y, block);
        for (size_t i = 0; i < block; i++) {
            uint32_t bits;
            memcpy(&bits, y + i, sizeof(bits));
            bits &= 0x7fffffffu;
            max = bits > max ? bits : max;
        }
    }
    return max;
}

/* Quantises a row into q[0], q[stride], ... and returns its scale. Where the inverse is 0 the values may not be finite. */
static float quantise_row(const float *x, size_t k, int8_t *q, size_t stride)
{
    size_t block = emb_i8_block(k);
    struct emb_i8_scale s = emb_i8_scale_of(row_max(x, k, block));
    for (size_t p = 0; p < k; p += block) {
        float y[EMB_I8_BLOCK];
        memcpy(y, x + p, block * sizeof(*y));
        emb_i8_rotate(y, block);
        for (size_t i = 0; i < block; i++) {
            q[(p + i) * stride] = s.inverse > 0.0f ? (int8_t)rintf(y[i] * s.inverse) : 0;
        }
    }
    return s.scale;
}

static void encode(const float *x, size_t rows, size_t k, void *a, float *scales)
{
    for (size_t r = 0; r < rows; r++) {
        uint8_t *to = (uint8_t *)a + r * k;
        scales[r] = quantise_row(x + r * k, k, (int8_t *)to, 1);
        for (size_t p = 0; p < k; p++) {
            to[p] ^= EMB_I8_ZERO;
        }
    }
}

static size_t panel_bytes(size_t k)
{
    return (k + k % 2) * NR + NR * sizeof(float);
}

static size_t packed_size(size_t n, size_t k)
{
    size_t bytes;
    if (k > EMB_I8_MAX_K || n > SIZE_MAX - NR || __builtin_mul_overflow((n + NR - 1) / NR, panel_bytes(k), &bytes)) {
        return 0;
    }
    return bytes;
}

static void pack(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)
{
    (void)n;
    for (size_t c0 = r0; c0 < r1; c0 += NR) {
        int8_t *panel = (int8_t *)dst + c0 / NR * panel_bytes(k);
        float scales[NR] = {0};
        memset(panel, 0, panel_bytes(k));
        for (size_t c = 0; c < NR && c0 + c < r1; c++) {
            scales[c] = quantise_row(w + (c0 + c - r0) * k, k, panel + c, NR) / (float)emb_i8_block(k);
        }
        memcpy(panel + (k + k % 2) * NR, scales, sizeof(scales));
    }
}

static void run(const struct emb_gemm_job *job)
{
    for (size_t c0 = job->n0; c0 < job->n1; c0 += NR) {
        const int8_t *panel = (const int8_t *)job->w + c0 / NR * panel_bytes(job->k);
        size_t columns = job->n1 - c0 < NR ? job->n1 - c0 : NR;
        float scales[NR];
        memcpy(scales, panel + (job->k + job->k % 2) * NR, sizeof(scales));
        for (size_t row = 0; row < job->m; row++) {
            const uint8_t *a = (const uint8_t *)job->a + row * job->lda;
            int32_t sum[NR] = {0};
            for (size_t p = 0; p < job->k; p++) {
                int32_t x = a[p] - EMB_I8_ZERO;
                for (size_t c = 0; c < NR; c++) {
                    sum[c] += x * panel[p * NR + c];
                }
            }
            float acc[NR];
            for (size_t c = 0; c < NR; c++) {
                acc[c] = (float)sum[c] * (job->a_scales[row] * scales[c]);
            }
            emb_finish_row_ref(job, row, c0, columns, acc);
        }
    }
}

const struct emb_gemm emb_gemm_i8_ref = {
    .name = "i8_ref",
    .native = false,
    .nr = NR,
    .mr = 1,
    .a_size = 1,
    .encode = encode,
    .packed_size = packed_size,
    .pack = pack,
    .run = run,
};
