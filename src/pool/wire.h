/* What the front and a worker send each other over a stream: frames.
 *
 * A frame is a fixed header and a payload whose size follows from the header's own counts, which are compared with what the receiver
 * is willing to take before anything is believed. Both ends are the same program on the same machine, so numbers have this machine's
 * byte order; a version tells other builds apart. */
#ifndef EMB_WIRE_H
#define EMB_WIRE_H

#include "pool/pool.h"
#include "pool/setup.h"

enum { EMB_WIRE_VERSION = 2 };

enum emb_wire_kind {
    EMB_WIRE_HELLO = 1, /* worker: struct emb_wire_hello */
    EMB_WIRE_BATCH,     /* front: counts (uint32_t [inputs]), ids (int32_t [tokens]), tasks (struct emb_task [tasks]) */
    EMB_WIRE_ANSWER,    /* worker: statuses (int32_t [inputs]), then all inputs' values (float) */
};

struct emb_wire_header {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint64_t sequence; /* of a batch, and of its answer */
    uint32_t inputs;
    uint32_t tokens; /* BATCH */
    uint32_t tasks;  /* BATCH: inputs, or 0 where all are EMBED */
    uint32_t spare;
    uint64_t payload;                /* bytes behind the header */
    uint64_t started_ns, compute_ns; /* ANSWER */
};

struct emb_wire_hello {
    uint8_t token[EMB_TOKEN_BYTES];
    int32_t worker;
    int32_t threads;
    uint32_t dim;
    uint32_t labels;
};

/* What a receiver takes. */
struct emb_wire_limits {
    uint32_t inputs, tokens; /* the most of a BATCH; 0: none is expected */
    uint32_t answer_inputs;  /* exactly these of an ANSWER, and its values; 0: none is expected */
    uint64_t answer_values;
};

struct emb_wire_header emb_wire_hello_header(void);
struct emb_wire_header emb_wire_batch_header(uint64_t sequence, size_t inputs, size_t tokens, bool tasks);
struct emb_wire_header emb_wire_answer_header(uint64_t sequence, size_t inputs, size_t values);

enum emb_wire_state {
    EMB_WIRE_MORE,   /* the frame is not all there */
    EMB_WIRE_FRAME,  /* it is */
    EMB_WIRE_BROKEN, /* no frame starts like this, or it is beyond the limits */
};

/* Looks at bytes[0..size). FRAME: *header is its header, and the payload (header->payload bytes, of any alignment) follows it. */
enum emb_wire_state emb_wire_look(const void *bytes, size_t size, const struct emb_wire_limits *limits,
                                  struct emb_wire_header *header);

/* The most bytes that a frame within limits has. */
size_t emb_wire_most(const struct emb_wire_limits *limits);

/* Takes a payload apart; false where it does not agree with itself: counts of 0, or whose sum is not tokens; tasks that do not exist
 * or do not fit their input; unknown statuses. Room as the header says. */
bool emb_wire_batch(const struct emb_wire_header *header, const void *payload, uint32_t *counts, int32_t *ids,
                    struct emb_task *tasks);
bool emb_wire_answer(const struct emb_wire_header *header, const void *payload, int *statuses, float *vectors);

#endif
