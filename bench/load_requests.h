/* What the load client sends and what must come back: requests made of a file of texts, each made once, and the vectors that the
 * answers are compared with.
 *
 * A text's vector is right when it equals, value for value, that of a reference file, or that of the text's first answer; or
 * when its cosine to it reaches a bound. Knows nothing of sockets. */
#ifndef BENCH_LOAD_REQUESTS_H
#define BENCH_LOAD_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_request_options {
    const char *texts;         /* file: a text a line, or JSON objects with a member "text" */
    size_t per_request;        /* texts of one request; more than there are texts: they repeat */
    const char *host;          /* for the Host header */
    const char *path;          /* of the URL */
    const char *model;         /* "model" of the body */
    bool base64;               /* encoding_format */
    const char *const *header; /* [headers], "name: value" */
    size_t headers;
    bool verify; /* compare vectors at all */
    const char
        *reference; /* .npy or raw f32, a row a text from the first on (there may be fewer), or NULL: first answers */
    double cosine;  /* bound; 0: bit for bit */
};

struct load_bytes {
    char *data;
    size_t size;
};

struct load_requests {
    struct load_request_options options;
    struct load_bytes *requests; /* [n], whole: head and body. Number i % n is sent as the i-th. */
    size_t n;
    struct load_bytes *texts; /* [text_count], as JSON strings */
    size_t text_count;
    float *reference; /* [reference_rows, dim], or NULL */
    size_t reference_rows;
    size_t dim;
    struct load_bytes *first; /* [text_count], the text's vector as its first answer had it, or nothing yet */
};

/* What an answer's body held. */
struct load_answer {
    size_t vectors;
    size_t wrong;        /* of them, by the reference */
    size_t absent;       /* vectors that are null, or missing */
    uint64_t tokens;     /* usage.prompt_tokens */
    double worst_cosine; /* 1 where nothing was compared */
};

/* Reads the texts and makes the requests. Prints what is wrong, and ends the program. */
void load_requests_init(struct load_requests *r, const struct load_request_options *options);
void load_requests_deinit(struct load_requests *r);

/* Looks at the answer, of status 200, to requests[request]. body has a zero behind its end. */
void load_check(struct load_requests *r, size_t request, const char *body, size_t size, struct load_answer *answer);

/* Writes the first answers' vectors as raw f32; false where a text has none. */
bool load_save_vectors(const struct load_requests *r, const char *path);

_Noreturn void load_die(const char *what, const char *why);
void *load_need(void *memory);

#endif
