/* Frames between front and workers: whole, cut, lying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pool/wire.h"

enum { INPUTS = 3, TOKENS = 7, DIM = 4 };

static const struct emb_wire_limits limits = {.inputs = INPUTS, .tokens = TOKENS, .dim = DIM};

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
    struct emb_wire_header h = emb_wire_batch_header(77, INPUTS, TOKENS), got;
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
    assert_true(emb_wire_batch(&got, bytes + sizeof h, counts, ids));
    assert_memory_equal(counts, payload, sizeof counts);
    assert_memory_equal(ids, payload + INPUTS, sizeof ids);
    free(bytes);
}

static void test_batch_that_disagrees(void **state)
{
    (void)state;
    struct emb_wire_header h = emb_wire_batch_header(1, 2, 4);
    const int32_t more[] = {2, 3, 1, 2, 3, 4}, fewer[] = {1, 2, 1, 2, 3, 4}, none[] = {0, 4, 1, 2, 3, 4};
    const int32_t wraps[] = {-1, 5, 1, 2, 3, 4};
    uint32_t counts[2];
    int32_t ids[4];
    assert_false(emb_wire_batch(&h, more, counts, ids));
    assert_false(emb_wire_batch(&h, fewer, counts, ids));
    assert_false(emb_wire_batch(&h, none, counts, ids));
    assert_false(emb_wire_batch(&h, wraps, counts, ids));
}

static void test_answer(void **state)
{
    (void)state;
    struct {
        int32_t statuses[2];
        float vectors[2 * DIM];
    } payload = {{EMBELLAMA_OK, EMBELLAMA_E_NOT_FINITE}, {1, 2, 3, 4}};
    struct emb_wire_header h = emb_wire_answer_header(5, 2, DIM), got;
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
    struct emb_wire_header batch = emb_wire_batch_header(1, 2, 4), answer = emb_wire_answer_header(1, 2, DIM), h, got;
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
    broken(emb_wire_batch_header(1, 0, 4));
    broken(emb_wire_batch_header(1, INPUTS + 1, TOKENS));
    broken(emb_wire_batch_header(1, 1, TOKENS + 1));
    broken(emb_wire_batch_header(1, 3, 2));
    broken(emb_wire_batch_header(1, 0x40000000, 0xC0000000));
    broken(emb_wire_answer_header(1, 0, DIM));
    broken(emb_wire_answer_header(1, INPUTS + 1, DIM));
    broken(emb_wire_answer_header(1, 2, DIM + 1));
    const struct emb_wire_limits no_answers = {.inputs = INPUTS, .tokens = TOKENS};
    assert_int_equal(emb_wire_look(&answer, sizeof answer, &no_answers, &got), EMB_WIRE_BROKEN);
}

static void test_most(void **state)
{
    (void)state;
    struct emb_wire_header answer = emb_wire_answer_header(1, INPUTS, DIM), hello = emb_wire_hello_header();
    assert_int_equal(emb_wire_most(&limits), sizeof answer + answer.payload);
    const struct emb_wire_limits none = {.inputs = 1, .tokens = 1};
    assert_int_equal(emb_wire_most(&none), sizeof hello + hello.payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),  cmocka_unit_test(test_batch_that_disagrees),
        cmocka_unit_test(test_answer), cmocka_unit_test(test_headers_that_lie),
        cmocka_unit_test(test_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
