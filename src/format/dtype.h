/* Tensor element types: their names, sizes and how a row of them becomes f32. */
#ifndef EMB_DTYPE_H
#define EMB_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum emb_dtype {
    EMB_DTYPE_F32,
    EMB_DTYPE_F16,
    EMB_DTYPE_BF16,
    EMB_DTYPE_I64, /* only ever skipped over: position_ids in old checkpoints */
    EMB_DTYPE_Q4_0,
    EMB_DTYPE_Q5_0,
    EMB_DTYPE_Q8_0,
    EMB_DTYPE_Q4_K,
    EMB_DTYPE_Q6_K,
    EMB_DTYPE_OTHER, /* known to the format, not to us: never readable; size still checked where the format tells it */
    EMB_DTYPE_COUNT,
};

struct emb_dtype_traits {
    const char *name;   /* "Q4_K" */
    size_t block;       /* elements in a block */
    size_t block_bytes; /* bytes of a block */
    /* Converts n elements (a multiple of block) at src, which need not be aligned, to f32. NULL where not readable. */
    void (*to_f32)(const uint8_t *src, size_t n, float *out);
};

const struct emb_dtype_traits *emb_dtype_traits(enum emb_dtype type);

/* Bytes of n elements; false where n is no whole number of blocks or the size overflows. */
bool emb_dtype_bytes(enum emb_dtype type, uint64_t n, uint64_t *bytes);

float emb_f16_to_f32(uint16_t h);

#endif
