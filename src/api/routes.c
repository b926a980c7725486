/* The route table, of routes.def. */
#include "api/api.h"

#include <stddef.h>

#include "api/error_styles.h"
#include "api/handlers.h"
#include "api/llamacpp.h"
#include "api/ollama.h"
#include "api/tei.h"

#define ROUTE(method, path, handler, flags, style) {method, path, handler, flags, style},

const struct emb_route emb_api_routes[] = {
#include "api/routes.def"
    {NULL, NULL, NULL, 0, NULL},
};
