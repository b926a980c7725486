/* Scalar conversions of bfloat16. */
#ifndef EMB_KERNEL_BF16_H
#define EMB_KERNEL_BF16_H

#include "kernel/kernel.h"

#include <string.h>

static inline float emb_bf16_to_f32(emb_bf16 h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof(f));
    return f;
}

/* To nearest even; NaN becomes a quiet NaN of the same sign. */
static inline emb_bf16 emb_bf16_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    if ((u & 0x7fffffffu) > 0x7f800000u) {
        return (emb_bf16)(u >> 16 | 0x40u);
    }
    return (emb_bf16)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* Two elements as one number, the lower index in the lower half. */
static inline int emb_bf16_load_pair(const emb_bf16 *from)
{
    int pair;
    memcpy(&pair, from, sizeof(pair));
    return pair;
}

#endif
