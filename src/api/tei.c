/* The dialect of Hugging Face's text-embeddings-inference: /embed, /embed_all, /embed_sparse, /predict, /similarity, the same by shape
 * at / (which Hugging Face's InferenceClient calls) and /invocations, /vertex, and /info
 * (https://huggingface.github.io/text-embeddings-inference/). Its /rerank is rerank.c's, its /tokenize and /decode are tokenize.c's.
 *
 * Errors are its {"error", "error_type"} with its statuses; where it answers with plain text (a body that is no JSON, a missing
 * member) or with nothing (no key, no such route), JSON is given here too. */
#include "api/tei.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/dialects.h"
#include "api/embed_list.h"
#include "api/embed_options.h"
#include "api/handlers.h"
#include "api/served_model.h"
#include "base/clock.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "server/http/exchange.h"
#include "server/schedule/scheduler.h"

enum { INFO_BYTES = 65536 };

/* ---- Errors ---- */

int emb_style_tei(const struct emb_error *error, struct emb_buf *out)
{
    const char *code = error->code ? error->code : "";
    int status = error->status;
    const char *type = "Validation";
    if (strcmp(code, "empty_input") == 0) {
        type = "Empty";
    } else if (strcmp(code, "not_supported") == 0 || (status == 500 && strcmp(code, "") != 0)) {
        status = 424;
        type = "Backend";
    } else if (strcmp(code, "queue_full") == 0 || strcmp(code, "overloaded") == 0 || status == 429) {
        status = 429;
        type = "Overloaded";
    } else if (status >= 500) {
        type = status == 503 ? "Unhealthy" : "Backend";
    } else if (status == 400 && error->param) {
        status = 422;
    }
    emb_buf_puts(out, "{\"error\":");
    emb_json_write_cstring(out, error->message);
    emb_buf_printf(out, ",\"error_type\":\"%s\"}\n", type);
    return status;
}

/* ---- What all requests share ---- */

/* Of a request while it is there. */
struct state {
    uint64_t begun_ns;
    size_t characters; /* of all texts */
    bool raw_scores;
    bool single;             /* predict: the reply is no list of lists */
    size_t input, row, rows; /* embed_all: where the reply is */
    size_t *instances;       /* vertex: index of each one's first input, and the number of inputs behind the last */
    size_t instance_count;
    float *scores; /* predict: of one input */
};

static void free_state(void *state)
{
    struct state *s = state;
    emb_free(s->instances);
    emb_free(s->scores);
    emb_free(s);
}

/* Gives the request its state. What is left to the server to decide, and the options in `options`, an object. */
static int begin(struct emb_embed_request *r, struct emb_json_value options, struct state **out)
{
    struct state *s = emb_calloc(1, sizeof *s);
    if (!s) {
        return emb_refuse_nomem(&r->refusal);
    }
    s->begun_ns = emb_clock_ns();
    r->state = s;
    r->free_state = free_state;
    *out = s;
    r->inputs.truncate = r->options->auto_truncate;
    return emb_options_truncate(&r->inputs, options, &r->refusal);
}

/* Only where it is asked for: clients of this dialect put prompts before texts themselves. */
static int read_prompt(struct emb_embed_request *r, struct emb_json_value options)
{
    return emb_options_prompt_name(r->inputs.model, options, &r->inputs.prompt, &r->refusal);
}

static int require(struct emb_embed_request *r, struct emb_json_value body, const char *key, struct emb_json_value *out)
{
    return emb_member(body, key, out) ? 0 : emb_refuse_invalid(&r->refusal, key, "missing field `%s`", key);
}

/* Empty texts are refused in this dialect. Counts the characters of v: a text, token ids, or a list of such. */
static int check_texts(struct emb_embed_request *r, struct state *s, const char *member, struct emb_json_value v)
{
    embellama_text text;
    if (emb_json_string(v, &text.bytes, &text.size)) {
        s->characters += emb_characters(text);
        return text.size > 0 ? 0 : emb_embed_list_empty(r, member);
    }
    int rc = 0;
    for (struct emb_json_iter it = emb_json_iterate(v);
         emb_json_type(v) == EMB_JSON_ARRAY && rc == 0 && emb_json_next(&it);) {
        rc = emb_json_type(it.value) == EMB_JSON_STRING ? check_texts(r, s, member, it.value) : 0;
    }
    return rc;
}

static int add_inputs(struct emb_embed_request *r, struct state *s, struct emb_json_value body)
{
    struct emb_json_value inputs;
    if (require(r, body, "inputs", &inputs) != 0 || check_texts(r, s, "inputs", inputs) != 0) {
        return -1;
    }
    return emb_embed_list(r, "inputs", inputs);
}

static void add_milliseconds(struct emb_exchange *x, const char *name, uint64_t ns)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)(ns / 1000000));
    emb_exchange_add_header(x, name, text);
}

static void add_number(struct emb_exchange *x, const char *name, size_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", n);
    emb_exchange_add_header(x, name, text);
}

static void add_headers(const struct emb_embed_request *r, struct emb_exchange *x)
{
    const struct state *s = r->state;
    const struct emb_exchange_notes *notes = emb_exchange_notes(x);
    uint64_t total = emb_clock_ns() - s->begun_ns;
    emb_exchange_add_header(x, "x-compute-type", "cpu");
    add_milliseconds(x, "x-compute-time", total);
    add_number(x, "x-compute-characters", s->characters);
    add_number(x, "x-compute-tokens", r->inputs.tokens);
    add_milliseconds(x, "x-total-time", total);
    add_milliseconds(x, "x-tokenization-time", notes->tokenize_ns);
    add_milliseconds(x, "x-queue-time", notes->queue_ns);
    add_milliseconds(x, "x-inference-time", notes->compute_ns);
}

static void open_list(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "[");
}

static void close_list(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "]");
}

/* ---- /embed ---- */

static int read_embed(struct emb_embed_request *r, struct emb_json_value body)
{
    struct state *s;
    if (begin(r, body, &s) != 0 || read_prompt(r, body) != 0 || emb_options_normalize(r, body) != 0 ||
        emb_options_dimensions(r, body) != 0) {
        return -1;
    }
    return add_inputs(r, s, body);
}

static void write_vector(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    emb_buf_puts(out, i == 0 ? "" : ",");
    emb_vector_write(out, emb_embed_vector(r, i), r->dimensions, r->form);
}

static const struct emb_embed_dialect embed = {
    .read = read_embed, .headers = add_headers, .begin = open_list, .input = write_vector, .end = close_list};

/* ---- /embed_all: a vector a token ---- */

static int read_embed_all(struct emb_embed_request *r, struct emb_json_value body)
{
    struct state *s;
    r->task = EMB_TASK_TOKENS;
    if (begin(r, body, &s) != 0 || read_prompt(r, body) != 0) {
        return -1;
    }
    return add_inputs(r, s, body);
}

static size_t rows_of(const struct emb_embed_request *r, size_t i)
{
    size_t n;
    return emb_embed_values(r, i, &n) ? n / embellama_dim(r->inputs.model) : 0;
}

/* The reply is written row by row; an input without rows failed and is written as null. */
static size_t count_rows(const struct emb_embed_request *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->inputs.count; i++) {
        size_t rows = rows_of(r, i);
        n += rows > 0 ? rows : 1;
    }
    return n;
}

static void write_row(const struct emb_embed_request *r, size_t entry, struct emb_buf *out)
{
    struct state *s = r->state;
    size_t dim = embellama_dim(r->inputs.model), n;
    const float *rows = emb_embed_values(r, s->input, &n);
    bool last = s->row + 1 >= n / dim;
    emb_buf_puts(out, entry == 0 ? "" : ",");
    if (!rows) {
        emb_buf_puts(out, "null");
    } else {
        emb_buf_puts(out, s->row == 0 ? "[" : "");
        emb_vector_write(out, rows + s->row * dim, dim, r->form);
        emb_buf_puts(out, last ? "]" : "");
    }
    s->row = last ? 0 : s->row + 1;
    s->input += last;
}

static const struct emb_embed_dialect embed_all = {.read = read_embed_all,
                                                   .headers = add_headers,
                                                   .entries = count_rows,
                                                   .begin = open_list,
                                                   .input = write_row,
                                                   .end = close_list};

/* ---- /embed_sparse ---- */

static int read_embed_sparse(struct emb_embed_request *r, struct emb_json_value body)
{
    (void)body;
    return emb_refuse(&r->refusal, 422, "invalid_request_error", NULL, "not_supported",
                      "This model has no sparse vectors: it is not a SPLADE model.");
}

static const struct emb_embed_dialect embed_sparse = {.read = read_embed_sparse};

/* ---- /similarity ---- */

static int read_similarity(struct emb_embed_request *r, struct emb_json_value body)
{
    struct state *s;
    struct emb_json_value inputs, parameters = body, source, sentences;
    if (emb_member(body, "parameters", &parameters) && emb_json_type(parameters) != EMB_JSON_OBJECT) {
        return emb_refuse_invalid(&r->refusal, "parameters",
                                  "'$.parameters' is invalid: it must be an object, but it is %s.",
                                  emb_member_type(parameters));
    }
    if (begin(r, parameters, &s) != 0 || read_prompt(r, parameters) != 0 || require(r, body, "inputs", &inputs) != 0 ||
        require(r, inputs, "source_sentence", &source) != 0 || require(r, inputs, "sentences", &sentences) != 0) {
        return -1;
    }
    if (emb_json_type(source) != EMB_JSON_STRING || emb_json_type(sentences) != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(&r->refusal, "inputs",
                                  "'$.inputs' is invalid: source_sentence must be a string and sentences a list of "
                                  "strings.");
    }
    if (check_texts(r, s, "source_sentence", source) != 0 || check_texts(r, s, "sentences", sentences) != 0 ||
        emb_embed_list_add(r, "source_sentence", source) != 0) {
        return -1;
    }
    return emb_embed_list_strings(r, "sentences", sentences);
}

static size_t count_sentences(const struct emb_embed_request *r)
{
    return r->inputs.count - 1;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static void write_cosine(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const float *a = emb_embed_vector(r, 0), *b = emb_embed_vector(r, i + 1);
    char text[EMB_FLOAT_CHARS];
    emb_buf_puts(out, i == 0 ? "" : ",");
    if (!a || !b) {
        emb_buf_puts(out, "null");
        return;
    }
    double lengths = sqrt(dot(a, a, r->dimensions) * dot(b, b, r->dimensions));
    double cosine = lengths > 0 ? dot(a, b, r->dimensions) / lengths : 0;
    emb_buf_append(out, text, emb_json_write_float((float)cosine, text));
}

static const struct emb_embed_dialect similarity = {.read = read_similarity,
                                                    .headers = add_headers,
                                                    .entries = count_sentences,
                                                    .begin = open_list,
                                                    .input = write_cosine,
                                                    .end = close_list};

/* ---- /predict ---- */

/* A text, or one or two in a list. */
static int add_sequence(struct emb_embed_request *r, const char *name, struct emb_json_value v)
{
    embellama_text texts[2] = {0};
    size_t n = 0;
    bool good = emb_json_type(v) == EMB_JSON_ARRAY && emb_json_size(v) >= 1 && emb_json_size(v) <= 2;
    if (emb_json_string(v, &texts[0].bytes, &texts[0].size)) {
        return emb_embed_inputs_add_text(&r->inputs, name, texts[0], &r->refusal);
    }
    for (struct emb_json_iter it = emb_json_iterate(v); good && emb_json_next(&it); n++) {
        good = emb_json_string(it.value, &texts[n].bytes, &texts[n].size);
    }
    if (!good) {
        return emb_refuse_invalid(&r->refusal, name,
                                  "'$.%s' is invalid: it must be a string, or a list of one or two strings.", name);
    }
    return n == 1 ? emb_embed_inputs_add_text(&r->inputs, name, texts[0], &r->refusal)
                  : emb_embed_inputs_add_pair(&r->inputs, name, texts[0], texts[1], &r->refusal);
}

static int add_sequences(struct emb_embed_request *r, struct state *s, struct emb_json_value inputs)
{
    struct emb_json_iter it = emb_json_iterate(inputs);
    bool list = emb_json_type(inputs) == EMB_JSON_ARRAY;
    if (list && emb_json_size(inputs) == 0) {
        return emb_embed_list_empty(r, "inputs");
    }
    s->single = !list || (emb_json_next(&it) && emb_json_type(it.value) == EMB_JSON_STRING);
    if (s->single) {
        return check_texts(r, s, "inputs", inputs) == 0 ? add_sequence(r, "inputs", inputs) : -1;
    }
    int rc = emb_embed_list_check(r, "inputs", emb_json_size(inputs));
    for (it = emb_json_iterate(inputs); rc == 0 && emb_json_next(&it);) {
        char name[48];
        snprintf(name, sizeof name, "inputs[%zu]", r->inputs.count);
        rc = check_texts(r, s, "inputs", it.value);
        rc = rc == 0 ? add_sequence(r, name, it.value) : rc;
    }
    return rc;
}

static int read_predict(struct emb_embed_request *r, struct emb_json_value body)
{
    struct state *s;
    struct emb_json_value inputs;
    size_t labels = embellama_model_get_info(r->inputs.model)->labels;
    if (labels == 0) {
        return emb_refuse(&r->refusal, 422, "invalid_request_error", NULL, "not_supported",
                          "This model makes vectors; it is no classifier.");
    }
    r->task = EMB_TASK_SCORE;
    if (begin(r, body, &s) != 0 || emb_member_bool(body, "raw_scores", &s->raw_scores, &r->refusal) != 0 ||
        require(r, body, "inputs", &inputs) != 0) {
        return -1;
    }
    s->scores = emb_alloc(labels, sizeof *s->scores);
    return s->scores ? add_sequences(r, s, inputs) : emb_refuse_nomem(&r->refusal);
}

static void write_label(struct emb_buf *out, const embellama_model_info *info, size_t i)
{
    if (info->label_names) {
        emb_json_write_cstring(out, info->label_names[i]);
    } else {
        emb_buf_printf(out, "\"LABEL_%zu\"", i);
    }
}

/* The labels of one input, best first. */
static void write_labels(const struct emb_embed_request *r, const float *scores, size_t n, struct emb_buf *out)
{
    const embellama_model_info *info = embellama_model_get_info(r->inputs.model);
    char text[EMB_FLOAT_CHARS];
    float above = INFINITY; /* the last one written, and its place */
    size_t above_at = 0;
    emb_buf_puts(out, "[");
    for (size_t written = 0; written < n; written++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            bool left = written == 0 || scores[i] < above || (scores[i] == above && i > above_at);
            best = left && (best == n || scores[i] > scores[best]) ? i : best;
        }
        if (best == n) {
            break; /* not a number among them */
        }
        emb_buf_puts(out, written == 0 ? "{\"score\":" : ",{\"score\":");
        emb_buf_append(out, text, emb_json_write_float(scores[best], text));
        emb_buf_puts(out, ",\"label\":");
        write_label(out, info, best);
        emb_buf_puts(out, "}");
        above = scores[best];
        above_at = best;
    }
    emb_buf_puts(out, "]");
}

static void open_predictions(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct state *s = r->state;
    emb_buf_puts(out, s->single ? "" : "[");
}

static void write_prediction(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    struct state *s = r->state;
    size_t n;
    const float *logits = emb_embed_values(r, i, &n);
    emb_buf_puts(out, i == 0 ? "" : ",");
    if (!logits) {
        emb_buf_puts(out, "null");
        return;
    }
    memcpy(s->scores, logits, n * sizeof *logits);
    if (!s->raw_scores) {
        embellama_activate(r->inputs.model, s->scores);
    }
    write_labels(r, s->scores, n, out);
}

static void close_predictions(const struct emb_embed_request *r, struct emb_buf *out)
{
    const struct state *s = r->state;
    emb_buf_puts(out, s->single ? "" : "]");
}

static const struct emb_embed_dialect predict = {.read = read_predict,
                                                 .headers = add_headers,
                                                 .begin = open_predictions,
                                                 .input = write_prediction,
                                                 .end = close_predictions};

/* ---- /vertex: several requests for vectors in one ---- */

/* What an instance asks of its vectors, beginning with fresh, where no option was read. All must agree, since they are computed
 * together. */
static int read_instance_options(struct emb_embed_request *r, struct emb_json_value instance, bool first,
                                 const struct emb_embed_inputs *fresh)
{
    size_t dimensions = r->dimensions;
    enum emb_task_kind task = r->task;
    struct emb_embed_inputs before = r->inputs;
    r->dimensions = embellama_dim(r->inputs.model);
    r->task = EMB_TASK_EMBED;
    r->inputs.limit = fresh->limit;
    r->inputs.truncate = fresh->truncate;
    r->inputs.truncate_left = fresh->truncate_left;
    r->inputs.prompt = fresh->prompt;
    if (emb_options_truncate(&r->inputs, instance, &r->refusal) != 0 || read_prompt(r, instance) != 0 ||
        emb_options_normalize(r, instance) != 0 || emb_options_dimensions(r, instance) != 0) {
        return -1;
    }
    bool same = r->dimensions == dimensions && r->task == task && r->inputs.truncate == before.truncate &&
                r->inputs.truncate_left == before.truncate_left && r->inputs.limit == before.limit &&
                r->inputs.prompt.bytes == before.prompt.bytes;
    return first || same ? 0
                         : emb_refuse_invalid(&r->refusal, "instances",
                                              "'$.instances' is invalid: all of them must have the same options.");
}

static int read_vertex(struct emb_embed_request *r, struct emb_json_value body)
{
    struct state *s;
    struct emb_json_value instances;
    if (require(r, body, "instances", &instances) != 0) {
        return -1;
    }
    if (emb_json_type(instances) != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(&r->refusal, "instances",
                                  "'$.instances' is invalid: it must be a list, but it is %s.",
                                  emb_member_type(instances));
    }
    size_t n = emb_json_size(instances);
    if (emb_embed_list_check(r, "instances", n) != 0 || begin(r, body, &s) != 0) {
        return -1;
    }
    s->instances = emb_alloc(n + 1, sizeof *s->instances);
    if (!s->instances) {
        return emb_refuse_nomem(&r->refusal);
    }
    const struct emb_embed_inputs fresh = r->inputs;
    for (struct emb_json_iter it = emb_json_iterate(instances); emb_json_next(&it); s->instance_count++) {
        s->instances[s->instance_count] = r->inputs.count;
        if (read_instance_options(r, it.value, s->instance_count == 0, &fresh) != 0 ||
            add_inputs(r, s, it.value) != 0) {
            return -1;
        }
        if (emb_embed_list_check(r, "instances", r->inputs.count) != 0) {
            return -1;
        }
    }
    s->instances[n] = r->inputs.count;
    return 0;
}

static void open_instances(const struct emb_embed_request *r, struct emb_buf *out)
{
    struct state *s = r->state;
    s->instance_count = 0;
    emb_buf_puts(out, "{\"predictions\":[");
}

static void write_instance_vector(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    struct state *s = r->state;
    bool first = i == s->instances[s->instance_count];
    emb_buf_puts(out, i == 0 ? "[" : first ? ",[" : ",");
    emb_vector_write(out, emb_embed_vector(r, i), r->dimensions, r->form);
    if (i + 1 == s->instances[s->instance_count + 1]) {
        emb_buf_puts(out, "]");
        s->instance_count++;
    }
}

static void close_instances(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "]}");
}

static const struct emb_embed_dialect vertex = {.read = read_vertex,
                                                .headers = add_headers,
                                                .begin = open_instances,
                                                .input = write_instance_vector,
                                                .end = close_instances};

/* ---- By shape: / and /invocations ---- */

static int read_any(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value v;
    bool classifies = embellama_model_get_info(r->inputs.model)->labels > 0;
    if (emb_member(body, "texts", &v)) {
        r->dialect = &emb_rerank_dialect;
    } else if (emb_member(body, "inputs", &v) && emb_json_type(v) == EMB_JSON_OBJECT) {
        r->dialect = &similarity;
    } else {
        r->dialect = classifies ? &predict : &embed;
    }
    return r->dialect->read(r, body);
}

static const struct emb_embed_dialect any = {.read = read_any};

/* ---- Handlers ---- */

void emb_tei_embed(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &embed);
}

void emb_tei_embed_all(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &embed_all);
}

void emb_tei_embed_sparse(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &embed_sparse);
}

void emb_tei_similarity(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &similarity);
}

void emb_tei_predict(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &predict);
}

void emb_tei_vertex(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &vertex);
}

void emb_tei_any(struct emb_server *server, struct emb_exchange *x)
{
    emb_embed_serve(server, x, &any);
}

static void write_labels_by_name(struct emb_buf *out, const embellama_model_info *info)
{
    emb_buf_puts(out, "{\"id2label\":{");
    for (size_t i = 0; i < info->labels; i++) {
        emb_buf_printf(out, "%s\"%zu\":", i == 0 ? "" : ",", i);
        write_label(out, info, i);
    }
    emb_buf_puts(out, "},\"label2id\":{");
    for (size_t i = 0; i < info->labels; i++) {
        emb_buf_puts(out, i == 0 ? "" : ",");
        write_label(out, info, i);
        emb_buf_printf(out, ":%zu", i);
    }
    emb_buf_puts(out, "}}");
}

static void write_model_type(struct emb_buf *out, const embellama_model_info *info, embellama_pooling pooling)
{
    const char *name = pooling == EMBELLAMA_POOLING_LAST ? "last_token" : embellama_pooling_name(pooling);
    if (info->labels == 0) {
        emb_buf_printf(out, "{\"embedding\":{\"pooling\":\"%s\"}}", name);
        return;
    }
    emb_buf_printf(out, "{\"%s\":", info->labels == 1 ? "reranker" : "classifier");
    write_labels_by_name(out, info);
    emb_buf_puts(out, "}");
}

void emb_tei_info(struct emb_server *server, struct emb_exchange *x)
{
    const embellama_model *model = emb_server_model(server);
    const embellama_model_info *info = embellama_model_get_info(model);
    const struct emb_server_options *options = emb_server_options(server);
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(server));
    struct emb_buf out;
    emb_buf_init(&out, INFO_BYTES);
    emb_buf_puts(&out, "{\"model_id\":");
    emb_json_write_cstring(&out, info->name);
    emb_buf_printf(&out, ",\"model_sha\":null,\"model_dtype\":\"%s\",\"served_model_name\":",
                   info->precision == EMBELLAMA_PRECISION_F32 ? "float32" : embellama_precision_name(info->precision));
    emb_json_write_cstring(&out, emb_server_model_name(server));
    emb_buf_puts(&out, ",\"model_type\":");
    write_model_type(&out, info, emb_served_pooling(model, options));
    emb_buf_printf(&out, ",\"max_concurrent_requests\":%zu,\"max_input_length\":%zu,\"max_batch_tokens\":%zu",
                   stats.queue_size, emb_served_limit(model, options), stats.batch_tokens);
    emb_buf_printf(&out, ",\"max_batch_requests\":null,\"max_client_batch_size\":%zu,\"auto_truncate\":%s",
                   options->max_inputs, options->auto_truncate ? "true" : "false");
    emb_buf_printf(&out, ",\"tokenization_workers\":%d,\"version\":\"%s\",\"sha\":null,\"docker_label\":null}\n",
                   embellama_cpu_count(), embellama_version());
    emb_exchange_reply(x, 200, "application/json", &out);
}
