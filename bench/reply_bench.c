/* What a reply of 2,048 vectors of 384 values costs to write, beside std::to_chars alone on the same values; and in its other forms.
 *
 *     reply_bench
 *
 * Each is measured in turns, the median of 9 counts. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/vector_json.h"
#include "base/json.h"

enum { VECTORS = 2048, DIM = 384, ROUNDS = 9, PIECE_BYTES = 256 * 1024, SIDES = 5 };

static float values[VECTORS][DIM];
static volatile size_t kept; /* so that nothing is left out */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void write_digits(struct emb_vector_form form)
{
    char digits[EMB_FLOAT_CHARS];
    (void)form;
    for (size_t i = 0; i < VECTORS; i++) {
        for (size_t k = 0; k < DIM; k++) {
            kept += emb_json_write_float(values[i][k], digits);
        }
    }
}

/* As a dialect does: into one piece after another. */
static void write_reply(struct emb_vector_form form)
{
    struct emb_buf out;
    emb_buf_init(&out, 4 * (size_t)PIECE_BYTES);
    for (size_t i = 0; i < VECTORS; i++) {
        emb_buf_printf(&out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i);
        emb_vector_write(&out, values[i], DIM, form);
        emb_buf_puts(&out, "}");
        if (out.size >= PIECE_BYTES) {
            kept += out.size;
            emb_buf_clear(&out);
        }
    }
    emb_buf_deinit(&out);
}

static const struct {
    const char *name;
    void (*run)(struct emb_vector_form form);
    struct emb_vector_form form;
} sides[SIDES] = {
    {"std::to_chars alone", write_digits, {EMB_VECTOR_FLOAT, false}},
    {"reply, float", write_reply, {EMB_VECTOR_FLOAT, false}},
    {"reply, base64", write_reply, {EMB_VECTOR_FLOAT, true}},
    {"reply, int8", write_reply, {EMB_VECTOR_INT8, false}},
    {"reply, ubinary", write_reply, {EMB_VECTOR_UBINARY, false}},
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    double seconds[SIDES][ROUNDS];
    srand(1);
    for (size_t i = 0; i < VECTORS; i++) {
        for (size_t k = 0; k < DIM; k++) {
            values[i][k] = ((float)rand() / (float)RAND_MAX - 0.5F) * 0.2F;
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int s = 0; s < SIDES; s++) {
            double start = now();
            sides[s].run(sides[s].form);
            seconds[s][round] = now() - start;
        }
    }
    for (int s = 0; s < SIDES; s++) {
        qsort(seconds[s], ROUNDS, sizeof seconds[s][0], by_value);
        printf("%-20s %6.1f ns a value, %.2f times to_chars alone\n", sides[s].name,
               seconds[s][ROUNDS / 2] / (VECTORS * DIM) * 1e9, seconds[s][ROUNDS / 2] / seconds[0][ROUNDS / 2]);
    }
    return 0;
}
