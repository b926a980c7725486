/* The CPU quota, read from cgroup trees laid out here; and files. */
#include "base/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "tempdir.h"

static void write_text(const char *name, const char *text)
{
    tempdir_write(name, text, strlen(text));
}

/* The quota in the tree called name, whose process belongs to the groups. */
static double quota(const char *name, const char *groups)
{
    char root[1024], file[256];
    snprintf(root, sizeof root, "%s", tempdir_path(name));
    snprintf(file, sizeof file, "%s/proc_cgroup", name);
    return emb_cpu_quota(root, tempdir_write(file, groups, strlen(groups)));
}

static void test_v2(void **state)
{
    (void)state;
    write_text("v2/cgroup.controllers", "cpu memory\n");
    assert_true(quota("v2", "0::/\n") == 0);
    write_text("v2/pod/cpu.max", "250000 100000\n");
    write_text("v2/pod/container/cpu.max", "max 100000\n");
    assert_true(quota("v2", "0::/\n") == 0);
    assert_true(quota("v2", "0::/pod\n") == 2.5);
    assert_true(quota("v2", "0::/pod/container\n") == 2.5); /* of its parent */
    assert_true(quota("v2", "0::/pod/container/absent\n") == 2.5);
    write_text("v2/pod/container/cpu.max", "50000 100000\n");
    assert_true(quota("v2", "0::/pod/container\n") == 0.5);
    write_text("v2/pod/container/cpu.max", "400000 100000\n");
    assert_true(quota("v2", "0::/pod/container\n") == 2.5); /* the smaller one */
    write_text("v2/cpu.max", "100000 100000\n");            /* as seen from inside a cgroup namespace */
    assert_true(quota("v2", "0::/\n") == 1);
    assert_true(quota("v2", "0::/somewhere/else\n") == 1);
}

static void test_v1(void **state)
{
    (void)state;
    static const char *const groups = "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n";
    write_text("v1/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
    write_text("v1/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
    assert_true(quota("v1", groups) == 0);
    write_text("v1/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "150000\n");
    assert_true(quota("v1", groups) == 1.5);
    assert_true(quota("v1", "2:memory:/docker/1\n") == 0);
    assert_true(quota("v1", "2:cpuset:/docker/1\n") == 0);
    write_text("v1cpu/cpu/cpu.cfs_quota_us", "300000\n"); /* a container whose own group is the mount's root */
    write_text("v1cpu/cpu/cpu.cfs_period_us", "100000\n");
    assert_true(quota("v1cpu", "7:cpu:/docker/abc\n") == 3);
}

static void test_memory(void **state)
{
    (void)state;
    char root[1024];
    write_text("memory/memory.max", "max\n");
    write_text("memory/pod/memory.max", "1073741824\n");
    write_text("memory/pod/container/memory.max", "max\n");
    write_text("memory/memory/docker/memory.limit_in_bytes", "2147483648\n");
    write_text("memory/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    snprintf(root, sizeof root, "%s", tempdir_path("memory"));
    const char *none = tempdir_write("memory/none", "0::/\n", 5);
    assert_true(emb_memory_quota(root, none) == 0);
    const char *pod = tempdir_write("memory/v2", "0::/pod/container\n", 18);
    assert_true(emb_memory_quota(root, pod) == 1073741824.0);
    const char *docker = tempdir_write("memory/v1", "5:cpu:/docker/1\n4:memory:/docker/1\n", 35);
    assert_true(emb_memory_quota(root, docker) == 2147483648.0);
    assert_true(emb_memory_size() > 0);
}

static void test_odd_trees(void **state)
{
    (void)state;
    char groups[6000] = "0::/";
    assert_true(emb_cpu_quota(tempdir_path("absent"), "/absent") == 0);
    assert_true(quota("odd", "") == 0);
    assert_true(quota("odd", "garbage\n0\n0:\n0:cpu\n\n::::\n") == 0);
    write_text("odd/cpu.max", "");
    assert_true(quota("odd", "0::/\n") == 0);
    write_text("odd/cpu.max", "100000 0\n");
    assert_true(quota("odd", "0::/\n") == 0);
    write_text("odd/cpu.max", "-5 100000\n");
    assert_true(quota("odd", "0::/\n") <= 0);
    write_text("odd/cpu.max", "100000\n");
    assert_true(quota("odd", "0::/\n") == 0);
    memset(groups + 4, 'x', sizeof groups - 5);
    assert_true(quota("odd", groups) == 0);
}

static void test_count(void **state)
{
    (void)state;
    int n = emb_cpu_count();
    assert_true(n >= 1 && n <= sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(n, embellama_cpu_count());
}

static void test_files(void **state)
{
    (void)state;
    struct emb_file file;
    embellama_error error = {0};
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(emb_file_map(&file, tempdir_write("f", "content", 7), &error), EMBELLAMA_OK);
    assert_true(file.size == 7 && memcmp(file.data, "content", 7) == 0);
    emb_file_drop(file.data, file.size);
    assert_int_equal(file.data[0], 'c');
    emb_file_unmap(&file);
    emb_file_unmap(&file);
    assert_int_equal(emb_file_map(&file, tempdir_write("empty", "", 0), &error), EMBELLAMA_OK);
    assert_true(file.size == 0 && file.data == NULL);
    assert_int_equal(emb_file_map(&file, tempdir(), &error), EMBELLAMA_E_IO);
    assert_int_equal(emb_file_map(&file, tempdir_path("absent"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_int_equal(emb_file_map(&file, tempdir_path("f/below"), &error), EMBELLAMA_E_NOT_FOUND);
    assert_int_equal(emb_file_read(tempdir_path("f"), 7, 8, &text, &size, &error), EMBELLAMA_OK);
    assert_int_equal(size, 7);
    assert_memory_equal(text, "content\0\0\0\0\0\0\0\0", 15);
    emb_free(text);
    assert_int_equal(emb_file_read(tempdir_path("f"), 6, 0, &text, &size, &error), EMBELLAMA_E_FORMAT);
    assert_true(emb_path_exists(tempdir_path("f")) && !emb_path_is_dir(tempdir_path("f")));
    assert_true(emb_path_is_dir(tempdir()) && !emb_path_exists(tempdir_path("absent")));
    text = emb_path_join("a", "b");
    assert_string_equal(text, "a/b");
    emb_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2),        cmocka_unit_test(test_v1),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_odd_trees), cmocka_unit_test(test_count), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
