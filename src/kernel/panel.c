/* The loops around the tile kernels, and packing. */
#include "kernel/panel.h"

#include "kernel/bf16.h"
#include "kernel/int8.h"

#include <string.h>

/* Rows of a are taken in blocks of about this many bytes, so that a block stays in L2 while every panel passes by. */
#define A_BLOCK_BYTES (256u * 1024)

/* An output of more elements than this is fetched ahead of the stores: it is not in L2, and they would wait for L3. */
#define FAR_OUTPUT (1u << 20)

/* Elements of k that pack takes at a time: even. */
#define PACK_CHUNK 16

/* Rows for the next tile: full tiles, but the last two share what is left evenly, as a thin tile is slow. */
static size_t tile_rows(size_t left, size_t mr)
{
    if (left <= mr) {
        return left;
    }
    return left < 2 * mr ? (left + 1) / 2 : mr;
}

/* Bytes of a panel without its end, which starts a new line. */
static size_t panel_elements(size_t k, const struct emb_panel_kernel *kernel)
{
    size_t bytes = (k + kernel->k_step - 1) / kernel->k_step * kernel->k_step * kernel->nr * kernel->element;
    return (bytes + 63) / 64 * 64;
}

/* Whether the tile's values are the output as they are: then they go straight there. */
static bool is_output(const struct emb_gemm_job *job, size_t columns, size_t nr)
{
    return job->act == EMB_ACT_NONE && !job->residual && !job->out_bf16 && columns == nr;
}

static void fetch_output(const struct emb_panel_tile *tile)
{
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->columns; c += 16) {
            __builtin_prefetch(tile->values + r * tile->stride + c, 1);
        }
    }
}

static void run_panel(const struct emb_gemm_job *job, const struct emb_panel_kernel *kernel, size_t row, size_t row_end,
                      size_t column)
{
    _Alignas(64) float values[EMB_PANEL_MAX_MR * EMB_PANEL_MAX_NR], bias[EMB_PANEL_MAX_NR];
    size_t bytes = panel_elements(job->k, kernel);
    const char *panel = (const char *)job->w + column / kernel->nr * (bytes + kernel->end);
    struct emb_panel_tile tile = {
        .lda = job->lda,
        .panel = panel,
        .k = job->k,
        .bias = bias,
        .scales = (const float *)(const void *)(panel + bytes + kernel->end / 2),
        .values = values,
        .stride = kernel->nr,
        .row = row,
        .column = column,
        .columns = job->n1 - column < kernel->nr ? job->n1 - column : kernel->nr,
    };
    size_t vectors = (tile.columns + kernel->lanes - 1) / kernel->lanes;
    size_t max_vectors = kernel->nr / kernel->lanes;
    bool direct = is_output(job, tile.columns, kernel->nr), far = job->m * job->ldo > FAR_OUTPUT;
    for (size_t c = 0; c < kernel->nr; c++) {
        bias[c] = -0.0f;
    }
    if (job->bias) {
        memcpy(bias, job->bias + column, tile.columns * sizeof(*bias));
    }
    for (; tile.row < row_end; tile.row += tile.rows) {
        tile.rows = tile_rows(row_end - tile.row, kernel->mr);
        tile.a = (const char *)job->a + tile.row * job->lda * kernel->a_size;
        tile.a_scales = job->a_scales ? job->a_scales + tile.row : NULL;
        if (direct) {
            tile.values = (float *)job->out + tile.row * job->ldo + column;
            tile.stride = job->ldo;
            if (far) {
                fetch_output(&tile);
            }
        }
        kernel->tiles[(tile.rows - 1) * max_vectors + vectors - 1](&tile);
        if (!direct) {
            kernel->finish(job, &tile);
        }
    }
}

void emb_panel_run(const struct emb_gemm_job *job, const struct emb_panel_kernel *kernel)
{
    size_t block = A_BLOCK_BYTES / (job->k * kernel->a_size + 1) / kernel->mr * kernel->mr;
    if (block < kernel->mr) {
        block = kernel->mr;
    }
    for (size_t row = 0; row < job->m; row += block) {
        size_t row_end = job->m - row < block ? job->m : row + block;
        for (size_t column = job->n0; column < job->n1; column += kernel->nr) {
            run_panel(job, kernel, row, row_end, column);
        }
    }
}

size_t emb_panel_size(size_t n, size_t k, const struct emb_panel_kernel *kernel)
{
    size_t columns, depth, bytes;
    if (kernel->i8 && k > EMB_I8_MAX_K) {
        return 0;
    }
    if (__builtin_add_overflow(n, kernel->nr - 1, &columns) || __builtin_add_overflow(k, kernel->k_step - 1, &depth) ||
        __builtin_mul_overflow(depth, kernel->nr * kernel->element, &bytes) || bytes > SIZE_MAX - 64) {
        return 0;
    }
    bytes = panel_elements(k, kernel);
    if (__builtin_add_overflow(bytes, kernel->end, &bytes) ||
        __builtin_mul_overflow(bytes, columns / kernel->nr, &bytes)) {
        return 0;
    }
    return bytes;
}

/* One panel, some k at a time so that both sides stay in L1. */
static void pack_panel_f32(float *out, const float *src, size_t columns, size_t k, size_t nr)
{
    for (size_t p0 = 0; p0 < k; p0 += PACK_CHUNK) {
        size_t p1 = k - p0 < PACK_CHUNK ? k : p0 + PACK_CHUNK;
        for (size_t c = 0; c < columns; c++) {
            for (size_t p = p0; p < p1; p++) {
                out[p * nr + c] = src[c * k + p];
            }
        }
        for (size_t p = p0; p < p1; p++) {
            for (size_t c = columns; c < nr; c++) {
                out[p * nr + c] = 0.0f;
            }
        }
    }
}

/* step divides PACK_CHUNK; inline, as a constant step is much faster. */
static inline __attribute__((always_inline)) void pack_panel_bf16(emb_bf16 *out, const float *src, size_t columns,
                                                                  size_t k, size_t nr, size_t step)
{
    for (size_t p0 = 0; p0 < k; p0 += PACK_CHUNK, out += PACK_CHUNK * nr) {
        size_t count = k - p0 < PACK_CHUNK ? k - p0 : PACK_CHUNK;
        for (size_t c = 0; c < columns; c++) {
            emb_bf16 row[PACK_CHUNK] = {0};
            for (size_t i = 0; i < count; i++) {
                row[i] = emb_bf16_from_f32(src[c * k + p0 + i]);
            }
            for (size_t i = 0; i < count; i += step) {
                memcpy(out + i * nr + c * step, row + i, step * sizeof(*row));
            }
        }
        for (size_t i = 0; i < count; i += step) {
            memset(out + i * nr + step * columns, 0, step * (nr - columns) * sizeof(*out));
        }
    }
}

/* Spreads count elements of one column over its panel, as bytes or int16. q has zeros behind them. */
static void put_column_i8(int8_t *panel, const int8_t *q, size_t column, size_t count,
                          const struct emb_panel_kernel *kernel)
{
    size_t step = kernel->k_step;
    if (kernel->element == sizeof(*q)) {
        for (size_t i = 0; i < count; i += step) {
            memcpy(panel + i * kernel->nr + column * step, q + i, step);
        }
        return;
    }
    int16_t *to = (int16_t *)(void *)panel;
    for (size_t i = 0; i < count; i += step) {
        for (size_t j = 0; j < step; j++) {
            to[i * kernel->nr + column * step + j] = q[i + j];
        }
    }
}

/* Quantises elements p0 .. p0 + count of the panel's columns; sums gets what they add up to. */
static void pack_chunk_i8(int8_t *panel, const float *src, size_t columns, size_t k, size_t p0,
                          const struct emb_panel_kernel *kernel, const struct emb_i8_scale *scales, int32_t *sums)
{
    size_t block = emb_i8_block(k);
    size_t count = k - p0 < EMB_I8_BLOCK ? k - p0 : EMB_I8_BLOCK;
    for (size_t c = 0; c < columns; c++) {
        int8_t q[EMB_I8_BLOCK] = {0};
        if (scales[c].inverse > 0.0f) {
            kernel->i8->quantise(src + c * k + p0, count, block, scales[c].inverse, q);
        }
        for (size_t i = 0; i < EMB_I8_BLOCK; i++) {
            sums[c] += q[i];
        }
        put_column_i8(panel + p0 * kernel->nr * kernel->element, q, c, count, kernel);
    }
}

static void pack_panel_i8(int8_t *panel, const float *src, size_t columns, size_t k,
                          const struct emb_panel_kernel *kernel)
{
    struct emb_i8_scale scales[EMB_PANEL_MAX_NR];
    int32_t starts[EMB_PANEL_MAX_NR] = {0};
    float ends[EMB_PANEL_MAX_NR] = {0};
    size_t block = emb_i8_block(k), bytes = panel_elements(k, kernel);
    for (size_t c = 0; c < columns; c++) {
        scales[c] = emb_i8_scale_of(kernel->i8->max_bits(src + c * k, k, block));
        ends[c] = scales[c].scale / (float)block;
    }
    memset(panel, 0, bytes);
    for (size_t p = 0; p < k; p += EMB_I8_BLOCK) {
        pack_chunk_i8(panel, src, columns, k, p, kernel, scales, starts);
    }
    for (size_t c = 0; c < columns; c++) {
        starts[c] *= -kernel->i8->offset;
    }
    memcpy(panel + bytes, starts, kernel->nr * sizeof(*starts));
    memcpy(panel + bytes + kernel->nr * sizeof(*starts), ends, kernel->nr * sizeof(*ends));
}

void emb_panel_pack(void *dst, const float *w, size_t r0, size_t r1, size_t k, const struct emb_panel_kernel *kernel)
{
    size_t bytes = panel_elements(k, kernel), nr = kernel->nr, step = kernel->k_step;
    size_t used = (k + step - 1) / step * step * nr * kernel->element;
    for (size_t c0 = r0; c0 < r1; c0 += nr) {
        char *panel = (char *)dst + c0 / nr * (bytes + kernel->end);
        const float *src = w + (c0 - r0) * k;
        size_t columns = r1 - c0 < nr ? r1 - c0 : nr;
        if (kernel->i8) {
            pack_panel_i8((int8_t *)panel, src, columns, k, kernel);
        } else if (kernel->element == sizeof(float)) {
            pack_panel_f32((float *)(void *)panel, src, columns, k, nr);
        } else if (step == 2) {
            pack_panel_bf16((emb_bf16 *)(void *)panel, src, columns, k, nr, 2);
        } else {
            pack_panel_bf16((emb_bf16 *)(void *)panel, src, columns, k, nr, step);
        }
        memset(panel + used, 0, bytes - used);
    }
}
