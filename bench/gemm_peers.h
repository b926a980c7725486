/* What gemm_peers.c and the peers' files share: the operands, and a way to run their product. */
#ifndef EMB_BENCH_GEMM_PEERS_H
#define EMB_BENCH_GEMM_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_type { BENCH_F32, BENCH_BF16, BENCH_I8 };

/* out[m, n] = x[m, k] * w[n, k]^T, all dense. Only the pair of the type is set. */
struct bench_operands {
    enum bench_type type;
    size_t m, k, n;
    const float *x, *w;
    const uint16_t *x16, *w16; /* bf16 */
    const uint8_t *xu8;        /* int8 activations are unsigned in the peers */
    const int8_t *w8;
};

struct bench_contender {
    void (*run)(void *state);
    void *state;
    const void *out; /* [m, n]: f32, or int32 for int8 */
};

/* Packs the weights and prepares to run on one thread. False where the library cannot. What it takes is never given back. */
bool bench_libxsmm_new(struct bench_contender *c, const struct bench_operands *o);
bool bench_onednn_new(struct bench_contender *c, const struct bench_operands *o);

/* Caps the libraries' instructions to AVX2. Before anything else. */
void bench_libxsmm_cap_avx2(void);
void bench_onednn_cap_avx2(void);

/* 64-byte aligned zeroed memory, or the program ends. */
void *bench_buffer(size_t bytes);

/* CPU seconds of one run, the best of a few: to choose between forms of one contender. */
double bench_trial(const struct bench_contender *c);

#endif
