/* Matrix products over packed panels: the form and the loops that all tiers but the portable one share.
 *
 * Owns packing and the walk over panels and row tiles, in portable C. The tiers bring the tile kernels and the end of a
 * tile (activation, residual, store).
 *
 * Packed f32: panels of nr columns, each [k][nr]. Packed bf16: panels of [ceil(k / 2)][nr][2], so that a 32-bit lane
 * holds the pair (2p, 2p + 1) of its column with the lower index in the lower half, as vdpbf16ps takes it. Packed int8:
 * panels of [ceil(k / step)][nr][step] bytes or int16, step the elements of a column that the tile takes at once, then the
 * end emb_panel_pack_i8 tells of. Columns from n on and elements from k on are zero. */
#ifndef EMB_KERNEL_PANEL_H
#define EMB_KERNEL_PANEL_H

#include "kernel/kernel.h"

#define EMB_PANEL_MAX_NR 64
#define EMB_PANEL_MAX_MR 6
#define EMB_PANEL_AHEAD 2048 /* bytes ahead of its loads that a tile fetches a panel larger than L1 */

/* Before a loop over a tile's rows or vectors, whose count is known once all is inlined: arrays become registers. */
#if defined(__clang__)
#define EMB_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EMB_UNROLL _Pragma("GCC unroll 8")
#endif

/* One tile: rows x columns at (row, column) of the job's output. */
struct emb_panel_tile {
    const void *a; /* the tile's first row; rows lda elements apart */
    size_t lda;
    const void *panel;
    size_t k;
    const float *bias;     /* [nr], 64-byte aligned; -0 where there is none, which changes no value */
    const float *a_scales; /* [rows], int8 only */
    const float *scales;   /* [nr], of the columns, int8 only */
    float *values;         /* [rows, nr], rows stride elements apart */
    size_t stride;
    size_t row, rows, column, columns;
};

/* values = a * panel, int8 scaled, + bias, for the rows and the count of column vectors the function was made for; only
 * the columns of those vectors are written. */
typedef void emb_panel_tile_fn(const struct emb_panel_tile *tile);

/* Puts act(values) + residual into the job's output. */
typedef void emb_panel_finish_fn(const struct emb_gemm_job *job, const struct emb_panel_tile *tile);

struct emb_panel_kernel {
    size_t nr;
    size_t mr;
    size_t lanes;                    /* columns of one vector */
    size_t a_size, element;          /* bytes of one element of a and of w */
    size_t k_step;                   /* k is padded to a multiple of this in w: 1, or 2 for pairs */
    size_t end;                      /* bytes after the elements of a panel: 0, or 8 nr for int8 */
    emb_panel_tile_fn *const *tiles; /* [mr][nr / lanes]: entry (rows - 1) * (nr / lanes) + vectors - 1 */
    emb_panel_finish_fn *finish;
};

void emb_panel_run(const struct emb_gemm_job *job, const struct emb_panel_kernel *kernel);

/* Bytes of the packed form, or 0 on overflow. A panel starts at a multiple of 64 bytes, and so does its end. */
size_t emb_panel_size(size_t n, size_t k, const struct emb_panel_kernel *kernel);

void emb_panel_pack_f32(float *dst, const float *w, size_t r0, size_t r1, size_t k, size_t nr);
void emb_panel_pack_bf16(emb_bf16 *dst, const float *w, size_t r0, size_t r1, size_t k, size_t nr);

/* How a tier rotates and quantises (part of) a row, as int8.h defines. count is a multiple of block. */
struct emb_panel_i8_rows {
    uint32_t (*max_bits)(const float *x, size_t count, size_t block);
    void (*quantise)(const float *x, size_t count, size_t block, float inverse, int8_t *q);
    int32_t offset; /* what the tier's activations hold for 0 */
};

/* The end of a panel is nr int32, the start of each column's sum: minus offset times the sum of its elements; then nr
 * f32, the columns' scales. */
void emb_panel_pack_i8(int8_t *dst, const float *w, size_t r0, size_t r1, size_t k,
                       const struct emb_panel_kernel *kernel, const struct emb_panel_i8_rows *rows);

#endif
