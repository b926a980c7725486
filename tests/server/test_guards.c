/* The small parts around the scheduler: quarantine, breaker, pace, histograms, the dead-letter file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "server/schedule/breaker.h"
#include "server/schedule/dead_letter.h"
#include "server/observe/histogram.h"
#include "server/schedule/pace.h"
#include "server/schedule/quarantine.h"

static struct emb_siphash hash_of(uint64_t i)
{
    return (struct emb_siphash){.low = i, .high = ~i};
}

static void test_quarantine(void **state)
{
    (void)state;
    static struct emb_quarantine q;
    assert_false(emb_quarantine_has(&q, hash_of(1), 0));
    emb_quarantine_add(&q, hash_of(1), 100);
    emb_quarantine_add(&q, hash_of(2), 200);
    assert_true(emb_quarantine_has(&q, hash_of(1), 100 + EMB_QUARANTINE_NS - 1));
    assert_false(emb_quarantine_has(&q, (struct emb_siphash){.low = 1, .high = 1}, 100));
    assert_int_equal(emb_quarantine_count(&q, 100 + EMB_QUARANTINE_NS), 1);
    assert_false(emb_quarantine_has(&q, hash_of(1), 100 + EMB_QUARANTINE_NS));
    assert_true(emb_quarantine_has(&q, hash_of(2), 100 + EMB_QUARANTINE_NS));
    emb_quarantine_add(&q, hash_of(3), 250 + EMB_QUARANTINE_NS / 2);
    emb_quarantine_add(&q, hash_of(2), 300 + EMB_QUARANTINE_NS / 2); /* anew */
    assert_int_equal(emb_quarantine_count(&q, 300 + EMB_QUARANTINE_NS / 2), 2);
    assert_true(emb_quarantine_has(&q, hash_of(2), 299 + EMB_QUARANTINE_NS / 2 + EMB_QUARANTINE_NS));
    assert_false(emb_quarantine_has(&q, hash_of(3), 299 + EMB_QUARANTINE_NS / 2 + EMB_QUARANTINE_NS));
}

static void test_quarantine_is_bounded(void **state)
{
    (void)state;
    static struct emb_quarantine q;
    for (uint64_t i = 0; i < EMB_QUARANTINE_SIZE + 10; i++) {
        emb_quarantine_add(&q, hash_of(i), i);
    }
    assert_int_equal(emb_quarantine_count(&q, 0), EMB_QUARANTINE_SIZE);
    assert_false(emb_quarantine_has(&q, hash_of(9), 0));
    assert_true(emb_quarantine_has(&q, hash_of(10), 0));
    assert_true(emb_quarantine_has(&q, hash_of(EMB_QUARANTINE_SIZE + 9), 0));
}

static void test_breaker(void **state)
{
    (void)state;
    struct emb_breaker b = {0};
    uint64_t now = 5;
    for (int round = 0; round < 2; round++) { /* a success in between: counted from the start */
        for (int i = 1; i < EMB_BREAKER_FAILURES; i++) {
            emb_breaker_sent(&b);
            emb_breaker_failed(&b, now);
            assert_int_equal(emb_breaker_state(&b, now), EMB_BREAKER_CLOSED);
            assert_true(emb_breaker_allows(&b, now));
        }
        if (round == 0) {
            emb_breaker_succeeded(&b);
        }
    }
    emb_breaker_failed(&b, now);
    uint64_t wait = EMB_BREAKER_OPEN_NS;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(emb_breaker_state(&b, now + wait - 1), EMB_BREAKER_OPEN);
        assert_false(emb_breaker_allows(&b, now + wait - 1));
        now += wait;
        assert_int_equal(emb_breaker_state(&b, now), EMB_BREAKER_HALF_OPEN);
        assert_true(emb_breaker_allows(&b, now));
        emb_breaker_sent(&b);
        assert_false(emb_breaker_allows(&b, now));
        if (i == 2) {
            emb_breaker_unknown(&b); /* the probe says nothing: another one */
            assert_true(emb_breaker_allows(&b, now));
            emb_breaker_sent(&b);
        }
        emb_breaker_failed(&b, now);
        wait = wait * 2 < EMB_BREAKER_OPEN_MAX_NS ? wait * 2 : EMB_BREAKER_OPEN_MAX_NS;
    }
    assert_int_equal(b.opened, 9);
    now += wait;
    emb_breaker_sent(&b);
    emb_breaker_succeeded(&b);
    assert_int_equal(emb_breaker_state(&b, now), EMB_BREAKER_CLOSED);
    assert_true(emb_breaker_allows(&b, now));
}

static void test_pace(void **state)
{
    (void)state;
    struct emb_pace p = {0};
    assert_int_equal(emb_pace_ns(&p, 100), 0);
    assert_int_equal(emb_pace_tokens(&p, 1000, 77), 77);
    emb_pace_add(&p, 0, 5);
    emb_pace_add(&p, 5, 0);
    assert_int_equal(emb_pace_tokens(&p, 1000, 77), 77);
    emb_pace_add(&p, 1000, 100000000);
    assert_int_equal(emb_pace_ns(&p, 10), 1000000);
    assert_int_equal(emb_pace_tokens(&p, 50000000, 0), 500);
    for (int i = 0; i < 100; i++) { /* slow and small: counts for the time it took */
        emb_pace_add(&p, 1, 1000000);
    }
    assert_int_equal(emb_pace_tokens(&p, 200000000, 0), 1100);
    for (int i = 0; i < 200; i++) { /* what is long ago is forgotten */
        emb_pace_add(&p, 4000, 100000000);
    }
    assert_true(emb_pace_tokens(&p, 100000000, 0) > 3950);
}

static void test_histogram(void **state)
{
    (void)state;
    struct emb_histogram h;
    emb_histogram_init_steps(&h, 1, 2, 4);
    const double values[] = {0, 1, 1.5, 2, 8, 8.1, 1e300, -1.0};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        emb_histogram_add(&h, values[i]);
    }
    emb_histogram_add(&h, 0.0 / 0.0);
    const uint64_t want[] = {3, 2, 0, 1, 2};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(h.counts[i], want[i]);
    }
    assert_int_equal(h.count, 8);
}

/* ---- The dead-letter file ---- */

struct letters {
    uv_loop_t loop;
    struct emb_dead_letter *letter;
    char folder[32], path[64], old[68];
};

static void open_letters(struct letters *l, bool with_ids)
{
    snprintf(l->folder, sizeof l->folder, "emb-test-XXXXXX");
    assert_non_null(mkdtemp(l->folder));
    snprintf(l->path, sizeof l->path, "%s/dead", l->folder);
    snprintf(l->old, sizeof l->old, "%s.1", l->path);
    assert_int_equal(uv_loop_init(&l->loop), 0);
    assert_int_equal(emb_dead_letter_open(&l->letter, &l->loop, l->path, with_ids, NULL), 0);
}

static void close_letters(struct letters *l)
{
    emb_dead_letter_close(l->letter);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

static void remove_letters(struct letters *l)
{
    unlink(l->path);
    unlink(l->old);
    assert_int_equal(rmdir(l->folder), 0);
}

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Each line is an object; returns how many there are. */
static size_t check_lines(const char *path, bool with_ids)
{
    static char line[1 << 16];
    FILE *file = fopen(path, "r");
    size_t n = 0;
    assert_non_null(file);
    memset(line, 0, sizeof line);
    while (fgets(line, sizeof line - EMB_JSON_PADDING, file)) {
        size_t size = strlen(line);
        struct emb_json *json;
        struct emb_json_value ids;
        const char *text;
        size_t text_size;
        int64_t tokens;
        memset(line + size, 0, EMB_JSON_PADDING);
        assert_int_equal(emb_json_parse(&json, line, size, NULL), 0);
        struct emb_json_value root = emb_json_root(json);
        assert_true(emb_json_get_string(root, "time", &text, &text_size));
        assert_int_equal(text_size, 24);
        assert_true(emb_json_get_string(root, "model", &text, &text_size));
        assert_string_equal(text, "a \"model\"");
        assert_true(emb_json_get_string(root, "hash", &text, &text_size));
        assert_string_equal(text, "fffffffffffffffe0000000000000001");
        assert_true(emb_json_get_string(root, "reason", &text, &text_size));
        assert_true(emb_json_get_int(root, "tokens", &tokens));
        assert_int_equal(emb_json_get(root, "ids", &ids), with_ids);
        assert_true(!with_ids || emb_json_size(ids) == (size_t)tokens);
        emb_json_free(json);
        n++;
    }
    fclose(file);
    return n;
}

static void test_dead_letters(void **state)
{
    (void)state;
    const int32_t ids[] = {101, 7592, 102};
    struct emb_dead_letter_record record = {
        .model = "a \"model\"", .hash = hash_of(1), .ids = ids, .count = 3, .reason = "signal 11\n"};
    for (int with_ids = 0; with_ids < 2; with_ids++) {
        struct letters l;
        struct stat st;
        open_letters(&l, with_ids);
        for (int i = 0; i < 5; i++) {
            record.request_id = i % 2 ? "req" : NULL;
            emb_dead_letter_write(l.letter, &record);
        }
        close_letters(&l);
        assert_int_equal(check_lines(l.path, with_ids), 5);
        assert_int_equal(stat(l.path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        remove_letters(&l);
    }
}

/* Neither the file nor the one before it ever exceeds the bound. */
static void test_dead_letters_are_bounded(void **state)
{
    (void)state;
    enum { TOKENS = 8192 };
    int32_t *ids = calloc(TOKENS, sizeof *ids);
    struct emb_dead_letter_record record = {
        .model = "a \"model\"", .hash = hash_of(1), .ids = ids, .count = TOKENS, .reason = "stuck"};
    struct letters l;
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = 20000 + i;
    }
    open_letters(&l, true);
    for (int i = 0; i < 200; i++) {
        emb_dead_letter_write(l.letter, &record);
        uv_run(&l.loop, UV_RUN_DEFAULT);
        assert_true(size_of(l.path) <= EMB_DEAD_LETTER_BYTES);
    }
    close_letters(&l);
    assert_true(size_of(l.old) > EMB_DEAD_LETTER_BYTES / 2);
    assert_true(size_of(l.old) <= EMB_DEAD_LETTER_BYTES);
    assert_true(check_lines(l.path, true) > 0);
    check_lines(l.old, true);
    remove_letters(&l);
    free(ids);
}

/* Faster than they can be written: some are dropped, and nothing grows without bound; without memory likewise. */
static void test_dead_letters_dropped(void **state)
{
    (void)state;
    int32_t ids[1000] = {0};
    struct emb_dead_letter_record record = {
        .model = "a \"model\"", .hash = hash_of(1), .ids = ids, .count = 1000, .reason = "stuck"};
    struct letters l;
    open_letters(&l, true);
    for (int i = 0; i < 2000; i++) {
        emb_dead_letter_write(l.letter, &record);
    }
    emb_mem_fail_after(0);
    emb_dead_letter_write(l.letter, &record);
    emb_mem_fail_after(-1);
    close_letters(&l);
    size_t lines = check_lines(l.path, true);
    assert_true(lines > 100 && lines < 2000);
    remove_letters(&l);
}

static void test_dead_letter_that_cannot_be(void **state)
{
    (void)state;
    struct emb_dead_letter *letter = NULL;
    embellama_error error;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(emb_dead_letter_open(&letter, &loop, "no-such-folder/dead", false, &error), EMBELLAMA_E_IO);
    assert_non_null(strstr(error.message, "no-such-folder/dead"));
    assert_int_equal(emb_dead_letter_open(&letter, &loop, ".", false, &error), EMBELLAMA_E_IO);
    for (long allowed = 0; allowed < 3; allowed++) {
        emb_mem_fail_after(allowed);
        assert_int_equal(emb_dead_letter_open(&letter, &loop, "unused", false, &error), EMBELLAMA_E_NOMEM);
        emb_mem_fail_after(-1);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quarantine),
        cmocka_unit_test(test_quarantine_is_bounded),
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_dead_letters),
        cmocka_unit_test(test_dead_letters_are_bounded),
        cmocka_unit_test(test_dead_letters_dropped),
        cmocka_unit_test(test_dead_letter_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
