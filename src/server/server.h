/* The server: options, the routes it is given, and its life from start to graceful stop.
 *
 * The server knows HTTP, requests and scheduling; it knows no API dialect. Those (src/api/) hand it a table of routes. */
#ifndef EMB_SERVER_H
#define EMB_SERVER_H

#include "base/log.h"
#include "embellama/embellama.h"
#include "server/access/admission.h"
#include "server/cache.h"
#include "server/http/front_limits.h"
#include "server/http/tls.h"
#include "server/observe/metrics.h"
#include "server/http/router.h"

struct emb_setup;     /* pool/setup.h */
struct emb_front;     /* server/http/listen.h */
struct emb_lag;       /* server/observe/lag.h */
struct emb_footprint; /* server/observe/footprint.h */

struct emb_server_options {
    const struct emb_setup *setup; /* what the supervisor told this process: model, layout, sockets (pool/setup.h) */
    const char *model_name;        /* what clients call it; NULL: the model's own name */
    const char *host;              /* as it was asked for, for the ready line */
    const char *unix_socket;       /* the path, likewise; or NULL */
    struct emb_tls_options tls;    /* cert NULL: none */
    size_t queue_size;             /* inputs that may wait; beyond, 503 at once; 0, here and next: by memory */
    size_t queue_tokens;
    unsigned target_latency_ms;
    const char *dead_letter; /* file, or NULL */
    bool dead_letter_text;
    const char *token_ids;       /* vocabulary of the ids that clients send, or NULL: the model's */
    size_t max_inputs;           /* of one request */
    bool auto_truncate;          /* shorten what is too long where a dialect leaves that to the server */
    unsigned request_timeout_ms; /* from a request's arrival until it must be computed; 0: no limit */
    unsigned drain_ms;           /* the most that stopping takes without a supervisor, which else sees to that */
    embellama_pooling pooling;
    embellama_normalize normalize;
    float p;
    size_t max_length; /* tokens of one input; 0: the model's context */
    struct emb_metrics_setup metrics;
    struct emb_front_limits limits;
    struct emb_access_options access;
    struct emb_cache_options cache; /* dim is set from the model */
    const struct emb_route *routes; /* ended by a NULL method */
};

/* The front process: attaches the model, serves once a worker has answered, and returns 0 when the supervisor told it to stop and every
 * request held was answered. Prints one ready line with the URL on stdout when it listens for the first time, and logs to stderr
 * (base/log.h). Errors: what keeps it from serving; E_IO also where the supervisor went away. */
int emb_server_run(const struct emb_server_options *options, embellama_error *error);

/* For handlers. */
const embellama_model *emb_server_model(const struct emb_server *server);
const char *emb_server_model_name(const struct emb_server *server);
const struct emb_server_options *emb_server_options(const struct emb_server *server);
struct emb_scheduler *emb_server_scheduler(struct emb_server *server);
bool emb_server_stopping(const struct emb_server *server);
struct emb_front *emb_server_front(const struct emb_server *server);
struct emb_access *emb_server_access(const struct emb_server *server);
struct emb_cache *emb_server_cache(const struct emb_server *server);
const struct embellama_vocabulary *emb_server_vocabulary(const struct emb_server *server); /* of token_ids, or NULL */
struct emb_metrics *emb_server_metrics(const struct emb_server *server);
const struct emb_lag *emb_server_lag(const struct emb_server *server);
struct emb_footprint *emb_server_footprint(struct emb_server *server);
double emb_server_uptime(const struct emb_server *server); /* seconds */

/* Stops the whole server gracefully, as SIGTERM does. why is for the log, as logfmt: "client=ops". Nothing more happens when it stops
 * already. */
void emb_server_drain(struct emb_server *server, const char *why);

/* In every process of the server. */
void emb_server_set_log_level(struct emb_server *server, enum emb_log_level level);

#endif
