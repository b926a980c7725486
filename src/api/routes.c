/* The route table. A new dialect is one file and its lines here. */
#include "api/api.h"

#include <stddef.h>

#include "api/handlers.h"

const struct emb_route emb_api_routes[] = {
    {"GET", "/health", emb_api_health},

    {"POST", "/v1/embeddings", emb_openai_embeddings},
    {"GET", "/v1/models", emb_openai_models},
    {"GET", "/v1/models/{id}", emb_openai_model},
    /* The same for a client whose base URL lacks the /v1. */
    {"POST", "/embeddings", emb_openai_embeddings},
    {"GET", "/models", emb_openai_models},
    {"GET", "/models/{id}", emb_openai_model},

    {NULL, NULL, NULL},
};
