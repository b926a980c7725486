/* Element types and their conversion to f32. Block layouts: ggml's ggml-common.h; arithmetic as in its reference
 * dequantisers (one rounding a multiplication, one a subtraction), so that results are the reference's bits. */
#include "format/dtype.h"

#include <string.h>

#include "format/cursor.h"

enum { K_BLOCK = 256 }; /* elements of a super-block of the K types */

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Moves exponent and mantissa to their f32 places and re-biases. Subnormals are made normal by a subtraction that
 * is exact. */
float emb_f16_to_f32(uint16_t h)
{
    const uint32_t exponent = 0x1Fu << 23;
    uint32_t bits = (uint32_t)(h & 0x7FFF) << 13;
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    if ((bits & exponent) == exponent) {
        bits += (255u - 31u) << 23;
    } else if ((bits & exponent) == 0) {
        float f = float_of(bits + (113u << 23)) - float_of(113u << 23);
        memcpy(&bits, &f, sizeof bits);
    } else {
        bits += (127u - 15u) << 23;
    }
    return float_of(bits | sign);
}

static float load_f16(const uint8_t *p)
{
    return emb_f16_to_f32(emb_load_u16(p));
}

static void f32_to_f32(const uint8_t *src, size_t n, float *out)
{
    memcpy(out, src, n * sizeof *out);
}

static void f16_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = load_f16(src + 2 * i);
    }
}

static void bf16_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = float_of((uint32_t)emb_load_u16(src + 2 * i) << 16);
    }
}

/* Block: f16 scale, 16 bytes of nibbles; low nibbles are the first half of the block. */
static void q4_0_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t b = 0; b < n / 32; b++, src += 18, out += 32) {
        float d = load_f16(src);
        for (size_t i = 0; i < 16; i++) {
            uint8_t q = src[2 + i];
            out[i] = d * (float)((q & 15) - 8);
            out[i + 16] = d * (float)((q >> 4) - 8);
        }
    }
}

/* Block: f16 scale, 32 fifth bits, 16 bytes of nibbles as in Q4_0. */
static void q5_0_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t b = 0; b < n / 32; b++, src += 22, out += 32) {
        float d = load_f16(src);
        uint32_t high = emb_load_u32(src + 2);
        for (size_t i = 0; i < 16; i++) {
            uint8_t q = src[6 + i];
            int low = (q & 15) | (int)(high >> i & 1) << 4;
            int up = (q >> 4) | (int)(high >> (i + 16) & 1) << 4;
            out[i] = d * (float)(low - 16);
            out[i + 16] = d * (float)(up - 16);
        }
    }
}

/* Block: f16 scale, 32 signed bytes. */
static void q8_0_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t b = 0; b < n / 32; b++, src += 34, out += 32) {
        float d = load_f16(src);
        for (size_t i = 0; i < 32; i++) {
            out[i] = (float)(int8_t)src[2 + i] * d;
        }
    }
}

/* Six-bit scale and minimum of sub-block j out of their 12 packed bytes: sub-blocks 0-3 lie in the low six bits of
 * bytes 0-3 and 4-7; of 4-7 the low four bits lie in bytes 8-11, the high two on top of bytes 0-7. */
static void q4_k_scale(const uint8_t *packed, size_t j, float *scale, float *min)
{
    unsigned s, m;
    if (j < 4) {
        s = packed[j] & 63u;
        m = packed[j + 4] & 63u;
    } else {
        s = (packed[j + 4] & 15u) | (unsigned)(packed[j - 4] >> 6) << 4;
        m = (unsigned)(packed[j + 4] >> 4) | (unsigned)(packed[j] >> 6) << 4;
    }
    *scale = (float)s;
    *min = (float)m;
}

/* Block: f16 scale of scales, f16 scale of minimums, 12 bytes of scales and minimums, 128 bytes of nibbles: each
 * 32 bytes hold two sub-blocks of 32, the first in the low nibbles. */
static void q4_k_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t b = 0; b < n / K_BLOCK; b++, src += 144, out += K_BLOCK) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        for (size_t j = 0; j < 8; j++) {
            const uint8_t *q = src + 16 + j / 2 * 32;
            float scale, min;
            q4_k_scale(src + 4, j, &scale, &min);
            scale *= d;
            min *= dmin;
            for (size_t i = 0; i < 32; i++) {
                unsigned v = j % 2 ? q[i] >> 4 : q[i] & 15u;
                float product = scale * (float)v;
                out[j * 32 + i] = product - min;
            }
        }
    }
}

/* Block: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales (one for 16 elements), f16 scale
 * of scales. Each half of 128 elements takes 64 and 32 bytes of them: four runs of 32, whose nibbles lie in (low,
 * bytes 0-31), (low, 32-63), (high, 0-31), (high, 32-63), and whose bit pairs rise in the 32 bytes. */
static void q6_k_to_f32(const uint8_t *src, size_t n, float *out)
{
    for (size_t b = 0; b < n / K_BLOCK; b++, src += 210, out += K_BLOCK) {
        float d = load_f16(src + 208);
        for (unsigned run = 0; run < 8; run++) {
            const uint8_t *low = src + run / 4 * 64 + run % 2 * 32;
            const uint8_t *high = src + 128 + run / 4 * 32;
            unsigned low_shift = run % 4 / 2 * 4, high_shift = run % 4 * 2;
            for (size_t i = 0; i < 32; i++) {
                float scale = d * (float)(int8_t)src[192 + run * 2 + i / 16];
                int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
                out[run * 32 + i] = scale * (float)(q - 32);
            }
        }
    }
}

static const struct emb_dtype_traits traits[EMB_DTYPE_COUNT] = {
    [EMB_DTYPE_F32] = {"F32", 1, 4, f32_to_f32},
    [EMB_DTYPE_F16] = {"F16", 1, 2, f16_to_f32},
    [EMB_DTYPE_BF16] = {"BF16", 1, 2, bf16_to_f32},
    [EMB_DTYPE_I64] = {"I64", 1, 8, NULL},
    [EMB_DTYPE_Q4_0] = {"Q4_0", 32, 18, q4_0_to_f32},
    [EMB_DTYPE_Q5_0] = {"Q5_0", 32, 22, q5_0_to_f32},
    [EMB_DTYPE_Q8_0] = {"Q8_0", 32, 34, q8_0_to_f32},
    [EMB_DTYPE_Q4_K] = {"Q4_K", K_BLOCK, 144, q4_k_to_f32},
    [EMB_DTYPE_Q6_K] = {"Q6_K", K_BLOCK, 210, q6_k_to_f32},
    [EMB_DTYPE_OTHER] = {"OTHER", 0, 0, NULL},
};

const struct emb_dtype_traits *emb_dtype_traits(enum emb_dtype type)
{
    return &traits[type];
}

bool emb_dtype_bytes(enum emb_dtype type, uint64_t n, uint64_t *bytes)
{
    const struct emb_dtype_traits *t = &traits[type];
    return t->block > 0 && n % t->block == 0 && !__builtin_mul_overflow(n / t->block, (uint64_t)t->block_bytes, bytes);
}
