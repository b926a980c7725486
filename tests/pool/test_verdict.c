/* Who is blamed for an end, and how long the next start waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sys/wait.h>

#include "../base/tempdir.h"
#include "pool/verdict.h"

#define SECOND UINT64_C(1000000000)

static struct emb_verdict verdict(int code, int status, enum emb_ended ended, bool out_of_memory)
{
    siginfo_t info = {0};
    info.si_code = code;
    info.si_status = status;
    return emb_verdict_of(&info, ended, out_of_memory);
}

static void is(struct emb_verdict v, bool blamed, const char *words)
{
    assert_int_equal(v.blamed, blamed);
    assert_non_null(strstr(v.reason, words));
}

static void test_verdicts(void **state)
{
    (void)state;
    is(verdict(CLD_KILLED, SIGKILL, EMB_ENDED_ALONE, false), false, "SIGKILL");
    is(verdict(CLD_KILLED, SIGKILL, EMB_ENDED_ALONE, true), true, "memory");
    is(verdict(CLD_KILLED, SIGKILL, EMB_ENDED_STUCK, false), true, "no progress");
    is(verdict(CLD_KILLED, SIGKILL, EMB_ENDED_STOPPED, false), false, "stopped from outside");
    is(verdict(CLD_KILLED, SIGSEGV, EMB_ENDED_ALONE, false), true, "SIGSEGV");
    is(verdict(CLD_DUMPED, SIGABRT, EMB_ENDED_ALONE, false), true, "SIGABRT");
    is(verdict(CLD_EXITED, 7, EMB_ENDED_ALONE, false), true, "exited with 7");
    is(verdict(CLD_EXITED, 0, EMB_ENDED_ASKED, false), false, "exited with 0");
    is(verdict(CLD_KILLED, SIGSEGV, EMB_ENDED_ASKED, false), false, "SIGSEGV");
}

static char *copy(char out[256], const char *path)
{
    snprintf(out, 256, "%s", path);
    return out;
}

static uint64_t kills(const char *cgroup)
{
    char file[256];
    copy(file, tempdir_write("proc_cgroup", cgroup, strlen(cgroup)));
    return emb_memory_kills(tempdir(), file);
}

static void put(const char *name, const char *text)
{
    tempdir_write(name, text, strlen(text));
}

static void test_memory_kills(void **state)
{
    (void)state;
    put("a.slice/memory.events", "low 0\nhigh 5\nmax 12\noom 3\noom_kill 4\noom_group_kill 9\n");
    put("memory.events", "oom_kill 11\n");
    put("memory/old/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
    assert_int_equal(kills("0::/a.slice\n"), 4);
    assert_int_equal(kills("0::/not/mounted/here\n"), 11);
    assert_int_equal(kills("7:cpu,cpuacct:/x\n4:memory:/old\n"), 6);
    assert_int_equal(kills("7:cpu,cpuacct:/x\n4:hugetlb,memory:/old\n0::/\n"), 6);
    assert_int_equal(kills("7:memoryless:/old\n"), 0);
    assert_int_equal(kills("nonsense\n"), 0);
    assert_int_equal(kills(""), 0);
    assert_int_equal(emb_memory_kills(tempdir(), "/nonexistent"), 0);
}

static void test_useful_ones_restart_at_once(void **state)
{
    (void)state;
    struct emb_backoff b = {0};
    for (uint64_t i = 1; i < 50; i++) {
        assert_int_equal(emb_backoff_delay(&b, i * 3 * SECOND, true), 0);
    }
}

static void test_five_in_ten_seconds(void **state)
{
    (void)state;
    struct emb_backoff b = {0};
    uint64_t now = 100u * SECOND;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(emb_backoff_delay(&b, now += SECOND, true), 0);
    }
    assert_int_equal(emb_backoff_delay(&b, now += SECOND, true), 250);
    assert_int_equal(emb_backoff_delay(&b, now += SECOND, true), 500);
    assert_int_equal(emb_backoff_delay(&b, now += 60u * SECOND, true), 0);
}

static void test_early_ends_wait_longer_each_time(void **state)
{
    (void)state;
    const unsigned expected[] = {250, 500, 1000, 2000, 4000, 8000, 8000, 8000};
    struct emb_backoff b = {0};
    uint64_t now = 100u * SECOND;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(emb_backoff_delay(&b, now += 20u * SECOND, false), expected[i]);
    }
    assert_int_equal(emb_backoff_delay(&b, now += 20u * SECOND, true), 0);
    assert_int_equal(emb_backoff_delay(&b, now + 20u * SECOND, false), 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_memory_kills),
        cmocka_unit_test(test_useful_ones_restart_at_once),
        cmocka_unit_test(test_five_in_ten_seconds),
        cmocka_unit_test(test_early_ends_wait_longer_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
