/* Why a request is refused, and how that is answered: OpenAI's error types, codes and sentences. */
#ifndef EMB_REFUSAL_H
#define EMB_REFUSAL_H

#include <stdbool.h>

#include "server/http/exchange.h"
#include "server/server.h"

/* http is 0 while nothing is refused. */
struct emb_refusal {
    int http;
    bool hopeless;           /* the same request would fail again: the client need not repeat it */
    unsigned retry_after_ms; /* 0: not told */
    const char *type;        /* static */
    const char *code;        /* static, or NULL */
    char param[48];          /* empty: null */
    char message[640];       /* UTF-8 */
};

/* Fills it and returns -1. param and code may be NULL. */
__attribute__((format(printf, 6, 7))) int emb_refuse(struct emb_refusal *refusal, int http, const char *type,
                                                     const char *param, const char *code, const char *format, ...);

/* The same for the common case: 400, invalid_request_error, no code. */
__attribute__((format(printf, 3, 4))) int emb_refuse_invalid(struct emb_refusal *refusal, const char *param,
                                                             const char *format, ...);

/* For a status of the library's that an input (param) got; message says more than the status, or is NULL. */
int emb_refuse_status(struct emb_refusal *refusal, const char *param, int status, const char *message);

/* 503: memory has run out. */
int emb_refuse_nomem(struct emb_refusal *refusal);

/* 503: the queue is full. When to come back is the caller's to add. */
int emb_refuse_full(struct emb_refusal *refusal);

/* The code of an input's status as replies tell it: "timeout". */
const char *emb_refusal_code(int status);

/* Answers x. */
void emb_refusal_answer(const struct emb_refusal *refusal, struct emb_exchange *x);

/* The first characters of a client's text for use in a message: at most size - 1 bytes, whole characters, "..."
 * where cut. size >= 8. */
const char *emb_excerpt(const char *text, size_t text_size, char *out, size_t size);

#endif
