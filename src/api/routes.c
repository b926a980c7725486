/* The route table. A new dialect is one file and its lines here. */
#include "api/api.h"

#include <stddef.h>

#include "api/error_styles.h"
#include "api/handlers.h"
#include "api/llamacpp.h"
#include "api/ollama.h"
#include "api/tei.h"

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
    {"POST", "/cache/warm", emb_api_cache_warm, 0, NULL},
    {"POST", "/v1/embeddings/prefix", emb_api_prefix_add, 0, NULL},
    {"GET", "/v1/embeddings/prefix", emb_api_prefix_list, 0, NULL},
    {"DELETE", "/v1/embeddings/prefix", emb_api_prefix_clear, EMB_ROUTE_ADMIN, NULL},
    {"GET", "/v1/embeddings/prefix/stats", emb_api_prefix_stats, 0, NULL},

    {"POST", "/v1/embeddings", emb_openai_embeddings, 0, emb_style_common},
    {"GET", "/v1/models", emb_openai_models, 0, NULL},
    {"GET", "/v1/models/{id}", emb_openai_model, 0, NULL},
    /* The same for a client whose base URL lacks the /v1; with `content` it is llama.cpp's. */
    {"POST", "/embeddings", emb_llamacpp_embeddings, 0, emb_style_common},
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

    /* Text Embeddings Inference. What its / is to clients that look whether a server is there, it is to Ollama's too. */
    {"GET", "/", emb_ollama_root, EMB_ROUTE_PUBLIC, emb_style_tei},
    {"POST", "/", emb_tei_any, 0, emb_style_tei},
    {"POST", "/invocations", emb_tei_any, 0, emb_style_tei},
    {"GET", "/ping", emb_api_health, EMB_ROUTE_PUBLIC, emb_style_tei},
    {"GET", "/info", emb_tei_info, 0, emb_style_tei},
    {"POST", "/embed", emb_tei_embed, 0, emb_style_tei},
    {"POST", "/embed_all", emb_tei_embed_all, 0, emb_style_tei},
    {"POST", "/embed_sparse", emb_tei_embed_sparse, 0, emb_style_tei},
    {"POST", "/similarity", emb_tei_similarity, 0, emb_style_tei},
    {"POST", "/predict", emb_tei_predict, 0, emb_style_tei},
    {"POST", "/vertex", emb_tei_vertex, 0, emb_style_tei},
    {"POST", "/tokenize", emb_api_tokenize, 0, emb_style_tei},
    {"POST", "/decode", emb_api_decode, 0, emb_style_tei},

    /* Ollama. */
    {"POST", "/api/embed", emb_ollama_embed, 0, emb_style_ollama},
    {"POST", "/api/embeddings", emb_ollama_embeddings, 0, emb_style_ollama},
    {"GET", "/api/tags", emb_ollama_tags, 0, emb_style_ollama},
    {"POST", "/api/show", emb_ollama_show, 0, emb_style_ollama},
    {"GET", "/api/ps", emb_ollama_ps, 0, emb_style_ollama},
    {"GET", "/api/version", emb_ollama_version, 0, emb_style_ollama},
    {"POST", "/api/pull", emb_ollama_pull, 0, emb_style_ollama},
    {"POST", "/api/generate", emb_llamacpp_no_text, 0, emb_style_ollama},
    {"POST", "/api/chat", emb_llamacpp_no_text, 0, emb_style_ollama},

    /* llama.cpp's server. */
    {"POST", "/embedding", emb_llamacpp_embedding, 0, emb_style_llamacpp},
    {"POST", "/detokenize", emb_api_detokenize, 0, emb_style_llamacpp},
    {"GET", "/props", emb_llamacpp_props, 0, emb_style_llamacpp},
    {"GET", "/slots", emb_llamacpp_slots, 0, emb_style_llamacpp},
    {"GET", "/v1/health", emb_api_health, EMB_ROUTE_PUBLIC, emb_style_llamacpp},
    {"POST", "/completion", emb_llamacpp_no_text, 0, emb_style_llamacpp},
    {"POST", "/completions", emb_llamacpp_no_text, 0, emb_style_llamacpp},
    {"POST", "/infill", emb_llamacpp_no_text, 0, emb_style_llamacpp},
    {"POST", "/chat/completions", emb_llamacpp_no_text, 0, NULL},
    {"POST", "/v1/chat/completions", emb_llamacpp_no_text, 0, NULL},
    {"POST", "/v1/completions", emb_llamacpp_no_text, 0, NULL},

    {NULL, NULL, NULL, 0, NULL},
};
