/* Packed weights in a file: another process computes the same bits with them, and what is broken, cut, changed or made for something
 * else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "base/mem.h"
#include "base/memfd.h"
#include "model/forward.h"
#include "model/pack.h"
#include "testdata.h"

extern char **environ;

/* The descriptor that a child of ours finds the weights at. */
enum { CHILD_FD = 9 };

static const int32_t ids[] = {2, 7, 9, 11, 3, 2, 21, 3};
static const embellama_ids inputs[] = {{ids, 5}, {ids + 5, 3}};
enum { TOKENS = 8 };

static const char *tiny(void)
{
    return emb_test_source("tests/golden/tiny-a");
}

static embellama_model_options options_for(embellama_precision precision)
{
    return (embellama_model_options){.precision = precision, .threads = 2};
}

/* A model's hidden states over the inputs: [TOKENS, hidden] in out. Returns how many bytes. */
static size_t states(const struct emb_model *m, float *out, size_t room)
{
    struct emb_scratch scratch;
    size_t size = TOKENS * m->spec.hidden * sizeof *out;
    if (size > room || emb_scratch_init(&scratch, m, TOKENS, 1, NULL) != 0) {
        return 0;
    }
    emb_forward(m, &scratch, NULL, inputs, 2);
    memcpy(out, scratch.x, size);
    emb_scratch_deinit(&scratch);
    return size;
}

static int memory(void)
{
    int fd = -1;
    assert_int_equal(emb_memfd_new(&fd, "test", NULL), 0);
    return fd;
}

static struct emb_hash pack(int fd, const char *path, const embellama_model_options *options)
{
    struct emb_hash hash;
    embellama_error error;
    if (emb_model_pack(fd, &hash, path, options, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return hash;
}

static size_t size_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (size_t)st.st_size;
}

static uint8_t *content(int fd)
{
    size_t size = size_of(fd);
    uint8_t *bytes = malloc(size);
    assert_int_equal(pread(fd, bytes, size, 0), size);
    return bytes;
}

static void refused(int fd, int code, const char *words)
{
    struct emb_model m;
    embellama_error error = {0};
    int rc = emb_model_attach(&m, fd, NULL, &error);
    if (rc != code || !strstr(error.message, words)) {
        fail_msg("expected %s with \"%s\", got %s: %s", embellama_status_name(code), words, embellama_status_name(rc),
                 error.message);
    }
}

/* ---- Sharing ---- */

/* The child: states of the attached model to standard output. */
static int child(void)
{
    static float out[1 << 14];
    struct emb_model m;
    if (!emb_memfd_sealed(CHILD_FD) || emb_model_attach(&m, CHILD_FD, NULL, NULL) != 0) {
        return 1;
    }
    close(CHILD_FD);
    size_t size = states(&m, out, sizeof out);
    emb_model_unload(&m);
    return size > 0 && write(STDOUT_FILENO, out, size) == (ssize_t)size ? 0 : 1;
}

/* Starts this program as a child over fd and reads its states. */
static size_t ask_child(int fd, void *out, size_t room)
{
    char name[] = "test_weights", role[] = "child", *argv[] = {name, role, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status = 0;
    size_t size = 0;
    pid_t pid;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], (char *)out + size, room - size)) > 0;) {
        size += (size_t)got;
    }
    close(ends[0]);
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    return size;
}

static void test_two_processes(void **state)
{
    (void)state;
    static float own[1 << 14], other[1 << 14];
    for (int p = EMBELLAMA_PRECISION_F32; p <= EMBELLAMA_PRECISION_INT8; p++) {
        embellama_model_options options = options_for((embellama_precision)p);
        struct emb_model m;
        int fd = memory();
        pack(fd, tiny(), &options);
        assert_false(emb_memfd_sealed(fd));
        assert_int_equal(emb_memfd_seal(fd, NULL), 0);
        assert_int_equal(emb_model_load(&m, tiny(), &options, NULL), 0);
        size_t size = states(&m, own, sizeof own);
        assert_true(size > 0);
        assert_int_equal(ask_child(fd, other, sizeof other), size);
        assert_memory_equal(own, other, size);
        emb_model_unload(&m);
        close(fd);
    }
}

static void test_sealed(void **state)
{
    (void)state;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_AUTO);
    int fd = memory();
    pack(fd, tiny(), &options);
    assert_int_equal(emb_memfd_seal(fd, NULL), 0);
    assert_int_equal(pwrite(fd, "x", 1, 5000), -1);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
}

/* What the attached model says of itself, and that it takes its precision from the block. */
static void test_attached_model(void **state)
{
    (void)state;
    for (int p = EMBELLAMA_PRECISION_F32; p <= EMBELLAMA_PRECISION_INT8; p++) {
        embellama_model_options options = options_for((embellama_precision)p);
        struct emb_model loaded, m;
        int fd = memory();
        struct emb_hash hash = pack(fd, tiny(), &options);
        assert_int_equal(emb_model_load(&loaded, tiny(), &options, NULL), 0);
        assert_int_equal(emb_model_attach(&m, fd, NULL, NULL), 0);
        struct emb_pack_spec a = emb_pack_spec_of(&loaded.spec), b = emb_pack_spec_of(&m.spec);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(&m.weights.hash, &hash, sizeof hash);
        assert_int_equal(m.precision, p);
        assert_ptr_equal(m.gemm, loaded.gemm);
        emb_model_unload(&m);
        emb_model_unload(&loaded);
        close(fd);
    }
}

static void test_any_threads(void **state)
{
    (void)state;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_AUTO);
    int one = memory(), five = memory();
    options.threads = 1;
    pack(one, tiny(), &options);
    options.threads = 5;
    pack(five, tiny(), &options);
    uint8_t *a = content(one), *b = content(five);
    assert_int_equal(size_of(one), size_of(five));
    assert_memory_equal(a, b, size_of(one));
    free(a);
    free(b);
    close(one);
    close(five);
}

/* ---- What is refused ---- */

/* An ordinary file with these bytes. */
static int file_with(const uint8_t *bytes, size_t size)
{
    int fd = open(tempdir_write("w.pack", bytes, size), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static uint8_t *tiny_pack(size_t *size)
{
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_AUTO);
    int fd = memory();
    pack(fd, tiny(), &options);
    *size = size_of(fd);
    uint8_t *bytes = content(fd);
    close(fd);
    return bytes;
}

static void test_every_byte_of_the_header(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = tiny_pack(&size);
    for (size_t i = 0; i < sizeof(struct emb_pack_header); i++) {
        struct emb_model m;
        bytes[i] ^= 0x40;
        int fd = file_with(bytes, size);
        int rc = emb_model_attach(&m, fd, NULL, NULL);
        assert_true(rc == EMBELLAMA_E_FORMAT || rc == EMBELLAMA_E_UNSUPPORTED);
        close(fd);
        bytes[i] ^= 0x40;
    }
    free(bytes);
}

/* A header that lies, its checksum right. */
static void test_lies(void **state)
{
    (void)state;
    const struct {
        size_t offset, size;
        uint64_t value;
        int code;
        const char *words;
    } lies[] = {
#define FIELD(member) offsetof(struct emb_pack_header, member), sizeof(((struct emb_pack_header *)0)->member)
        {FIELD(magic), 1, EMBELLAMA_E_FORMAT, "not packed weights"},
        {FIELD(version), 1, EMBELLAMA_E_FORMAT, "layout 1"},
        {FIELD(data), 64, EMBELLAMA_E_FORMAT, "layout"},
        {FIELD(size), 1 << 20, EMBELLAMA_E_FORMAT, "1048576 bytes in a file"},
        {FIELD(form), 1, EMBELLAMA_E_UNSUPPORTED, "another form"},
        {FIELD(tier), 'x', EMBELLAMA_E_UNSUPPORTED, "weights packed for"},
        {FIELD(gemm), 'x', EMBELLAMA_E_UNSUPPORTED, "weights packed for"},
        {FIELD(table_types[0]), 'F', EMBELLAMA_E_FORMAT, "unknown type"},
        {FIELD(table_types[1]), 0x345f3851 /* Q8_4 */, EMBELLAMA_E_FORMAT, "unknown type"},
        {FIELD(table_types[2]), 0x303634 << 8 | 'I' /* I640 */, EMBELLAMA_E_FORMAT, "unknown type"},
        {FIELD(spec.family), 'b', EMBELLAMA_E_FORMAT, "family"},
        {FIELD(spec.hidden), 80, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.hidden), 0, EMBELLAMA_E_FORMAT, "hidden size"},
        {FIELD(spec.hidden), UINT64_MAX, EMBELLAMA_E_FORMAT, "hidden size"},
        {FIELD(spec.layers), 3, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.layers), 1ull << 40, EMBELLAMA_E_FORMAT, "number of layers"},
        {FIELD(spec.heads), 7, EMBELLAMA_E_FORMAT, "no multiple"},
        {FIELD(spec.intermediate), 1000, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.vocab), 1 << 24, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.positions), 1 << 20, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.types), 100, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.norm_eps), 0x7fc00000 /* NaN */, EMBELLAMA_E_FORMAT, "epsilon"},
        {FIELD(spec.act), 99, EMBELLAMA_E_FORMAT, "activation"},
        {FIELD(spec.pooling), 99, EMBELLAMA_E_FORMAT, "pooling"},
        {FIELD(spec.normalize), 99, EMBELLAMA_E_FORMAT, "pooling"},
        {FIELD(spec.labels), 3, EMBELLAMA_E_FORMAT, "where such a model has"},
        {FIELD(spec.labels), UINT64_MAX, EMBELLAMA_E_FORMAT, "labels"},
        {FIELD(spec.head_pooler), 2, EMBELLAMA_E_FORMAT, "head"},
        {FIELD(spec.score_act), 99, EMBELLAMA_E_FORMAT, "head"},
#undef FIELD
    };
    size_t size;
    uint8_t *bytes = tiny_pack(&size);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct emb_pack_header header;
        memcpy(&header, bytes, sizeof header);
        memset((char *)&header + lies[i].offset, 0, lies[i].size);
        memcpy((char *)&header + lies[i].offset, &lies[i].value, lies[i].size < 8 ? lies[i].size : 8);
        header.checksum = emb_hash64_of(&header, offsetof(struct emb_pack_header, checksum));
        int fd = file_with(bytes, size);
        assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
        refused(fd, lies[i].code, lies[i].words);
        close(fd);
    }
    free(bytes);
}

static void test_cut(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = tiny_pack(&size);
    const size_t sizes[] = {0, 1, sizeof(struct emb_pack_header), EMB_PLAN_START - 1, EMB_PLAN_START, size - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int fd = file_with(bytes, sizes[i]);
        refused(fd, EMBELLAMA_E_FORMAT, "packed weights");
        close(fd);
    }
    int fd = file_with(bytes, size);
    assert_int_equal(pwrite(fd, "", 1, (off_t)size), 1);
    refused(fd, EMBELLAMA_E_FORMAT, "packed weights");
    close(fd);
    fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    refused(fd, EMBELLAMA_E_IO, "regular file");
    close(fd);
    refused(-1, EMBELLAMA_E_IO, "regular file");
    free(bytes);
}

static void test_wrong_tier(void **state)
{
    (void)state;
    const char *const *tiers = emb_kernels_tiers();
    size_t last = 0;
    while (tiers[last + 1]) {
        last++;
    }
    if (last == 0) {
        skip();
    }
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_F32);
    options.cpu = tiers[0];
    int fd = memory();
    pack(fd, tiny(), &options);
    refused(fd, EMBELLAMA_E_UNSUPPORTED, "weights packed for ref");
    close(fd);
}

static void pack_otherwise(void *dst, const float *w, size_t r0, size_t r1, size_t n, size_t k)
{
    emb_kernels_get(NULL)->gemm_f32.pack(dst, w, r0, r1, n, k);
    ((uint8_t *)dst)[0] ^= 1;
}

/* Another precision than asked for; the same product of a build that packs it otherwise. */
static void test_wrong_product(void **state)
{
    (void)state;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_F32);
    struct emb_kernels kernels = *emb_kernels_get(NULL);
    struct emb_weights w;
    struct emb_spec spec;
    int fd = memory();
    pack(fd, tiny(), &options);
    struct emb_form form = {&kernels, &kernels.gemm_bf16};
    assert_int_equal(emb_weights_attach(&w, &spec, fd, &form, NULL), EMBELLAMA_E_UNSUPPORTED);
    form.gemm = &kernels.gemm_f32;
    assert_int_equal(emb_weights_attach(&w, &spec, fd, &form, NULL), EMBELLAMA_OK);
    emb_weights_free(&w);
    kernels.gemm_f32.pack = pack_otherwise;
    assert_int_equal(emb_weights_attach(&w, &spec, fd, &form, NULL), EMBELLAMA_E_UNSUPPORTED);
    close(fd);
}

/* ---- The model's hash ---- */

static void test_hash(void **state)
{
    (void)state;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_F32);
    int fd = memory();
    struct emb_hash a = pack(fd, tiny(), &options);
    options.precision = EMBELLAMA_PRECISION_INT8;
    options.threads = 1;
    int again = memory();
    struct emb_hash b = pack(again, tiny(), &options);
    assert_memory_equal(&a, &b, sizeof a);
    int other = memory();
    struct emb_hash c = pack(other, emb_test_source("tests/golden/tiny-b"), &options);
    assert_memory_not_equal(&a, &c, sizeof a);
    close(fd);
    close(again);
    close(other);
}

/* One bit of one tensor makes another hash, wherever it is. */
static void test_hash_of_bits(void **state)
{
    (void)state;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_F32);
    struct emb_model m;
    struct emb_hash hashes[4];
    struct emb_form form;
    assert_int_equal(emb_model_load(&m, tiny(), &options, NULL), 0);
    form = (struct emb_form){m.kernels, m.gemm};
    const char *names[] = {"", "embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.weight",
                           "encoder.layer.0.output.LayerNorm.bias"};
    for (size_t i = 0; i < 4; i++) {
        const struct emb_tensor *t = i ? emb_source_tensor(&m.source, names[i]) : NULL;
        uint8_t *last = t ? (uint8_t *)(uintptr_t)t->data + t->size - 1 : NULL;
        uintptr_t page = (uintptr_t)last & ~(uintptr_t)4095;
        int fd = memory();
        if (t) { /* the mapping is private: only this process sees it */
            mprotect((void *)page, 4096, PROT_READ | PROT_WRITE);
            *last ^= 1;
        }
        assert_int_equal(emb_weights_pack(fd, &hashes[i], &m.spec, &m.source, &form, NULL, NULL), 0);
        close(fd);
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(&hashes[i], &hashes[k], sizeof hashes[i]);
        }
    }
    emb_model_unload(&m);
}

/* ---- Out of memory ---- */

static void test_out_of_memory(void **state)
{
    (void)state;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_AUTO);
    long allowed = 0;
    for (int rc = EMBELLAMA_E_NOMEM; rc != EMBELLAMA_OK; allowed++) {
        struct emb_model m;
        struct emb_hash hash;
        int fd = memory();
        emb_mem_fail_after(allowed);
        rc = emb_model_pack(fd, &hash, tiny(), &options, NULL);
        if (rc == EMBELLAMA_OK) {
            rc = emb_model_attach(&m, fd, NULL, NULL);
        }
        emb_mem_fail_after(-1);
        close(fd);
        if (rc == EMBELLAMA_OK) {
            emb_model_unload(&m);
        } else {
            assert_int_equal(rc, EMBELLAMA_E_NOMEM);
        }
    }
    assert_true(allowed > 30);
}

/* No room for the file: an error, not a signal when it is written to. */
static void test_no_room(void **state)
{
    (void)state;
    struct stat st;
    struct emb_hash hash;
    embellama_model_options options = options_for(EMBELLAMA_PRECISION_AUTO);
    int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        skip();
    }
    int rc = emb_model_pack(fd, &hash, tiny(), &options, NULL);
    assert_true(rc == EMBELLAMA_E_IO || rc == EMBELLAMA_E_NOMEM);
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "child") == 0) {
        return child();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_attached_model),
        cmocka_unit_test(test_any_threads),
        cmocka_unit_test(test_every_byte_of_the_header),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_wrong_tier),
        cmocka_unit_test(test_wrong_product),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_of_bits),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
