/* Chunks of a text: by tokens and by sentences, where they lie, and that hostile texts take no longer than they are. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "api/chunks.h"
#include "base/mem.h"

enum { TOKENS_MAX = 4096 };

/* Letters and digits together are a token, and so is any other character but a blank or a line's end; one special token before and
 * behind. */
static size_t split(embellama_text text, embellama_token *out)
{
    size_t n = 0;
    out[n++] = (embellama_token){.id = 101, .special = true};
    for (size_t at = 0; at < text.size;) {
        size_t begin = at;
        unsigned char c = (unsigned char)text.bytes[at++];
        if (c == ' ' || c == '\n') {
            continue;
        }
        while (at < text.size && ((unsigned char)text.bytes[at] & 0xC0) == 0x80) {
            at++;
        }
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
            while (at < text.size && text.bytes[at] >= 'a' && text.bytes[at] <= 'z') {
                at++;
            }
        }
        assert_true(n < TOKENS_MAX - 1);
        out[n++] = (embellama_token){.id = 1, .begin = begin, .end = at};
    }
    out[n++] = (embellama_token){.id = 102, .special = true};
    return n;
}

static embellama_text text_of(const char *s)
{
    return (embellama_text){s, strlen(s)};
}

/* Chunks written as their bytes, with | before each. */
static const char *cut(const char *s, enum emb_chunk_by by, size_t size, size_t overlap)
{
    static char out[8192];
    static embellama_token tokens[TOKENS_MAX];
    struct emb_chunks chunks = {0};
    struct emb_chunk_options options = {by, size, overlap, 0};
    embellama_text text = text_of(s);
    embellama_error error;
    size_t n = 0;
    if (emb_chunks_make(&chunks, text, tokens, split(text, tokens), &options, &error) != 0) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < chunks.count; i++) {
        const struct emb_chunk *chunk = &chunks.list[i];
        assert_true(n + chunk->end - chunk->begin + 2 < sizeof out);
        out[n++] = '|';
        memcpy(out + n, s + chunk->begin, chunk->end - chunk->begin);
        n += chunk->end - chunk->begin;
    }
    out[n] = 0;
    emb_chunks_deinit(&chunks);
    return out;
}

static void by_token(void **state)
{
    (void)state;
    assert_string_equal(cut("one two three four five", EMB_CHUNK_TOKEN, 2, 0), "|one two |three four |five");
    assert_string_equal(cut("one two three four five", EMB_CHUNK_TOKEN, 3, 1), "|one two three |three four five");
    assert_string_equal(cut("one two three four", EMB_CHUNK_TOKEN, 3, 2), "|one two three |two three four");
    assert_string_equal(cut("one two", EMB_CHUNK_TOKEN, 2, 1), "|one two");
    assert_string_equal(cut("  one  two  ", EMB_CHUNK_TOKEN, 1, 0), "|  one  |two  ");
    assert_string_equal(cut("a. b. c.", EMB_CHUNK_TOKEN, 3, 0), "|a. b|. c.");
    assert_string_equal(cut("", EMB_CHUNK_TOKEN, 8, 0), "|");
    assert_string_equal(cut(" \n ", EMB_CHUNK_SENTENCE, 8, 0), "| \n ");
}

static void by_sentence(void **state)
{
    (void)state;
    assert_string_equal(cut("A b. C d. E f.", EMB_CHUNK_SENTENCE, 3, 0), "|A b. |C d. |E f.");
    assert_string_equal(cut("A b. C d. E f.", EMB_CHUNK_SENTENCE, 7, 0), "|A b. C d. |E f.");
    assert_string_equal(cut("A b. C d. E f.", EMB_CHUNK_SENTENCE, 6, 3), "|A b. C d. |C d. E f.");
    assert_string_equal(cut("A b. C d. E f.", EMB_CHUNK_SENTENCE, 6, 2), "|A b. C d. |E f.");
    assert_string_equal(cut("A b. C d. E f g h i.", EMB_CHUNK_SENTENCE, 6, 3), "|A b. C d. |E f g h i.");
    assert_string_equal(cut("A. B c d e f g. H.", EMB_CHUNK_SENTENCE, 3, 0), "|A. |B c d |e f g|. H.");
    assert_string_equal(cut("A. B c d e f g. H.", EMB_CHUNK_SENTENCE, 3, 1), "|A. |B c d |d e f |f g. |H.");
}

/* The sentences of a text, with | before each. */
static const char *sentences(const char *s)
{
    static char out[1024];
    embellama_text text = text_of(s);
    size_t n = 0;
    for (size_t at = 0; at < text.size;) {
        size_t end = emb_sentence_end(text, at);
        assert_true(end > at && end <= text.size && n + end - at + 2 < sizeof out);
        out[n++] = '|';
        memcpy(out + n, s + at, end - at);
        n += end - at;
        at = end;
    }
    out[n] = 0;
    return out;
}

static void sentence_ends(void **state)
{
    (void)state;
    assert_string_equal(sentences("Pi is 3.14. Is it? Yes!! End"), "|Pi is 3.14. |Is it? |Yes!! |End");
    assert_string_equal(sentences("He said \"Go!\" and \xE2\x80\x9CStop.\xE2\x80\x9D (Why?) So."),
                        "|He said \"Go!\" |and \xE2\x80\x9CStop.\xE2\x80\x9D |(Why?) |So.");
    assert_string_equal(sentences("one\ntwo\r\n\r\nthree"), "|one\n|two\r\n\r\n|three");
    assert_string_equal(
        sentences("\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82\xE5\x90\x97\xEF\xBC\x9F\xE3\x80\x8D\xE5\xA5\xBD"),
        "|\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82|\xE5\x90\x97\xEF\xBC\x9F\xE3\x80\x8D|\xE5\xA5\xBD");
    assert_string_equal(sentences("www.example.com/a?b!c.d"), "|www.example.com/a?b!c.d");
    assert_string_equal(sentences("a.\xE3\x80\x80"
                                  "b.\xC2\xA0"
                                  "c"),
                        "|a.\xE3\x80\x80|b.\xC2\xA0|c");
    assert_string_equal(sentences("..."), "|...");
    assert_string_equal(sentences(" \n x"), "| \n |x");
}

static void offsets(void **state)
{
    (void)state;
    embellama_token tokens[64];
    struct emb_chunks chunks = {0};
    struct emb_chunk_options options = {EMB_CHUNK_TOKEN, 2, 1, 0};
    embellama_text text = text_of("\xC3\xA9 \xF0\x9F\xA6\x99 z");
    size_t count = split(text, tokens);
    assert_int_equal(count, 5);
    assert_int_equal(emb_chunks_make(&chunks, text, tokens, count, &options, NULL), 0);
    const struct emb_chunk expected[] = {{1, 3, 0, 8, 0, 4}, {2, 4, 3, 9, 2, 5}};
    assert_int_equal(chunks.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_memory_equal(&chunks.list[i], &expected[i], sizeof expected[i]);
    }
    emb_chunks_deinit(&chunks);
}

/* Two tokens of one character, as a normaliser may make: every byte is in a chunk all the same. */
static void shared_characters(void **state)
{
    (void)state;
    const embellama_token tokens[] = {{1, false, 0, 3}, {2, false, 0, 3}, {3, false, 0, 3}, {4, false, 3, 6}};
    struct emb_chunks chunks = {0};
    struct emb_chunk_options options = {EMB_CHUNK_TOKEN, 2, 0, 0};
    assert_int_equal(emb_chunks_make(&chunks, text_of("\xEA\xB0\x81\xEA\xB0\x81"), tokens, 4, &options, NULL), 0);
    assert_int_equal(chunks.count, 2);
    assert_int_equal(chunks.list[0].end, 3);
    assert_int_equal(chunks.list[0].end_char, 1);
    assert_int_equal(chunks.list[1].begin, 0);
    assert_int_equal(chunks.list[1].end, 6);
    emb_chunks_deinit(&chunks);
}

/* ---- Against the rules, on random texts ---- */

static uint64_t random_state = 1;

static size_t random_below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % n);
}

static bool is_mark(embellama_text text, const embellama_token *tokens, size_t token)
{
    for (size_t at = 0; at < text.size;) {
        at = emb_sentence_end(text, at);
        if (tokens[token - 1].begin < at && (tokens[token].special || tokens[token].begin >= at)) {
            return true;
        }
    }
    return false;
}

static void check_rules(embellama_text text, const embellama_token *tokens, size_t count,
                        const struct emb_chunk_options *o)
{
    struct emb_chunks chunks = {0};
    assert_int_equal(emb_chunks_make(&chunks, text, tokens, count, o, NULL), 0);
    size_t last = 1, end = 0;
    assert_true(chunks.count > 0);
    for (size_t i = 0; i < chunks.count && count > 2; i++) {
        const struct emb_chunk *c = &chunks.list[i];
        assert_true(c->first < c->last && c->last - c->first <= o->size);
        assert_true(c->first <= last && c->last > last && last - c->first <= o->overlap);
        assert_true(c->begin <= end && c->end > c->begin);
        assert_true(c->begin <= tokens[c->first].begin && c->end >= tokens[c->last - 1].end);
        if (o->by == EMB_CHUNK_SENTENCE && !is_mark(text, tokens, c->last)) {
            assert_int_equal(c->last - c->first, o->size); /* no sentence ends in it */
            for (size_t k = c->first + 1; k < c->last; k++) {
                assert_false(is_mark(text, tokens, k));
            }
        }
        last = c->last;
        end = c->end;
    }
    assert_int_equal(count > 2 ? last : 1, count - 1);
    assert_int_equal(chunks.list[0].begin, 0);
    assert_int_equal(chunks.list[chunks.count - 1].end, text.size);
    emb_chunks_deinit(&chunks);
}

static void random_texts(void **state)
{
    static const char *const pieces[] = {"a",        "word ", ". ",   "? ", "\n", " ", "\xE3\x80\x82",
                                         "\xC3\xA9", "\"",    "3.1 ", "! "};
    static embellama_token tokens[TOKENS_MAX];
    (void)state;
    for (int round = 0; round < 3000; round++) {
        char bytes[512];
        size_t size = 0, most = random_below(60);
        for (size_t i = 0; i < most; i++) {
            const char *piece = pieces[random_below(sizeof pieces / sizeof *pieces)];
            memcpy(bytes + size, piece, strlen(piece));
            size += strlen(piece);
        }
        embellama_text text = {bytes, size};
        struct emb_chunk_options o = {random_below(2) ? EMB_CHUNK_TOKEN : EMB_CHUNK_SENTENCE, 1 + random_below(12), 0,
                                      0};
        o.overlap = random_below(o.size);
        check_rules(text, tokens, split(text, tokens), &o);
    }
}

/* A megabyte without a blank, a token a byte, sentences as short and overlaps as long as can be. */
static void hostile(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *bytes = emb_alloc(SIZE, 1);
    embellama_token *tokens = emb_calloc(SIZE, sizeof *tokens);
    struct emb_chunks chunks = {0};
    assert_true(bytes && tokens);
    for (size_t i = 0; i < SIZE; i++) {
        tokens[i] = (embellama_token){.id = 1, .begin = i, .end = i + 1};
    }
    static const char fills[] = {'a', '.', '\n', '"'};
    for (size_t f = 0; f < sizeof fills; f++) {
        memset(bytes, fills[f], SIZE);
        embellama_text text = {bytes, SIZE};
        for (int by = 0; by < 2; by++) {
            struct emb_chunk_options o = {by ? EMB_CHUNK_SENTENCE : EMB_CHUNK_TOKEN, SIZE / 2, SIZE / 2 - 1, 0};
            clock_t before = clock();
            assert_int_equal(emb_chunks_make(&chunks, text, tokens, SIZE, &o, NULL), 0);
            assert_true(clock() - before < 20 * (clock_t)CLOCKS_PER_SEC);
            assert_int_equal(chunks.count, SIZE / 2 + 1);
        }
    }
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = i % 3 == 2 ? '\n' : 'a';
    }
    struct emb_chunk_options o = {EMB_CHUNK_SENTENCE, SIZE / 2, SIZE / 2 - 1, 0};
    assert_int_equal(emb_chunks_make(&chunks, (embellama_text){bytes, SIZE}, tokens, SIZE, &o, NULL), 0);
    assert_true(chunks.count > SIZE / 8);
    emb_chunks_deinit(&chunks);
    emb_free(tokens);
    emb_free(bytes);
}

static void refusals(void **state)
{
    static embellama_token tokens[64];
    (void)state;
    embellama_text text = text_of("a b. c d. e f.");
    size_t count = split(text, tokens);
    embellama_error error;
    struct emb_chunks chunks = {0};
    const struct emb_chunk_options bad[] = {
        {EMB_CHUNK_TOKEN, 0, 0, 0}, {EMB_CHUNK_TOKEN, 2, 2, 0}, {EMB_CHUNK_TOKEN, 2, 0, 4}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(emb_chunks_make(&chunks, text, tokens, count, &bad[i], &error), EMBELLAMA_E_RANGE);
        assert_int_equal(chunks.count, 0);
    }
    struct emb_chunk_options enough = {EMB_CHUNK_TOKEN, 2, 0, 5};
    assert_int_equal(emb_chunks_make(&chunks, text, tokens, count, &enough, &error), 0);
    assert_int_equal(chunks.count, 5);
    emb_chunks_deinit(&chunks);
    int status = EMBELLAMA_E_NOMEM;
    struct emb_chunk_options sentences_of = {EMB_CHUNK_SENTENCE, 3, 0, 0};
    for (long n = 0; status != 0; n++) {
        emb_mem_fail_after(n);
        status = emb_chunks_make(&chunks, text, tokens, count, &sentences_of, NULL);
        emb_mem_fail_after(-1);
        assert_true(n < 20 && (status == 0 ? chunks.count == 3 : status == EMBELLAMA_E_NOMEM && chunks.count == 0));
        emb_chunks_deinit(&chunks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_token),          cmocka_unit_test(by_sentence),  cmocka_unit_test(sentence_ends),
        cmocka_unit_test(offsets),           cmocka_unit_test(random_texts), cmocka_unit_test(hostile),
        cmocka_unit_test(shared_characters), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
