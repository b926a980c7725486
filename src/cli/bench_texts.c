/* Texts of words, and their tokens. */
#include "cli/bench_texts.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "cli/input.h"

/* Enough for minutes of work of a fast machine. */
#define INPUT_TEXTS_MAX ((size_t)16384)
#define INPUT_BYTES_MAX ((size_t)32 << 20)

static const char *const words[] = {
    "the",     "of",       "and",        "a",       "in",       "to",       "is",      "was",      "it",
    "for",     "with",     "he",         "be",      "on",       "that",     "by",      "at",       "you",
    "are",     "his",      "had",        "not",     "this",     "have",     "from",    "but",      "which",
    "she",     "they",     "or",         "an",      "her",      "were",     "there",   "we",       "their",
    "been",    "has",      "will",       "one",     "all",      "would",    "can",     "if",       "who",
    "more",    "when",     "said",       "do",      "what",     "about",    "its",     "so",       "up",
    "into",    "no",       "him",        "some",    "could",    "them",     "only",    "time",     "out",
    "my",      "two",      "other",      "then",    "may",      "over",     "also",    "new",      "like",
    "these",   "me",       "after",      "first",   "your",     "did",      "now",     "any",      "people",
    "than",    "should",   "very",       "most",    "see",      "where",    "just",    "made",     "between",
    "back",    "way",      "many",       "years",   "being",    "our",      "how",     "work",     "water",
    "river",   "city",     "music",      "school",  "language", "network",  "history", "science",  "market",
    "doctor",  "engine",   "garden",     "winter",  "bridge",   "letter",   "machine", "window",   "mountain",
    "summer",  "children", "government", "company", "country",  "question", "answer",  "computer", "library",
    "station", "morning",  "evening",    "picture", "number",   "system",   "program", "paper",    "teacher",
    "student", "village",  "island",     "ocean",   "forest",   "learning", "memory",  "vector",   "search",
    "meaning", "sentence", "document",   "weather", "kitchen",  "hospital",
};
enum { WORDS = sizeof words / sizeof words[0] };

/* A generator of numbers that is the same everywhere (PCG's multiplier, the upper bits). */
static uint32_t next_number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Words for a text of so many tokens, from how many tokens all the words have together. */
static int count_words(const embellama_model *model, size_t tokens, size_t *out, embellama_error *error)
{
    struct emb_buf all;
    size_t count = 0, special = 0;
    emb_buf_init(&all, 1 << 16);
    for (size_t i = 0; i < WORDS; i++) {
        emb_buf_printf(&all, "%s%s", i ? " " : "", words[i]);
    }
    int rc = all.failed ? emb_fail_nomem(error) : EMBELLAMA_OK;
    if (rc == EMBELLAMA_OK) {
        rc = embellama_tokenize(model, (embellama_text){all.data, all.size}, NULL, NULL, NULL, 0, &count, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = embellama_tokenize(model, (embellama_text){"", 0}, NULL, NULL, NULL, 0, &special, error);
    }
    emb_buf_deinit(&all);
    if (rc == EMBELLAMA_OK) {
        size_t content = tokens > special ? tokens - special : 0;
        *out = count > special ? content * WORDS / (count - special) : content;
        *out = *out ? *out : 1;
    }
    return rc;
}

/* Appends a text; its place in bytes is set once they no longer move. */
static bool add_text(struct emb_bench_texts *t, const char *bytes, size_t size)
{
    if (!emb_grow(&t->texts, &t->text_capacity, t->n + 1, sizeof *t->texts)) {
        return false;
    }
    emb_buf_append(&t->bytes, bytes, size);
    t->texts[t->n++].size = size;
    return !t->bytes.failed;
}

/* Sets the texts' places, and their tokens. */
static int finish(struct emb_bench_texts *t, const embellama_model *model, embellama_error *error)
{
    size_t limit = embellama_model_get_info(model)->context_length, at = 0, used = 0;
    if (!emb_grow(&t->ids, &t->id_capacity, t->n, sizeof *t->ids)) {
        return emb_fail_nomem(error);
    }
    for (size_t i = 0; i < t->n; at += t->texts[i++].size) {
        t->texts[i].bytes = t->bytes.data ? t->bytes.data + at : "";
        size_t count = 0, room;
        do {
            room = t->ids_capacity - used;
            int rc = embellama_tokenize(model, t->texts[i], NULL, t->all_ids ? t->all_ids + used : NULL, NULL, room,
                                        &count, error);
            if (rc != EMBELLAMA_OK) {
                return rc;
            }
            if (count > room && !emb_grow(&t->all_ids, &t->ids_capacity, used + count, sizeof *t->all_ids)) {
                return emb_fail_nomem(error);
            }
        } while (count > room);
        t->ids[i].count = embellama_truncate_ids(model, t->all_ids + used, count, limit);
        used += t->ids[i].count;
    }
    t->tokens = used;
    for (size_t i = 0, from = 0; i < t->n; from += t->ids[i++].count) {
        t->ids[i].ids = t->all_ids + from;
    }
    return EMBELLAMA_OK;
}

int emb_bench_texts_make(struct emb_bench_texts *out, const embellama_model *model, const char *name, size_t n,
                         size_t tokens, embellama_error *error)
{
    size_t context = embellama_model_get_info(model)->context_length, count = 0;
    uint64_t state = tokens;
    struct emb_buf text;
    *out = (struct emb_bench_texts){0};
    emb_buf_init(&out->bytes, SIZE_MAX);
    emb_buf_init(&text, SIZE_MAX);
    snprintf(out->name, sizeof out->name, "%s", name);
    int rc = count_words(model, tokens < context ? tokens : context, &count, error);
    for (size_t i = 0; rc == EMBELLAMA_OK && i < n; i++) {
        size_t most = count / 2 + 1, length = count - count / 4 + next_number(&state) % most;
        emb_buf_clear(&text);
        for (size_t k = 0; k < length; k++) {
            emb_buf_printf(&text, "%s%s", k ? " " : "", words[next_number(&state) % WORDS]);
        }
        if (text.failed || !add_text(out, text.data, text.size)) {
            rc = emb_fail_nomem(error);
        }
    }
    emb_buf_deinit(&text);
    if (rc == EMBELLAMA_OK) {
        rc = finish(out, model, error);
    }
    if (rc != EMBELLAMA_OK) {
        emb_bench_texts_free(out);
    }
    return rc;
}

static int read_all(struct emb_bench_texts *out, struct emb_input *in, embellama_error *error)
{
    struct emb_window window;
    emb_window_init(&window);
    int rc = emb_input_fill(in, &window, INPUT_TEXTS_MAX, INPUT_BYTES_MAX, error);
    for (size_t i = 0; rc == EMBELLAMA_OK && i < window.n; i++) {
        if (!add_text(out, window.texts[i].bytes, window.texts[i].size)) {
            rc = emb_fail_nomem(error);
        }
    }
    emb_window_deinit(&window);
    if (rc == EMBELLAMA_OK && out->n == 0) {
        rc = emb_fail(error, EMBELLAMA_E_INVALID, "the input has no text");
    }
    return rc;
}

int emb_bench_texts_read(struct emb_bench_texts *out, const embellama_model *model,
                         const struct emb_cli_options *options, embellama_error *error)
{
    struct emb_input *in = NULL;
    *out = (struct emb_bench_texts){.name = "input"};
    emb_buf_init(&out->bytes, SIZE_MAX);
    int rc = emb_input_open(&in, options, error);
    if (rc == EMBELLAMA_OK) {
        rc = read_all(out, in, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = finish(out, model, error);
    }
    emb_input_close(in);
    if (rc != EMBELLAMA_OK) {
        emb_bench_texts_free(out);
    }
    return rc;
}

void emb_bench_texts_free(struct emb_bench_texts *texts)
{
    emb_free(texts->texts);
    emb_free(texts->ids);
    emb_free(texts->all_ids);
    emb_buf_deinit(&texts->bytes);
    *texts = (struct emb_bench_texts){0};
}
