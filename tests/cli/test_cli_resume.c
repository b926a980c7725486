/* What an unfinished output holds: torn ends are found, other people's files are refused. */
#include "cli/resume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "cli/npy.h"

static embellama_error error;
static uint64_t records, end;

static int scan(const void *bytes, size_t size, enum emb_cli_output_format format, size_t dim)
{
    int fd = open(tempdir_write("output", bytes, size), O_RDONLY);
    assert_true(fd >= 0);
    memset(&error, 0, sizeof error);
    int rc = emb_resume_scan(fd, "output", format, dim, &records, &end, &error);
    close(fd);
    return rc;
}

static int scan_text(const char *text, size_t dim)
{
    return scan(text, strlen(text), EMB_CLI_OUTPUT_JSONL, dim);
}

static void assert_refused(int rc, const char *says)
{
    assert_int_equal(rc, EMBELLAMA_E_FORMAT);
    if (!strstr(error.message, says)) {
        fail_msg("'%s' does not say '%s'", error.message, says);
    }
}

static void test_npy_header(void **state)
{
    (void)state;
    char header[EMB_NPY_HEADER];
    uint64_t rows;
    size_t dim;
    const uint64_t counts[] = {0, 1, 1000, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        emb_npy_write_header(header, counts[i], 384);
        assert_memory_equal(header, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (", 61);
        assert_int_equal(header[EMB_NPY_HEADER - 1], '\n');
        assert_true(emb_npy_read_header(header, &rows, &dim));
        assert_true(rows == counts[i]);
        assert_int_equal(dim, 384);
    }
    for (size_t i = 0; i < 60; i++) { /* any other letter of the fixed part makes it another file */
        header[i] ^= 1;
        assert_false(emb_npy_read_header(header, &rows, &dim));
        header[i] ^= 1;
    }
}

static void test_npy(void **state)
{
    (void)state;
    char file[EMB_NPY_HEADER + 100] = {0};
    emb_npy_write_header(file, 5, 2);
    assert_int_equal(scan(file, EMB_NPY_HEADER + 40, EMB_CLI_OUTPUT_NPY, 2), EMBELLAMA_OK);
    assert_int_equal(records, 5);
    assert_int_equal(end, EMB_NPY_HEADER + 40);
    assert_int_equal(scan(file, EMB_NPY_HEADER + 99, EMB_CLI_OUTPUT_NPY, 2), EMBELLAMA_OK);
    assert_int_equal(records, 5);
    assert_int_equal(end, EMB_NPY_HEADER + 40);
    assert_int_equal(scan(file, EMB_NPY_HEADER + 39, EMB_CLI_OUTPUT_NPY, 2), EMBELLAMA_OK);
    assert_int_equal(records, 4);
    assert_int_equal(end, EMB_NPY_HEADER + 32);
    assert_refused(scan(file, EMB_NPY_HEADER + 40, EMB_CLI_OUTPUT_NPY, 3), "have 2 values, these have 3");
    assert_refused(scan(file, EMB_NPY_HEADER - 1, EMB_CLI_OUTPUT_NPY, 2), "not a npy file this command began");
    file[20] = '?';
    assert_refused(scan(file, EMB_NPY_HEADER + 40, EMB_CLI_OUTPUT_NPY, 2), "not a npy file this command began");
    assert_int_equal(scan("", 0, EMB_CLI_OUTPUT_NPY, 2), EMBELLAMA_OK);
    assert_int_equal(records, 0);
    assert_int_equal(end, 0);
}

static void test_lines(void **state)
{
    (void)state;
    assert_int_equal(scan_text("{\"index\":0,\"embedding\":[1,2]}\n{\"index\":1,\"embedding\":[3,4]}\n{\"index\":2", 2),
                     EMBELLAMA_OK);
    assert_int_equal(records, 2);
    assert_int_equal(end, 60);
    assert_int_equal(scan_text("{\"index\":0,\"tokens\":[\"a\"],\"embedding\":[[1,2],[3,4]]}\n", 2), EMBELLAMA_OK);
    assert_int_equal(records, 1);
    assert_int_equal(scan_text("{\"index\":0,\"embed", 2), EMBELLAMA_OK);
    assert_int_equal(records, 0);
    assert_int_equal(end, 0);
    assert_int_equal(scan_text("{\"in", 2), EMBELLAMA_OK);
    assert_refused(scan_text("{\"index\":0,\"embedding\":[1,2]}\n", 3), "have 2 values, these have 3");
    assert_refused(scan_text("{\"index\":1,\"embedding\":[1,2]}\n", 2), "line 1 is not");
    assert_refused(scan_text("{\"index\":0,\"embedding\":7}\n", 2), "line 1 is not");
    assert_refused(scan_text("dear diary\n", 2), "line 1 is not");
    assert_refused(scan_text("dear diary", 2), "not a file this command began");
}

static void test_f32(void **state)
{
    (void)state;
    char file[100] = {0};
    assert_int_equal(scan(file, 99, EMB_CLI_OUTPUT_F32, 3), EMBELLAMA_OK);
    assert_int_equal(records, 8);
    assert_int_equal(end, 96);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_header),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
