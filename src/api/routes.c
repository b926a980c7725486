/* The route table. A new dialect is one file and its lines here. */
#include "api/api.h"

#include <stddef.h>

#include "api/error_styles.h"
#include "api/handlers.h"

const struct emb_route emb_api_routes[] = {
    {"GET", "/health", emb_api_health, EMB_ROUTE_PUBLIC, NULL},
    {"GET", "/health/live", emb_api_health_live, EMB_ROUTE_PUBLIC, NULL},
    {"GET", "/health/ready", emb_api_health_ready, EMB_ROUTE_PUBLIC, NULL},
    {"GET", "/metrics", emb_api_metrics, EMB_ROUTE_METRICS, NULL},
    {"GET", "/admin/status", emb_api_admin_status, EMB_ROUTE_ADMIN, NULL},
    {"POST", "/admin/log-level", emb_api_admin_log_level, EMB_ROUTE_ADMIN, NULL},
    {"POST", "/admin/drain", emb_api_admin_drain, EMB_ROUTE_ADMIN, NULL},
    {"GET", "/cache/stats", emb_api_cache_stats, 0, NULL},
    {"POST", "/cache/clear", emb_api_cache_clear, EMB_ROUTE_ADMIN, NULL},

    {"POST", "/v1/embeddings", emb_openai_embeddings, 0, emb_style_common},
    {"GET", "/v1/models", emb_openai_models, 0, NULL},
    {"GET", "/v1/models/{id}", emb_openai_model, 0, NULL},
    /* The same for a client whose base URL lacks the /v1. */
    {"POST", "/embeddings", emb_openai_embeddings, 0, emb_style_common},
    {"GET", "/models", emb_openai_models, 0, NULL},
    {"GET", "/models/{id}", emb_openai_model, 0, NULL},
    /* Azure's, the older path and the newer. */
    {"POST", "/openai/deployments/{deployment}/embeddings", emb_azure_embeddings, 0, NULL},
    {"POST", "/openai/v1/embeddings", emb_openai_embeddings, 0, NULL},
    {"GET", "/openai/v1/models", emb_openai_models, 0, NULL},
    {"GET", "/openai/v1/models/{id}", emb_openai_model, 0, NULL},

    /* Rerank as Jina, Voyage, vLLM, Text Embeddings Inference and Cohere have it; scores as vLLM has them. */
    {"POST", "/v1/rerank", emb_rerank, 0, emb_style_common},
    {"POST", "/v2/rerank", emb_rerank, 0, emb_style_common},
    {"POST", "/rerank", emb_rerank, 0, emb_style_common},
    {"POST", "/v1/reranking", emb_rerank, 0, emb_style_common},
    {"POST", "/reranking", emb_rerank, 0, emb_style_common},
    {"POST", "/v1/score", emb_score, 0, emb_style_common},
    {"POST", "/score", emb_score, 0, emb_style_common},

    {"POST", "/v1/embed", emb_cohere_embed_1, 0, emb_style_cohere},
    {"POST", "/v2/embed", emb_cohere_embed_2, 0, emb_style_cohere},
    {"POST", "/v1/tokenize", emb_cohere_tokenize, 0, emb_style_cohere},

    {NULL, NULL, NULL, 0, NULL},
};
