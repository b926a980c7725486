/* Prints the route table, "METHOD path" a line, for test_api_openapi.py. */
#include <stdio.h>

#include "api/api.h"

int main(void)
{
    for (const struct emb_route *route = emb_api_routes; route->method; route++) {
        printf("%s %s\n", route->method, route->path);
    }
    return 0;
}
