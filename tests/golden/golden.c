/* Reading golden files. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct golden golden_read(const char *path)
{
    struct golden g = {0};
    embellama_error error;
    if (emb_json_read(&g.json, path, 64 << 20, &error) != EMBELLAMA_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    struct emb_json_value root = emb_json_root(g.json);
    g.n = emb_json_size(root);
    g.rows = calloc(g.n, sizeof *g.rows);
    size_t i = 0;
    for (struct emb_json_iter it = emb_json_iterate(root); emb_json_next(&it); i++) {
        struct golden_row *row = &g.rows[i];
        struct emb_json_value ids;
        row->json = it.value;
        emb_json_get_string(it.value, "text", &row->text.bytes, &row->text.size);
        if (!emb_json_get(it.value, "ids", &ids)) {
            fprintf(stderr, "%s: row %zu has no ids\n", path, i);
            exit(1);
        }
        row->ids = calloc(emb_json_size(ids) + 1, sizeof *row->ids);
        for (struct emb_json_iter k = emb_json_iterate(ids); emb_json_next(&k);) {
            int64_t id = -1;
            emb_json_int(k.value, &id);
            row->ids[row->n_ids++] = (int32_t)id;
        }
    }
    return g;
}

void golden_free(struct golden *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->rows[i].ids);
    }
    free(g->rows);
    emb_json_free(g->json);
}

float *golden_floats(struct emb_json_value array, size_t *n)
{
    size_t count = emb_json_size(array), i = 0;
    float *out = calloc(count + 1, sizeof *out);
    for (struct emb_json_iter it = emb_json_iterate(array); emb_json_next(&it);) {
        double v = NAN;
        emb_json_number(it.value, &v);
        out[i++] = (float)v;
    }
    *n = count;
    return out;
}

double golden_cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

double golden_difference(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}
