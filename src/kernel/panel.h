/* Matrix products over packed panels: the form and the loops that all tiers but the portable one share.
 *
 * Owns packing and the walk over panels and row tiles, in portable C. The tiers bring the tile kernels and the end of a
 * tile (activation, residual, store).
 *
 * Packed f32: panels of nr columns, each [k][nr]. Packed bf16 and int8: panels of [ceil(k / step)][nr][step], step the
 * elements of a column that the tile takes at once; int8 as bytes or int16, and with an end. Columns from n on and
 * elements from k on are zero. */
#ifndef EMB_KERNEL_PANEL_H
#define EMB_KERNEL_PANEL_H

#include "kernel/kernel.h"

#define EMB_PANEL_MAX_NR 64
#define EMB_PANEL_MAX_MR 6
#define EMB_PANEL_AHEAD 2048 /* bytes ahead of its loads that a tile fetches a panel larger than L1 */

/* Before a loop over a tile's rows or vectors, whose count is known once all is inlined: arrays become registers. Checks
 * of every access, of which each copy of the loop has its own, take clang half a minute a file. */
#if !defined(__clang__)
#define EMB_UNROLL _Pragma("GCC unroll 8")
#elif __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define EMB_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define EMB_UNROLL _Pragma("clang loop unroll(full)")
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

/* How a tier rotates and quantises (part of) a row, as int8.h defines. count is a multiple of block. */
struct emb_panel_i8_rows {
    uint32_t (*max_bits)(const float *x, size_t count, size_t block);
    void (*quantise)(const float *x, size_t count, size_t block, float inverse, int8_t *q);
    int32_t offset; /* what the tier's activations hold for 0 */
};

/* The end of an int8 panel is nr int32, the start of each column's sum: minus offset times the sum of its elements; then
 * nr f32, the columns' scales. */
#define EMB_PANEL_END_I8(nr) ((nr) * (sizeof(int32_t) + sizeof(float)))

struct emb_panel_kernel {
    size_t nr;
    size_t mr;
    size_t lanes;                    /* columns of one vector */
    size_t a_size, element;          /* bytes of one element of a and of w */
    size_t k_step;                   /* elements of a column side by side in w; k is padded to a multiple of it */
    size_t end;                      /* bytes after the elements of a panel: 0, or EMB_PANEL_END_I8 */
    emb_panel_tile_fn *const *tiles; /* [mr][nr / lanes]: entry (rows - 1) * (nr / lanes) + vectors - 1 */
    emb_panel_finish_fn *finish;
    const struct emb_panel_i8_rows *i8; /* int8 only */
};

void emb_panel_run(const struct emb_gemm_job *job, const struct emb_panel_kernel *kernel);

/* As emb_gemm's packed_size and pack. A panel starts at a multiple of 64 bytes, and so does its end. */
size_t emb_panel_size(size_t n, size_t k, const struct emb_panel_kernel *kernel);
void emb_panel_pack(void *dst, const float *w, size_t r0, size_t r1, size_t k, const struct emb_panel_kernel *kernel);

/* The tiles of a type, functions <type>_<rows>x<vectors> that call the inline tile_<type>(tile, rows, vectors), and
 * tiles_<type>, the table of them: up to 6 rows, and 2 or 4 vectors. */
#define EMB_PANEL_TILE(type, rows, vectors)                                                                            \
    static void type##_##rows##x##vectors(const struct emb_panel_tile *t)                                              \
    {                                                                                                                  \
        tile_##type(t, rows, vectors);                                                                                 \
    }
#define EMB_PANEL_ROW_2(type, rows) EMB_PANEL_TILE(type, rows, 1) EMB_PANEL_TILE(type, rows, 2)
#define EMB_PANEL_ROW_4(type, rows)                                                                                    \
    EMB_PANEL_ROW_2(type, rows) EMB_PANEL_TILE(type, rows, 3) EMB_PANEL_TILE(type, rows, 4)
#define EMB_PANEL_NAMES_2(type, rows) type##_##rows##x1, type##_##rows##x2
#define EMB_PANEL_NAMES_4(type, rows) EMB_PANEL_NAMES_2(type, rows), type##_##rows##x3, type##_##rows##x4
#define EMB_PANEL_TILES(type, row, names)                                                                              \
    row(type, 1) row(type, 2) row(type, 3) row(type, 4) row(type, 5)                                                   \
        row(type, 6) static emb_panel_tile_fn *const tiles_##type[] = {                                                \
            names(type, 1), names(type, 2), names(type, 3), names(type, 4), names(type, 5), names(type, 6)};
#define EMB_PANEL_TILES_2(type) EMB_PANEL_TILES(type, EMB_PANEL_ROW_2, EMB_PANEL_NAMES_2)
#define EMB_PANEL_TILES_4(type) EMB_PANEL_TILES(type, EMB_PANEL_ROW_4, EMB_PANEL_NAMES_4)

/* The functions of an emb_gemm over a kernel, and those of its members that follow from it. */
#define EMB_PANEL_FUNCTIONS(type, kernel)                                                                              \
    static size_t size_##type(size_t n, size_t k)                                                                      \
    {                                                                                                                  \
        return emb_panel_size(n, k, &kernel);                                                                          \
    }                                                                                                                  \
    static void pack_##type(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)                       \
    {                                                                                                                  \
        (void)n;                                                                                                       \
        emb_panel_pack(dst, w, r0, r1, k, &kernel);                                                                    \
    }                                                                                                                  \
    static void run_##type(const struct emb_gemm_job *job)                                                             \
    {                                                                                                                  \
        emb_panel_run(job, &kernel);                                                                                   \
    }
#define EMB_PANEL_MEMBERS(type) .packed_size = size_##type, .pack = pack_##type, .run = run_##type

#endif
