/* Frames between front and workers: whole, cut, lying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pool/wire.h"

enum { INPUTS = 3, TOKENS = 7, DIM = 4 };

/* Of a front that waits for the answer to two inputs with 2 * DIM values, and of a worker: no end is both, but the frames of both
 * are tried here. */
static const struct emb_wire_limits limits = {
    .inputs = INPUTS, .tokens = TOKENS, .answer_inputs = 2, .answer_values = 2 * DIM};

/* header and payload in a block of exactly their size. */
static uint8_t *frame(const struct emb_wire_header *h, const void *payload, size_t size)
{
    uint8_t *bytes = malloc(sizeof *h + size);
    assert_non_null(bytes);
    memcpy(bytes, h, sizeof *h);
    memcpy(bytes + sizeof *h, payload, size);
    return bytes;
}

static void test_batch(void **state)
{
    (void)state;
    const int32_t payload[] = {2, 4, 1, 11, 12, 21, 22, 23, 24, 31};
    struct emb_wire_header h = emb_wire_batch_header(77, INPUTS, TOKENS, false), got;
    uint8_t *bytes = frame(&h, payload, sizeof payload);
    size_t size = sizeof h + sizeof payload;
    uint32_t counts[INPUTS];
    int32_t ids[TOKENS];
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut + 1);
        memcpy(part, bytes, cut);
        assert_int_equal(emb_wire_look(part, cut, &limits, &got), EMB_WIRE_MORE);
        free(part);
    }
    assert_int_equal(emb_wire_look(bytes, size, &limits, &got), EMB_WIRE_FRAME);
    assert_int_equal(got.kind, EMB_WIRE_BATCH);
    assert_int_equal(got.sequence, 77);
    assert_true(emb_wire_batch(&got, bytes + sizeof h, counts, ids, NULL));
    assert_memory_equal(counts, payload, sizeof counts);
    assert_memory_equal(ids, payload + INPUTS, sizeof ids);
    free(bytes);
}

static void test_batch_that_disagrees(void **state)
{
    (void)state;
    struct emb_wire_header h = emb_wire_batch_header(1, 2, 4, false);
    const int32_t more[] = {2, 3, 1, 2, 3, 4}, fewer[] = {1, 2, 1, 2, 3, 4}, none[] = {0, 4, 1, 2, 3, 4};
    const int32_t wraps[] = {-1, 5, 1, 2, 3, 4};
    uint32_t counts[2];
    int32_t ids[4];
    assert_false(emb_wire_batch(&h, more, counts, ids, NULL));
    assert_false(emb_wire_batch(&h, fewer, counts, ids, NULL));
    assert_false(emb_wire_batch(&h, none, counts, ids, NULL));
    assert_false(emb_wire_batch(&h, wraps, counts, ids, NULL));
}

static void test_answer(void **state)
{
    (void)state;
    struct {
        int32_t statuses[2];
        float vectors[2 * DIM];
    } payload = {{EMBELLAMA_OK, EMBELLAMA_E_NOT_FINITE}, {1, 2, 3, 4}};
    struct emb_wire_header h = emb_wire_answer_header(5, 2, 2 * DIM), got;
    uint8_t *bytes = frame(&h, &payload, sizeof payload);
    int statuses[2];
    float vectors[2 * DIM];
    assert_int_equal(emb_wire_look(bytes, sizeof h + sizeof payload, &limits, &got), EMB_WIRE_FRAME);
    assert_true(emb_wire_answer(&got, bytes + sizeof h, statuses, vectors));
    assert_memory_equal(statuses, payload.statuses, sizeof statuses);
    assert_memory_equal(vectors, payload.vectors, sizeof vectors);
    payload.statuses[1] = 12345;
    assert_false(emb_wire_answer(&got, &payload, statuses, vectors));
    free(bytes);
}

static void broken(struct emb_wire_header h)
{
    struct emb_wire_header got;
    assert_int_equal(emb_wire_look(&h, sizeof h, &limits, &got), EMB_WIRE_BROKEN);
}

static void test_headers_that_lie(void **state)
{
    (void)state;
    struct emb_wire_header batch = emb_wire_batch_header(1, 2, 4, false),
                           answer = emb_wire_answer_header(1, 2, 2 * DIM), h, got;
    assert_int_equal(emb_wire_look(&batch, sizeof batch, &limits, &got), EMB_WIRE_MORE);
    assert_int_equal(emb_wire_look(&answer, sizeof answer, &limits, &got), EMB_WIRE_MORE);
    h = batch;
    h.magic ^= 1;
    broken(h);
    h = batch;
    h.version++;
    broken(h);
    h = batch;
    h.kind = 9;
    broken(h);
    h = batch;
    h.kind = 0;
    broken(h);
    h = batch;
    h.payload++;
    broken(h);
    h = batch;
    h.payload = UINT64_MAX;
    broken(h);
    broken(emb_wire_batch_header(1, 0, 4, false));
    broken(emb_wire_batch_header(1, INPUTS + 1, TOKENS, false));
    broken(emb_wire_batch_header(1, 1, TOKENS + 1, false));
    broken(emb_wire_batch_header(1, 3, 2, false));
    broken(emb_wire_batch_header(1, 0x40000000, 0xC0000000, false));
    broken(emb_wire_batch_header(1, INPUTS + 1, TOKENS, true));
    h = emb_wire_batch_header(1, 2, 4, true);
    h.tasks = 1;
    broken(h);
    h.payload -= sizeof(struct emb_task);
    broken(h);
    h = emb_wire_batch_header(1, 2, 4, true);
    h.payload -= 2 * sizeof(struct emb_task);
    broken(h);
    broken(emb_wire_answer_header(1, 0, 0));
    broken(emb_wire_answer_header(1, 1, 2 * DIM));
    broken(emb_wire_answer_header(1, 3, 2 * DIM - 1));
    broken(emb_wire_answer_header(1, 2, 2 * DIM - 1));
    broken(emb_wire_answer_header(1, 2, 2 * DIM + 1));
    const struct emb_wire_limits no_answers = {.inputs = INPUTS, .tokens = TOKENS}, no_batches = {.answer_inputs = 2};
    assert_int_equal(emb_wire_look(&answer, sizeof answer, &no_answers, &got), EMB_WIRE_BROKEN);
    assert_int_equal(emb_wire_look(&batch, sizeof batch, &no_batches, &got), EMB_WIRE_BROKEN);
}

/* What is sent for embeddings is as long as it would be without any other kind. */
static void test_tasks(void **state)
{
    (void)state;
    const struct {
        int32_t numbers[INPUTS + TOKENS];
        struct emb_task tasks[INPUTS];
    } payload = {{2, 4, 1, 11, 12, 21, 22, 23, 24, 31}, {{EMB_TASK_RAW, 0}, {EMB_TASK_SCORE, 4}, {EMB_TASK_TOKENS, 0}}};
    struct emb_wire_header h = emb_wire_batch_header(8, INPUTS, TOKENS, true), got;
    struct emb_wire_header plain = emb_wire_batch_header(8, INPUTS, TOKENS, false);
    assert_int_equal(h.payload, sizeof payload);
    assert_int_equal(plain.payload, (INPUTS + TOKENS) * 4);
    uint8_t *bytes = frame(&h, &payload, sizeof payload);
    uint32_t counts[INPUTS];
    int32_t ids[TOKENS];
    struct emb_task tasks[INPUTS];
    assert_int_equal(emb_wire_look(bytes, sizeof h + sizeof payload - 1, &limits, &got), EMB_WIRE_MORE);
    assert_int_equal(emb_wire_look(bytes, sizeof h + sizeof payload, &limits, &got), EMB_WIRE_FRAME);
    assert_true(emb_wire_batch(&got, bytes + sizeof h, counts, ids, tasks));
    assert_memory_equal(tasks, payload.tasks, sizeof tasks);
    assert_memory_equal(ids, payload.numbers + INPUTS, sizeof ids);
    free(bytes);
}

static void test_tasks_that_cannot_be(void **state)
{
    (void)state;
    static const struct emb_task bad[] = {{EMB_TASK_KINDS, 0},         {UINT32_MAX, 0},      {EMB_TASK_EMBED, 1},
                                          {EMB_TASK_RAW, 2},           {EMB_TASK_TOKENS, 1}, {EMB_TASK_SCORE, 5},
                                          {EMB_TASK_SCORE, UINT32_MAX}};
    static const struct emb_task good[] = {
        {EMB_TASK_EMBED, 0}, {EMB_TASK_TOKENS, 0}, {EMB_TASK_SCORE, 0}, {EMB_TASK_SCORE, 4}};
    struct emb_wire_header h = emb_wire_batch_header(1, 1, 4, true);
    struct {
        int32_t numbers[5];
        struct emb_task task;
    } one = {{4, 1, 2, 3, 4}, {0}};
    uint32_t counts[1];
    int32_t ids[4];
    struct emb_task task;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        one.task = bad[i];
        assert_false(emb_wire_batch(&h, &one, counts, ids, &task));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        one.task = good[i];
        assert_true(emb_wire_batch(&h, &one, counts, ids, &task));
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct emb_task tasks[] = {
        {EMB_TASK_EMBED, 0}, {EMB_TASK_RAW, 0}, {EMB_TASK_TOKENS, 0}, {EMB_TASK_SCORE, 2}};
    static const uint32_t counts[] = {3, 4, 5, 6};
    assert_int_equal(emb_task_values(NULL, 9, 7, 2), 7);
    assert_int_equal(emb_task_values(&tasks[2], 5, 7, 2), 35);
    assert_int_equal(emb_task_values_of(tasks, counts, 4, 7, 2), 7 + 7 + 35 + 2);
    assert_int_equal(emb_task_values_of(NULL, counts, 4, 7, 2), 28);
}

static void test_most(void **state)
{
    (void)state;
    const struct emb_wire_limits answers = {.answer_inputs = 2, .answer_values = 40};
    struct emb_wire_header batch = emb_wire_batch_header(1, INPUTS, TOKENS, true), hello = emb_wire_hello_header();
    struct emb_wire_header answer = emb_wire_answer_header(1, 2, 40);
    assert_int_equal(emb_wire_most(&limits), sizeof batch + batch.payload);
    assert_int_equal(emb_wire_most(&answers), sizeof answer + answer.payload);
    const struct emb_wire_limits none = {0};
    assert_int_equal(emb_wire_most(&none), sizeof hello + hello.payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),  cmocka_unit_test(test_batch_that_disagrees),
        cmocka_unit_test(test_answer), cmocka_unit_test(test_headers_that_lie),
        cmocka_unit_test(test_tasks),  cmocka_unit_test(test_tasks_that_cannot_be),
        cmocka_unit_test(test_values), cmocka_unit_test(test_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
