/* The handlers the route table names, by dialect. */
#ifndef EMB_HANDLERS_H
#define EMB_HANDLERS_H

#include "server/server.h"

/* health.c */
void emb_api_health(struct emb_server *server, struct emb_exchange *x);
void emb_api_health_live(struct emb_server *server, struct emb_exchange *x);
void emb_api_health_ready(struct emb_server *server, struct emb_exchange *x);

/* scrape.c */
void emb_api_metrics(struct emb_server *server, struct emb_exchange *x);

/* admin.c */
void emb_api_admin_status(struct emb_server *server, struct emb_exchange *x);
void emb_api_admin_log_level(struct emb_server *server, struct emb_exchange *x);
void emb_api_admin_drain(struct emb_server *server, struct emb_exchange *x);

/* cache_routes.c */
void emb_api_cache_stats(struct emb_server *server, struct emb_exchange *x);
void emb_api_cache_clear(struct emb_server *server, struct emb_exchange *x);
void emb_api_cache_warm(struct emb_server *server, struct emb_exchange *x);
void emb_api_prefix_add(struct emb_server *server, struct emb_exchange *x);
void emb_api_prefix_list(struct emb_server *server, struct emb_exchange *x);
void emb_api_prefix_clear(struct emb_server *server, struct emb_exchange *x);
void emb_api_prefix_stats(struct emb_server *server, struct emb_exchange *x);

/* openai.c */
void emb_openai_embeddings(struct emb_server *server, struct emb_exchange *x);
void emb_azure_embeddings(struct emb_server *server, struct emb_exchange *x);

/* rerank.c, score.c */
void emb_rerank(struct emb_server *server, struct emb_exchange *x);
void emb_score(struct emb_server *server, struct emb_exchange *x);

/* cohere.c */
void emb_cohere_embed_1(struct emb_server *server, struct emb_exchange *x);
void emb_cohere_embed_2(struct emb_server *server, struct emb_exchange *x);
void emb_cohere_tokenize(struct emb_server *server, struct emb_exchange *x);

/* tei.c */
void emb_tei_embed(struct emb_server *server, struct emb_exchange *x);
void emb_tei_embed_all(struct emb_server *server, struct emb_exchange *x);
void emb_tei_embed_sparse(struct emb_server *server, struct emb_exchange *x);
void emb_tei_similarity(struct emb_server *server, struct emb_exchange *x);
void emb_tei_predict(struct emb_server *server, struct emb_exchange *x);
void emb_tei_vertex(struct emb_server *server, struct emb_exchange *x);
void emb_tei_any(struct emb_server *server, struct emb_exchange *x);
void emb_tei_info(struct emb_server *server, struct emb_exchange *x);

/* tokenize.c */
void emb_api_tokenize(struct emb_server *server, struct emb_exchange *x);
void emb_api_decode(struct emb_server *server, struct emb_exchange *x);
void emb_api_detokenize(struct emb_server *server, struct emb_exchange *x);

/* ollama.c */
void emb_ollama_embed(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_embeddings(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_tags(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_show(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_ps(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_version(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_root(struct emb_server *server, struct emb_exchange *x);
void emb_ollama_pull(struct emb_server *server, struct emb_exchange *x);

/* llamacpp.c */
void emb_llamacpp_embedding(struct emb_server *server, struct emb_exchange *x);
void emb_llamacpp_embeddings(struct emb_server *server, struct emb_exchange *x);
void emb_llamacpp_props(struct emb_server *server, struct emb_exchange *x);
void emb_llamacpp_slots(struct emb_server *server, struct emb_exchange *x);
void emb_llamacpp_no_text(struct emb_server *server, struct emb_exchange *x);

/* models.c */
void emb_openai_models(struct emb_server *server, struct emb_exchange *x);
void emb_openai_model(struct emb_server *server, struct emb_exchange *x);

#endif
