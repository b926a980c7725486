/* The folder of packed weights: found again, made anew when broken, shared by processes that start at once, bounded; and a model
 * opens whatever is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/tempdir.h"
#include "base/file.h"
#include "base/mem.h"
#include "embellama/embellama.h"
#include "model/pack_cache.h"
#include "testdata.h"

enum { DIM = 256 }; /* room for any tiny model's vector */

static char folder[512];

/* An empty folder to cache in. */
static int fresh(void **state)
{
    static int number;
    char name[32];
    (void)state;
    snprintf(name, sizeof name, "cache-%d/packed", number++);
    snprintf(folder, sizeof folder, "%s", tempdir_path(name));
    return 0;
}

static const char *tiny(void)
{
    return emb_test_source("tests/golden/tiny-a");
}

/* Opens a model with the folder, checks that it computes what it does without one, and gives its notice, "" for none. */
static const char *opened(const char *path)
{
    static char notice[256];
    float vectors[2][DIM] = {{0}};
    embellama_text text = {"the world of texts", 18};
    for (int cached = 0; cached < 2; cached++) {
        embellama_model_options options = embellama_model_options_default();
        embellama_model *model = NULL;
        embellama_ctx *ctx = NULL;
        embellama_error error;
        options.pack_cache = cached ? folder : NULL;
        if (embellama_model_open(&model, path, &options, &error) != 0) {
            fail_msg("%s", error.message);
        }
        const char *said = embellama_model_get_info(model)->notice;
        snprintf(notice, sizeof notice, "%s", said ? said : "");
        assert_int_equal(embellama_ctx_new(&ctx, model, NULL, NULL), 0);
        assert_int_equal(embellama_embed(ctx, &text, 1, NULL, vectors[cached], NULL, NULL), 0);
        embellama_ctx_free(ctx);
        embellama_model_close(model);
    }
    assert_memory_equal(vectors[0], vectors[1], sizeof vectors[0]);
    return notice;
}

/* How many files of that ending the folder has; path gets one of them. */
static size_t count(const char *ending, char *path, size_t size)
{
    size_t found = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        size_t length = strlen(e->d_name), tail = strlen(ending);
        if (length > tail && strcmp(e->d_name + length - tail, ending) == 0) {
            found++;
            snprintf(path, size, "%s/%s", folder, e->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

/* The only pack there is. */
static const char *pack(void)
{
    static char path[1024];
    char other[1024];
    assert_int_equal(count(".pack", path, sizeof path), 1);
    assert_int_equal(count(".link", other, sizeof other), 1);
    assert_int_equal(count(".tmp", other, sizeof other), 0);
    return path;
}

static ino_t inode(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

/* A file of the folder, used some days ago. */
static void old_file(const char *name, long days)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    struct timespec times[2] = {{time(NULL) - days * 86400, 0}, {time(NULL) - days * 86400, 0}};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void test_found_again(void **state)
{
    (void)state;
    struct stat st;
    assert_string_equal(opened(tiny()), "");
    ino_t first = inode(pack());
    assert_int_equal(stat(pack(), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_string_equal(opened(tiny()), "");
    assert_int_equal(inode(pack()), first);
}

/* What is mapped is the file itself: a changed value shows. */
static void test_is_used(void **state)
{
    (void)state;
    embellama_model_options options = embellama_model_options_default();
    embellama_model *model = NULL;
    embellama_ctx *ctx = NULL;
    embellama_text text = {"hello", 5};
    float before[DIM] = {0}, after[DIM] = {0};
    options.pack_cache = folder;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(embellama_model_open(&model, tiny(), &options, NULL), 0);
        assert_int_equal(embellama_model_get_info(model)->mapped_bytes, 0);
        assert_int_equal(embellama_ctx_new(&ctx, model, NULL, NULL), 0);
        assert_int_equal(embellama_embed(ctx, &text, 1, NULL, i ? after : before, NULL, NULL), 0);
        embellama_ctx_free(ctx);
        embellama_model_close(model);
        int fd = open(pack(), O_WRONLY | O_CLOEXEC);
        static const char zeros[256];
        for (off_t at = 4096; i == 0 && at < 16384; at += (off_t)sizeof zeros) {
            assert_int_equal(pwrite(fd, zeros, sizeof zeros, at), sizeof zeros);
        }
        close(fd);
    }
    assert_memory_not_equal(before, after, sizeof before);
}

static void test_precisions_and_models(void **state)
{
    (void)state;
    char path[1024];
    embellama_model_options options = embellama_model_options_default();
    options.pack_cache = folder;
    for (int p = EMBELLAMA_PRECISION_F32; p <= EMBELLAMA_PRECISION_INT8; p++) {
        embellama_model *model = NULL;
        options.precision = (embellama_precision)p;
        assert_int_equal(embellama_model_open(&model, tiny(), &options, NULL), 0);
        embellama_model_close(model);
    }
    assert_int_equal(count(".pack", path, sizeof path), 3);
    assert_int_equal(count(".link", path, sizeof path), 3);
}

/* ---- Broken ---- */

static void test_broken_header(void **state)
{
    (void)state;
    for (off_t at = 0; at < 224; at += 13) {
        char byte;
        opened(tiny());
        int fd = open(pack(), O_RDWR | O_CLOEXEC);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        assert_non_null(strstr(opened(tiny()), "packed anew"));
        assert_string_equal(opened(tiny()), "");
    }
}

static void test_cut_short(void **state)
{
    (void)state;
    const off_t sizes[] = {0, 100, 4096, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        opened(tiny());
        assert_int_equal(truncate(pack(), sizes[i]), 0);
        assert_non_null(strstr(opened(tiny()), "packed anew"));
        assert_string_equal(opened(tiny()), "");
    }
}

/* A pack under the name of another model's hash. */
static void test_another_model(void **state)
{
    (void)state;
    char link[1024], moved[1024];
    opened(tiny());
    snprintf(moved, sizeof moved, "%s", pack());
    char *digit = moved + strlen(folder) + 1;
    *digit = *digit == '0' ? '1' : '0';
    assert_int_equal(rename(pack(), moved), 0);
    assert_int_equal(count(".link", link, sizeof link), 1);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(digit, link), 0);
    assert_non_null(strstr(opened(tiny()), "another model"));
    assert_string_equal(opened(tiny()), "");
}

/* Links that lead elsewhere are not followed. */
static void test_strange_links(void **state)
{
    (void)state;
    const char *const targets[] = {"/etc/passwd", "../../x", "", "x.pack"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char link[1024];
        opened(tiny());
        ino_t before = inode(pack());
        assert_int_equal(count(".link", link, sizeof link), 1);
        assert_int_equal(unlink(link), 0);
        if (targets[i][0]) {
            assert_int_equal(symlink(targets[i], link), 0);
        }
        assert_string_equal(opened(tiny()), "");
        assert_int_not_equal(inode(pack()), before);
    }
}

/* ---- Folders that cannot be used ---- */

static void test_folder_of_all(void **state)
{
    (void)state;
    char path[1024];
    opened(tiny());
    assert_int_equal(chmod(pack(), 0666), 0);
    assert_non_null(strstr(opened(tiny()), "packed anew: another user may write"));
    assert_int_equal(unlink(pack()), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_non_null(strstr(opened(tiny()), "not kept"));
    assert_int_equal(count(".pack", path, sizeof path), 0);
}

static void test_no_folder(void **state)
{
    (void)state;
    tempdir_write("file", "x", 1);
    snprintf(folder, sizeof folder, "%s/below", tempdir_path("file"));
    assert_non_null(strstr(opened(tiny()), "not kept"));
    folder[0] = '\0';
    assert_non_null(strstr(opened(tiny()), "not kept"));
    memset(folder, 'x', sizeof folder - 1);
    assert_non_null(strstr(opened(tiny()), "not kept"));
}

/* A model that was written just now may be written again without its times telling. */
static void test_fresh_model(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json",  "tokenizer.json",        "model.safetensors",
                                        "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"};
    char path[1024];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[128], *data;
        size_t size;
        snprintf(name, sizeof name, "tests/golden/tiny-a/%s", files[i]);
        assert_int_equal(emb_file_read(emb_test_source(name), 1 << 20, 0, &data, &size, NULL), 0);
        snprintf(name, sizeof name, "model/%s", files[i]);
        tempdir_write(name, data, size);
        emb_free(data);
    }
    snprintf(path, sizeof path, "%s", tempdir_path("model"));
    assert_string_equal(opened(path), "");
    assert_int_equal(count(".pack", path, sizeof path), 0);
}

/* ---- Many ---- */

static void test_at_once(void **state)
{
    (void)state;
    enum { CHILDREN = 6 };
    embellama_model_options options = embellama_model_options_default();
    options.pack_cache = folder;
    options.threads = 1;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            embellama_model *model = NULL;
            int rc = embellama_model_open(&model, tiny(), &options, NULL);
            _exit(rc == 0 && !embellama_model_get_info(model)->notice ? 0 : 1);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = 1;
        wait(&status);
        assert_int_equal(status, 0);
    }
    ino_t left = inode(pack());
    assert_string_equal(opened(tiny()), "");
    assert_int_equal(inode(pack()), left);
}

static void test_bounded(void **state)
{
    (void)state;
    char path[1024], name[64];
    opened(tiny());
    assert_int_equal(unlink(pack()), 0); /* its link dangles now */
    for (int i = 1; i <= 12; i++) {
        snprintf(name, sizeof name, "other-%d.pack", i);
        old_file(name, i);
    }
    old_file("dead.tmp", 1);
    old_file("busy.tmp", 0);
    old_file("mine.txt", 1);
    snprintf(path, sizeof path, "%s/gone.link", folder);
    assert_int_equal(symlink("gone.pack", path), 0);
    assert_string_equal(opened(tiny()), "");
    assert_int_equal(count(".pack", path, sizeof path), EMB_PACK_CACHE_KEEP);
    assert_int_equal(count("other-7.pack", path, sizeof path) + count("-7.pack", path, sizeof path), 1);
    assert_int_equal(count("-8.pack", path, sizeof path), 0);
    assert_int_equal(count(".tmp", path, sizeof path), 1);
    assert_int_equal(count(".txt", path, sizeof path), 1);
    assert_int_equal(count(".link", path, sizeof path), 1);
}

/* Using a pack keeps it: of many, it is not the oldest any more. */
static void test_used_last(void **state)
{
    (void)state;
    char name[64];
    struct stat st;
    const struct timespec long_ago[2] = {{1000, 0}, {1000, 0}};
    opened(tiny());
    assert_int_equal(utimensat(AT_FDCWD, pack(), long_ago, 0), 0);
    ino_t used = inode(pack());
    opened(tiny());
    assert_int_equal(stat(pack(), &st), 0);
    assert_true(st.st_mtim.tv_sec > 1000);
    char *path = strdup(pack());
    for (int i = 1; i <= 12; i++) {
        snprintf(name, sizeof name, "other-%d.pack", i);
        old_file(name, i);
    }
    opened(emb_test_source("tests/golden/tiny-b"));
    assert_int_equal(inode(path), used);
    free(path);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    embellama_model_options options = embellama_model_options_default();
    long allowed = 0;
    options.pack_cache = folder;
    for (int found = 0; found < 2; found++) {
        allowed = 0;
        for (int rc = EMBELLAMA_E_NOMEM; rc != EMBELLAMA_OK; allowed++) {
            embellama_model *model = NULL;
            emb_mem_fail_after(allowed);
            rc = embellama_model_open(&model, tiny(), &options, NULL);
            emb_mem_fail_after(-1);
            embellama_model_close(model);
            assert_true(rc == EMBELLAMA_OK || rc == EMBELLAMA_E_NOMEM);
        }
        assert_true(allowed > 30);
    }
    assert_string_equal(opened(tiny()), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_found_again, fresh),
        cmocka_unit_test_setup(test_is_used, fresh),
        cmocka_unit_test_setup(test_precisions_and_models, fresh),
        cmocka_unit_test_setup(test_broken_header, fresh),
        cmocka_unit_test_setup(test_cut_short, fresh),
        cmocka_unit_test_setup(test_another_model, fresh),
        cmocka_unit_test_setup(test_strange_links, fresh),
        cmocka_unit_test_setup(test_folder_of_all, fresh),
        cmocka_unit_test_setup(test_no_folder, fresh),
        cmocka_unit_test_setup(test_fresh_model, fresh),
        cmocka_unit_test_setup(test_at_once, fresh),
        cmocka_unit_test_setup(test_bounded, fresh),
        cmocka_unit_test_setup(test_used_last, fresh),
        cmocka_unit_test_setup(test_out_of_memory, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
