/* BERT's forward pass. Each step is a list of independent items that a team takes in turn; alone, the steps are plain loops.
 *
 * A step is split by rows first, which costs nothing twice, then by columns until every member has work. Kernels promise that
 * no split changes a bit. */
#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

/* Rows of one item. */
enum { ROW_BLOCK = 128, QUERY_BLOCK = 128, EMBED_BLOCK = 32 };

/* A thread alone takes the inner activations in blocks of rows that fill about half of an L2 cache; in larger blocks where the
 * weights come from memory each time, which costs more than activations that leave the cache. */
enum { INNER_BYTES = 512 << 10, INNER_ROWS_MIN = 32, INNER_ROWS_LARGE = 2 * ROW_BLOCK, LARGE_WEIGHTS = 4 << 20 };

/* Weights that a thread alone multiplies all its rows with before it goes on to the next: they stay in L2. */
enum { WEIGHT_GROUP = 256 << 10 };

static bool is_f32(const struct emb_model *m)
{
    return m->precision == EMBELLAMA_PRECISION_F32;
}

static bool is_bf16(const struct emb_model *m)
{
    return m->precision == EMBELLAMA_PRECISION_BF16;
}

static bool is_int8(const struct emb_model *m)
{
    return m->precision == EMBELLAMA_PRECISION_INT8;
}

/* Bytes of an element that a step leaves for the next product: attention's output, the inner activations. */
static size_t value_size(const struct emb_model *m)
{
    return is_bf16(m) ? sizeof(emb_bf16) : sizeof(float);
}

/* Bytes of an element of queries, keys and values: bf16 unless the products are f32. */
static size_t qkv_size(const struct emb_model *m)
{
    return is_f32(m) ? sizeof(float) : sizeof(emb_bf16);
}

static size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* ---- Scratch ---- */

/* Adds an array of rows x columns elements to a layout that has *size bytes so far; false on overflow. */
static bool lay_out(size_t *size, size_t rows, size_t columns, size_t element, size_t *offset)
{
    size_t bytes;
    if (!emb_mul(rows, columns, &bytes) || !emb_mul(bytes, element, &bytes) || !emb_add(bytes, 63, &bytes)) {
        return false;
    }
    *offset = *size;
    return emb_add(*size, bytes & ~(size_t)63, size);
}

/* How many rows of inner activations are held at once. */
static size_t inner_rows(const struct emb_model *m, size_t tokens, int members)
{
    size_t rows = INNER_BYTES / (m->spec.intermediate * value_size(m)) / INNER_ROWS_MIN * INNER_ROWS_MIN;
    rows = rows < INNER_ROWS_MIN ? INNER_ROWS_MIN : rows > ROW_BLOCK ? ROW_BLOCK : rows;
    if (2 * m->spec.hidden * m->spec.intermediate * m->gemm->a_size > LARGE_WEIGHTS) {
        rows = INNER_ROWS_LARGE;
    }
    return members == 1 && rows < tokens ? rows : tokens;
}

int emb_scratch_init(struct emb_scratch *s, const struct emb_model *m, size_t tokens, int members,
                     embellama_error *error)
{
    size_t h = m->spec.hidden, size = 0, threads = (size_t)members;
    size_t x, a, a_scales, qkv, heads, inner, inner_a, inner_scales, rows, attention;
    bool int8 = is_int8(m);
    *s = (struct emb_scratch){.tokens = tokens, .ffn_rows = inner_rows(m, tokens, members)};
    size_t longest = tokens < m->spec.positions ? tokens : m->spec.positions;
    s->attention_size = (m->kernels->attention_scratch(longest, h / m->spec.heads) + 63) & ~(size_t)63;
    bool fits = lay_out(&size, tokens, h, sizeof(float), &x) &&
                lay_out(&size, is_f32(m) ? 0 : tokens, h, m->gemm->a_size, &a) &&
                lay_out(&size, int8 ? tokens : 0, 1, sizeof(float), &a_scales) &&
                lay_out(&size, tokens, 3 * h, qkv_size(m), &qkv) &&
                lay_out(&size, is_bf16(m) ? 0 : tokens, h, sizeof(float), &heads) &&
                lay_out(&size, s->ffn_rows, m->spec.intermediate, value_size(m), &inner) &&
                lay_out(&size, int8 ? s->ffn_rows : 0, m->spec.intermediate, m->gemm->a_size, &inner_a) &&
                lay_out(&size, int8 ? s->ffn_rows : 0, 1, sizeof(float), &inner_scales) &&
                lay_out(&size, threads, 2 * h, sizeof(float), &rows) &&
                lay_out(&size, threads, s->attention_size, 1, &attention);
    s->block = fits ? emb_alloc_aligned(64, size) : NULL;
    if (!s->block) {
        return emb_fail_nomem(error);
    }
    s->x = (float *)(void *)(s->block + x);
    s->a = is_f32(m) ? (void *)s->x : s->block + a;
    s->a_scales = (float *)(void *)(s->block + a_scales);
    s->qkv = s->block + qkv;
    s->heads = is_bf16(m) ? s->a : s->block + heads;
    s->inner = s->block + inner;
    s->inner_a = int8 ? s->block + inner_a : s->inner;
    s->inner_scales = (float *)(void *)(s->block + inner_scales);
    s->rows = (float *)(void *)(s->block + rows);
    s->attention = s->block + attention;
    return EMBELLAMA_OK;
}

void emb_scratch_deinit(struct emb_scratch *s)
{
    emb_free(s->block);
    *s = (struct emb_scratch){0};
}

/* ---- A pass ---- */

struct pass {
    const struct emb_model *m;
    struct emb_scratch *s;
    struct emb_team *team;
    const embellama_ids *inputs;
    size_t n;
    size_t tokens;
};

/* Normalises rows of x in place and makes the next product's input of them. */
static void normalise(const struct pass *p, const struct emb_norm *norm, size_t r0, size_t rows)
{
    const struct emb_model *m = p->m;
    size_t h = m->spec.hidden;
    float *x = p->s->x + r0 * h;
    void *a = (uint8_t *)p->s->a + r0 * h * m->gemm->a_size;
    m->kernels->layernorm(x, rows, h, norm->gamma, norm->beta, m->spec.norm_eps, x, is_bf16(m) ? a : NULL);
    if (is_int8(m)) {
        m->gemm->encode(x, rows, h, a, p->s->a_scales + r0);
    }
}

/* ---- Embedding ---- */

/* Word + token type + position, added in the reference's order, for the batch's flat rows r0..r1. */
static void embed_rows(const struct pass *p, size_t r0, size_t r1, int member)
{
    const struct emb_weights *w = &p->m->weights;
    size_t h = p->m->spec.hidden, first = 0;
    float *type = p->s->rows + (size_t)member * 2 * h, *position = type + h;
    bool of_second = false; /* whose row type is */
    emb_table_row(w->type, 0, type);
    for (size_t i = 0; i < p->n && first < r1; first += p->inputs[i++].count) {
        const embellama_ids *input = &p->inputs[i];
        size_t begin = r0 > first ? r0 - first : 0;
        for (size_t t = begin; t < input->count && first + t < r1; t++) {
            float *x = p->s->x + (first + t) * h;
            if (of_second != (p->s->seconds && t >= p->s->seconds[i])) {
                of_second = !of_second;
                emb_table_row(w->type, of_second, type);
            }
            emb_table_row(w->word, (size_t)input->ids[t], x);
            emb_table_row(w->position, t, position);
            for (size_t c = 0; c < h; c++) {
                x[c] = x[c] + type[c] + position[c];
            }
        }
    }
}

static void embed_item(void *arg, size_t item, int member)
{
    const struct pass *p = arg;
    size_t r0 = item * EMBED_BLOCK, r1 = r0 + EMBED_BLOCK < p->tokens ? r0 + EMBED_BLOCK : p->tokens;
    embed_rows(p, r0, r1, member);
    normalise(p, &p->m->weights.embed_norm, r0, r1 - r0);
}

/* ---- Linear layers ---- */

/* The input of a product: rows in the product's type, and their scales in int8. */
struct input {
    const void *a;
    const float *scales;
};

struct encode_step {
    const struct emb_gemm *gemm;
    const float *x;
    size_t rows, k;
    uint8_t *a;
    float *scales;
};

static void encode_item(void *arg, size_t item, int member)
{
    const struct encode_step *step = arg;
    size_t r0 = item * EMBED_BLOCK, left = step->rows - r0;
    (void)member;
    step->gemm->encode(step->x + r0 * step->k, left < EMBED_BLOCK ? left : EMBED_BLOCK, step->k,
                       step->a + r0 * step->k * step->gemm->a_size, step->scales + r0);
}

/* In int8, turns the f32 values [rows, k] that a step left into the next product's input a; else they are it already. */
static void encode(const struct pass *p, const void *values, size_t rows, size_t k, void *a, float *scales)
{
    if (is_int8(p->m)) {
        struct encode_step step = {p->m->gemm, values, rows, k, a, scales};
        emb_team_run(p->team, encode_item, &step, ceil_div(rows, EMBED_BLOCK));
        emb_profile_lap(p->s->profile, EMBELLAMA_OPERATION_ENCODE);
    }
}

struct linear_step {
    const struct emb_gemm *gemm;
    struct emb_gemm_job job; /* of all rows and columns */
    size_t row_blocks;
    size_t columns; /* of one item, whole panels */
    size_t out_size;
};

static void linear_item(void *arg, size_t item, int member)
{
    const struct linear_step *step = arg;
    struct emb_gemm_job job = step->job;
    size_t r0 = item % step->row_blocks * ROW_BLOCK;
    (void)member;
    job.n0 = item / step->row_blocks * step->columns;
    job.n1 = job.n0 + step->columns < job.n ? job.n0 + step->columns : job.n;
    job.m = job.m - r0 < ROW_BLOCK ? job.m - r0 : ROW_BLOCK;
    job.a = (const uint8_t *)job.a + r0 * job.lda * step->gemm->a_size;
    job.a_scales += r0;
    job.out = (uint8_t *)job.out + r0 * job.ldo * step->out_size;
    if (job.residual) {
        job.residual += r0 * job.ldr;
    }
    step->gemm->run(&job);
}

/* out = act(in * W^T + bias) + residual over rows rows. residual, where not NULL, has out's stride. */
static void linear(const struct pass *p, const struct emb_linear *l, struct input in, size_t rows, enum emb_act act,
                   const float *residual, void *out, bool out_bf16)
{
    const struct emb_gemm *gemm = p->m->gemm;
    struct linear_step step = {
        .gemm = gemm,
        .job = {.a = in.a,
                .lda = l->k,
                .a_scales = in.scales,
                .m = rows,
                .w = l->w,
                .n = l->n,
                .k = l->k,
                .bias = l->bias,
                .act = act,
                .residual = residual,
                .ldr = l->n,
                .out = out,
                .ldo = l->n,
                .out_bf16 = out_bf16},
        .row_blocks = ceil_div(rows, ROW_BLOCK),
        .out_size = out_bf16 ? sizeof(emb_bf16) : sizeof(float),
    };
    size_t members = (size_t)emb_team_size(p->team), panels = ceil_div(l->n, gemm->nr);
    size_t groups = 1;
    if (members > 1) {
        groups =
            ceil_div(3 * members, step.row_blocks); /* three items a member even out what a preempted thread loses */
    } else if (step.row_blocks > 1) {
        groups = ceil_div(l->n * l->k * gemm->a_size, WEIGHT_GROUP);
    }
    step.columns = ceil_div(panels, groups < panels ? groups : panels) * gemm->nr;
    emb_team_run(p->team, linear_item, &step, step.row_blocks * ceil_div(l->n, step.columns));
}

/* ---- Attention ---- */

/* One head of one text, whose first row is first, for a block of its queries. */
static void attention_block(const struct pass *p, size_t first, size_t count, size_t q0, size_t head, int member)
{
    const struct emb_model *m = p->m;
    size_t h = m->spec.hidden, head_dim = h / m->spec.heads;
    const uint8_t *q = (const uint8_t *)p->s->qkv + (first * 3 * h + head * head_dim) * qkv_size(m);
    struct emb_attention_job job = {
        .q = q,
        .k = q + h * qkv_size(m),
        .v = q + 2 * h * qkv_size(m),
        .ld = 3 * h,
        .in_bf16 = !is_f32(m),
        .n = count,
        .q0 = q0,
        .q1 = q0 + QUERY_BLOCK < count ? q0 + QUERY_BLOCK : count,
        .head_dim = head_dim,
        .scale = 1.0F / sqrtf((float)head_dim),
        .out = (uint8_t *)p->s->heads + (first * h + head * head_dim) * value_size(m),
        .ldo = h,
        .out_bf16 = is_bf16(m),
        .scratch = p->s->attention + (size_t)member * p->s->attention_size,
    };
    m->kernels->attention(&job);
}

struct attention_step {
    const struct pass *pass;
    size_t first; /* row of the text */
    size_t count; /* its tokens */
};

/* Item: a block of queries and a head; heads vary fastest. */
static void attention_item(void *arg, size_t item, int member)
{
    const struct attention_step *step = arg;
    size_t heads = step->pass->m->spec.heads;
    attention_block(step->pass, step->first, step->count, item / heads * QUERY_BLOCK, item % heads, member);
}

static void attention(const struct pass *p)
{
    struct attention_step step = {.pass = p};
    for (size_t i = 0; i < p->n; i++) {
        step.count = p->inputs[i].count;
        emb_team_run(p->team, attention_item, &step, ceil_div(step.count, QUERY_BLOCK) * p->m->spec.heads);
        step.first += step.count;
    }
    emb_profile_lap(p->s->profile, EMBELLAMA_OPERATION_ATTENTION);
}

/* ---- The layers ---- */

struct norm_step {
    const struct pass *pass;
    const struct emb_norm *norm;
};

static void norm_item(void *arg, size_t item, int member)
{
    const struct norm_step *step = arg;
    size_t r0 = item * EMBED_BLOCK, left = step->pass->tokens - r0;
    (void)member;
    normalise(step->pass, step->norm, r0, left < EMBED_BLOCK ? left : EMBED_BLOCK);
}

static void normalise_all(const struct pass *p, const struct emb_norm *norm)
{
    struct norm_step step = {p, norm};
    emb_team_run(p->team, norm_item, &step, ceil_div(p->tokens, EMBED_BLOCK));
    emb_profile_lap(p->s->profile, EMBELLAMA_OPERATION_NORM);
}

static void attend(const struct pass *p, const struct emb_layer *layer)
{
    const struct emb_scratch *s = p->s;
    struct input in = {s->a, s->a_scales}, heads = in;
    linear(p, &layer->qkv, in, p->tokens, EMB_ACT_NONE, NULL, s->qkv, !is_f32(p->m));
    emb_profile_lap(s->profile, EMBELLAMA_OPERATION_QKV);
    attention(p);
    encode(p, s->heads, p->tokens, p->m->spec.hidden, s->a, s->a_scales);
    heads.a = is_f32(p->m) ? s->heads : s->a;
    linear(p, &layer->attention_out, heads, p->tokens, EMB_ACT_NONE, s->x, s->x, false);
    emb_profile_lap(s->profile, EMBELLAMA_OPERATION_OUTPUT);
    normalise_all(p, &layer->attention_norm);
}

static void feed_forward(const struct pass *p, const struct emb_layer *layer)
{
    const struct emb_scratch *s = p->s;
    const struct emb_model *m = p->m;
    size_t h = m->spec.hidden;
    for (size_t r0 = 0; r0 < p->tokens; r0 += s->ffn_rows) {
        size_t rows = p->tokens - r0 < s->ffn_rows ? p->tokens - r0 : s->ffn_rows;
        float *x = s->x + r0 * h;
        struct input in = {(const uint8_t *)s->a + r0 * h * m->gemm->a_size, s->a_scales + r0};
        struct input inner = {s->inner_a, s->inner_scales};
        linear(p, &layer->up, in, rows, m->spec.act, NULL, s->inner, is_bf16(m));
        emb_profile_lap(s->profile, EMBELLAMA_OPERATION_UP);
        encode(p, s->inner, rows, m->spec.intermediate, s->inner_a, s->inner_scales);
        linear(p, &layer->down, inner, rows, EMB_ACT_NONE, x, x, false);
        emb_profile_lap(s->profile, EMBELLAMA_OPERATION_DOWN);
    }
    normalise_all(p, &layer->out_norm);
}

void emb_forward(const struct emb_model *m, struct emb_scratch *s, struct emb_team *team, const embellama_ids *inputs,
                 size_t n)
{
    struct pass p = {.m = m, .s = s, .team = team, .inputs = inputs, .n = n};
    for (size_t i = 0; i < n; i++) {
        p.tokens += inputs[i].count;
    }
    emb_profile_start(s->profile);
    emb_team_run(team, embed_item, &p, ceil_div(p.tokens, EMBED_BLOCK));
    emb_profile_lap(s->profile, EMBELLAMA_OPERATION_EMBEDDING);
    for (size_t i = 0; i < m->spec.layers; i++) {
        attend(&p, &m->weights.layers[i]);
        feed_forward(&p, &m->weights.layers[i]);
        if (s->layers_done) {
            atomic_fetch_add_explicit(s->layers_done, 1, memory_order_relaxed);
        }
    }
}
