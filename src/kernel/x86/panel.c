/* The loops around the tile kernels, and packing. */
#include "kernel/x86/panel.h"

#include "kernel/bf16.h"

#include <string.h>

/* Rows of a are taken in blocks of about this many bytes, so that a block stays in L2 while every panel passes by. */
#define A_BLOCK_BYTES (256u * 1024)

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

static void run_panel(const struct emb_gemm_job *job, const struct emb_panel_kernel *kernel, size_t row, size_t row_end,
                      size_t column)
{
    _Alignas(64) float tile[EMB_PANEL_MAX_TILE];
    size_t k_padded = (job->k + kernel->k_step - 1) / kernel->k_step * kernel->k_step;
    const char *panel = (const char *)job->w + column * k_padded * kernel->element;
    size_t columns = job->n1 - column < kernel->nr ? job->n1 - column : kernel->nr;
    size_t vectors = (columns + kernel->lanes - 1) / kernel->lanes;
    size_t max_vectors = kernel->nr / kernel->lanes;
    while (row < row_end) {
        size_t rows = tile_rows(row_end - row, kernel->mr);
        const char *a = (const char *)job->a + row * job->lda * kernel->element;
        kernel->tiles[(rows - 1) * max_vectors + vectors - 1](a, job->lda, panel, job->k, tile);
        kernel->finish(job, tile, row, rows, column, columns);
        row += rows;
    }
}

void emb_panel_run(const struct emb_gemm_job *job, const struct emb_panel_kernel *kernel)
{
    size_t block = A_BLOCK_BYTES / (job->k * kernel->element + 1) / kernel->mr * kernel->mr;
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

size_t emb_panel_size(size_t n, size_t k, size_t nr, size_t element, size_t k_step)
{
    size_t columns, depth, bytes;
    if (__builtin_add_overflow(n, nr - 1, &columns) || __builtin_add_overflow(k, k_step - 1, &depth)) {
        return 0;
    }
    columns -= columns % nr;
    depth -= depth % k_step;
    if (__builtin_mul_overflow(columns, depth, &bytes) || __builtin_mul_overflow(bytes, element, &bytes)) {
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

static void pack_panel_bf16(emb_bf16 *out, const float *src, size_t columns, size_t k, size_t nr)
{
    for (size_t p0 = 0; p0 < k; p0 += PACK_CHUNK, out += PACK_CHUNK * nr) {
        size_t count = k - p0 < PACK_CHUNK ? k - p0 : PACK_CHUNK;
        for (size_t c = 0; c < columns; c++) {
            emb_bf16 row[PACK_CHUNK] = {0};
            for (size_t i = 0; i < count; i++) {
                row[i] = emb_bf16_from_f32(src[c * k + p0 + i]);
            }
            for (size_t i = 0; i < count; i += 2) {
                memcpy(out + i * nr + c * 2, row + i, 2 * sizeof(*row));
            }
        }
        for (size_t i = 0; i < count; i += 2) {
            memset(out + i * nr + 2 * columns, 0, 2 * (nr - columns) * sizeof(*out));
        }
    }
}

void emb_panel_pack_f32(float *dst, const float *w, size_t r0, size_t r1, size_t k, size_t nr)
{
    for (size_t c0 = r0; c0 < r1; c0 += nr) {
        size_t columns = r1 - c0 < nr ? r1 - c0 : nr;
        pack_panel_f32(dst + c0 * k, w + (c0 - r0) * k, columns, k, nr);
    }
}

void emb_panel_pack_bf16(emb_bf16 *dst, const float *w, size_t r0, size_t r1, size_t k, size_t nr)
{
    for (size_t c0 = r0; c0 < r1; c0 += nr) {
        size_t columns = r1 - c0 < nr ? r1 - c0 : nr;
        pack_panel_bf16(dst + c0 * (k + k % 2), w + (c0 - r0) * k, columns, k, nr);
    }
}
