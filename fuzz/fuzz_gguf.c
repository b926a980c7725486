/* GGUF files: opens the bytes as a file, then reads everything an open file offers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BLOCK = 256 };

/* The path of a file in memory that holds data; rewritten by each call. */
static const char *file_of(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) {
        perror("memfd");
        abort();
    }
    return path;
}

static void use_tensor(const struct emb_gguf *g, const struct emb_tensor *t)
{
    const struct emb_dtype_traits *traits = emb_dtype_traits(t->type);
    float values[MAX_BLOCK];
    if (emb_gguf_tensor(g, t->name) != t || strlen(t->type_name) == 0) {
        abort();
    }
    if (traits->to_f32 && t->size >= traits->block_bytes) {
        traits->to_f32(t->data, traits->block, values);
        traits->to_f32(t->data + t->size - traits->block_bytes, traits->block, values);
    }
}

static void use_strings(const struct emb_gguf *g, const char *key)
{
    uint64_t count;
    volatile char last = 0;
    if (!emb_gguf_get_string_array(g, key, &count)) {
        return;
    }
    struct emb_gguf_string *list = emb_calloc(count, sizeof *list);
    if (!list) {
        abort();
    }
    emb_gguf_read_strings(g, key, list);
    for (uint64_t i = 0; i < count; i++) {
        last = list[i].size > 0 ? list[i].data[list[i].size - 1] : last;
    }
    emb_free(list);
}

static void use_numbers(const struct emb_gguf *g, const char *key)
{
    uint64_t count;
    if (emb_gguf_get_int_array(g, key, &count)) {
        int64_t *list = emb_calloc(count, sizeof *list);
        if (!list) {
            abort();
        }
        emb_gguf_read_ints(g, key, list);
        emb_free(list);
    }
    if (emb_gguf_get_number_array(g, key, &count)) {
        float *list = emb_calloc(count, sizeof *list);
        if (!list) {
            abort();
        }
        emb_gguf_read_numbers(g, key, list);
        emb_free(list);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {
        "general.name", "general.alignment", "words", "ints", "floats", "yes", "f64", "k"};
    struct emb_gguf *g = NULL;
    embellama_error error = {0};
    int rc = emb_gguf_open(&g, file_of(data, size), &error);
    if (rc != EMBELLAMA_OK) {
        if (error.code != rc || error.message[0] == '\0') {
            abort();
        }
        return 0;
    }
    for (size_t i = 0; i < emb_gguf_tensor_count(g); i++) {
        use_tensor(g, emb_gguf_tensor_at(g, i));
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int64_t integer;
        double number;
        bool flag;
        struct emb_gguf_string string;
        emb_gguf_get_int(g, keys[i], &integer);
        emb_gguf_get_number(g, keys[i], &number);
        emb_gguf_get_bool(g, keys[i], &flag);
        emb_gguf_get_string(g, keys[i], &string);
        use_strings(g, keys[i]);
        use_numbers(g, keys[i]);
    }
    emb_gguf_close(g);
    return 0;
}
