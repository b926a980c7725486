/* Which route a path means, what is decoded, and the methods told for a path. */
#include "server/http/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"

static void handler(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    (void)x;
}

static const struct emb_route routes[] = {
    {"GET", "/", handler, 0, NULL},
    {"GET", "/a", handler, EMB_ROUTE_PUBLIC, NULL},
    {"POST", "/a", handler, EMB_ROUTE_ADMIN, NULL},
    {"GET", "/a/{id}", handler, 0, NULL},
    {"POST", "/a/b/c", handler, 0, NULL},
    {NULL, NULL, NULL, 0, NULL},
};

static void test_cases(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        enum emb_route_result result;
        int route;
        const char *segment, *allow;
    } cases[] = {
        {"GET", "/", EMB_ROUTE_OK, 0, NULL, NULL},
        {"GET", "/a", EMB_ROUTE_OK, 1, NULL, NULL},
        {"HEAD", "/a", EMB_ROUTE_OK, 1, NULL, NULL},
        {"POST", "/a", EMB_ROUTE_OK, 2, NULL, NULL},
        {"GET", "/%61", EMB_ROUTE_OK, 1, NULL, NULL},
        {"GET", "/a/x", EMB_ROUTE_OK, 3, "x", NULL},
        {"GET", "/a/org%2Fna%20me", EMB_ROUTE_OK, 3, "org/na me", NULL},
        {"GET", "/a/%c3%A9", EMB_ROUTE_OK, 3, "\xc3\xa9", NULL},
        {"POST", "/a/b/c", EMB_ROUTE_OK, 4, NULL, NULL},
        {"DELETE", "/a", EMB_ROUTE_WRONG_METHOD, -1, NULL, "GET, HEAD, POST, OPTIONS"},
        {"GET", "/a/b/c", EMB_ROUTE_WRONG_METHOD, -1, NULL, "POST, OPTIONS"},
        {"OPTIONS", "/a", EMB_ROUTE_OPTIONS, -1, NULL, "GET, HEAD, POST, OPTIONS"},
        {"GET", "/A", EMB_ROUTE_UNKNOWN, -1, NULL, ""},
        {"GET", "/a/", EMB_ROUTE_UNKNOWN, -1, NULL, ""},
        {"GET", "/a/b/", EMB_ROUTE_UNKNOWN, -1, NULL, ""},
        {"GET", "//a", EMB_ROUTE_UNKNOWN, -1, NULL, ""},
        {"GET", "/a%2Fb%2Fc", EMB_ROUTE_UNKNOWN, -1, NULL, ""},
        {"GET", "", EMB_ROUTE_UNKNOWN, -1, NULL, ""},
        {"GET", "/a/%", EMB_ROUTE_MALFORMED, -1, NULL, ""},
        {"GET", "/a/%4", EMB_ROUTE_MALFORMED, -1, NULL, ""},
        {"GET", "/a/%zz", EMB_ROUTE_MALFORMED, -1, NULL, ""},
        {"GET", "/a/%00", EMB_ROUTE_MALFORMED, -1, NULL, ""},
        {"GET", "/unknown/%0", EMB_ROUTE_MALFORMED, -1, NULL, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct emb_route_match match;
        enum emb_route_result result = emb_route_find(&match, routes, cases[i].method, cases[i].path);
        if (result != cases[i].result) {
            fail_msg("%s %s: %d", cases[i].method, cases[i].path, (int)result);
        }
        assert_ptr_equal(match.route, cases[i].route < 0 ? NULL : &routes[cases[i].route]);
        if (cases[i].segment) {
            assert_non_null(match.segment);
            assert_string_equal(match.segment, cases[i].segment);
        } else {
            assert_null(match.segment);
        }
        if (cases[i].allow) {
            assert_string_equal(match.allow, cases[i].allow);
        }
        emb_free(match.segment);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    struct emb_route_match match;
    emb_mem_fail_after(0);
    enum emb_route_result result = emb_route_find(&match, routes, "GET", "/a/x");
    emb_mem_fail_after(-1);
    assert_int_equal(result, EMB_ROUTE_NOMEM);
    assert_null(match.segment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
