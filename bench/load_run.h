/* The load itself: connections that send requests and take answers, in a closed loop (each connection sends the next when it
 * has its answer) or an open one (a request at a time that was fixed beforehand, whatever the server does). */
#ifndef BENCH_LOAD_RUN_H
#define BENCH_LOAD_RUN_H

#include "load_requests.h"

enum load_outcome {
    LOAD_ANSWERED,  /* whatever the status; with 200, every vector there and right */
    LOAD_WRONG,     /* 200, but a vector is wrong or absent */
    LOAD_MALFORMED, /* not HTTP */
    LOAD_CONNECT,   /* no connection */
    LOAD_RESET,     /* the connection ended before the answer did */
    LOAD_TIMEOUT,
    LOAD_CANCELLED, /* by us: cancel_after */
    LOAD_OUTCOMES,
};
extern const char *const load_outcome_names[LOAD_OUTCOMES];

/* One request. */
struct load_record {
    double at;             /* seconds since the start: when it was to be sent */
    float latency;         /* seconds from then until the answer's end */
    float own;             /* of these, the seconds until it was sent */
    float retry_after;     /* seconds, of the answer's retry-after-ms or Retry-After; negative: none */
    uint16_t status;       /* 0: no answer */
    uint8_t outcome;       /* enum load_outcome */
    bool should_not_retry; /* x-should-retry: false */
    uint32_t request;
};

struct load_run_options {
    const char *host; /* an address */
    int port;
    size_t connections;  /* open loop: at most */
    double rate;         /* requests a second; 0: closed loop */
    double seconds;      /* of sending; 0: no bound */
    double warm;         /* seconds at the start that count for nothing; within seconds */
    size_t requests;     /* to send; 0: no bound */
    double timeout;      /* seconds of one request */
    double cancel_after; /* seconds after which an unanswered request's connection is closed; 0: never */
};

struct load_result {
    struct load_record *records;
    size_t n;
    double began;  /* CLOCK_MONOTONIC, seconds: at = 0 */
    double from;   /* seconds since then: what counts begins here, */
    double until;  /* and ends here: when sending ended, or, with a fixed number of requests, the last answer */
    double texts;  /* answered with 200 within; a request that is partly within counts for that part */
    double tokens; /* likewise */
    double cpu;    /* seconds of CPU time that the client used within */
    double worst_cosine;
    size_t reconnects; /* connections that the server closed in good order */
};

/* Runs to its end, or until SIGINT or SIGTERM, which end the sending. */
void load_run(struct load_requests *requests, const struct load_run_options *options, struct load_result *result);

#endif
