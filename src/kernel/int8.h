/* The int8 scheme in scalar code: rotation, scale and rounding of a row, of activations and of weights alike.
 *
 * A row x of k values is cut into blocks of the largest power of two <= 64 that divides k. Each block is multiplied by
 * the Hadamard matrix H of its size (QuaRot, arXiv 2404.00456: it spreads outliers over the block). Then
 *     q[i] = round(y[i] * (127 / max|y|)), to nearest even, and the row's scale is max|y| / 127.
 * As H * H = block * I, a dot product of two rows is sum(q * r) * scale_q * scale_r / block; the weights' scales hold the
 * division. The products' sum is an int32: |q| <= 127, and |q| + 128 <= 255, so k up to EMB_I8_MAX_K cannot overflow.
 *
 * A row with a NaN or an infinity, or whose rotation overflows (from about 5e36 on), has the scale NaN, which makes all
 * its products NaN, and q = 0. A row with max|y| < EMB_I8_TINY is taken as zeros, scale 0: the inverse would overflow. */
#ifndef EMB_KERNEL_INT8_H
#define EMB_KERNEL_INT8_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EMB_I8_BLOCK 64
#define EMB_I8_MAX_K 65536
#define EMB_I8_TINY 0x1p-100f
#define EMB_I8_ZERO 128 /* what 0 is where a row is kept as unsigned bytes, q + 128 */

static inline size_t emb_i8_block(size_t k)
{
    size_t power = k & (~k + 1);
    return power < EMB_I8_BLOCK ? power : EMB_I8_BLOCK;
}

/* The block's product with H, in place. The order of the stages is part of the definition: it fixes the rounding. */
static inline void emb_i8_rotate(float *x, size_t block)
{
    static const size_t halves[] = {32, 16, 8, 4, 2, 1};
    for (size_t s = 0; s < sizeof(halves) / sizeof(halves[0]); s++) {
        size_t h = halves[s];
        for (size_t i = 0; h < block && i < block; i += 2 * h) {
            for (size_t j = i; j < i + h; j++) {
                float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
        }
    }
}

struct emb_i8_scale {
    float inverse; /* what to multiply by before rounding: 0 for rows of no use */
    float scale;
};

/* max_bits: the largest of the values' bits without their signs, compared as integers, so that NaN is above all. */
static inline struct emb_i8_scale emb_i8_scale_of(uint32_t max_bits)
{
    float max;
    memcpy(&max, &max_bits, sizeof(max));
    if (max_bits >= 0x7f800000u) {
        return (struct emb_i8_scale){0.0f, NAN};
    }
    if (max < EMB_I8_TINY) {
        return (struct emb_i8_scale){0.0f, 0.0f};
    }
    return (struct emb_i8_scale){127.0f / max, max / 127.0f};
}

#endif
