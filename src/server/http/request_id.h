/* Names of requests: the client's where it gives a sane one, else a random UUID; and W3C trace contexts. */
#ifndef EMB_REQUEST_ID_H
#define EMB_REQUEST_ID_H

#include <stdbool.h>
#include <stddef.h>

enum { EMB_REQUEST_ID_MAX = 128 };

/* Random bytes taken from the kernel many at a time. Start zeroed; for one thread. */
struct emb_random_pool {
    size_t left;
    unsigned char bytes[4096];
};

/* Sets id to given if that is 1 to 128 characters of [A-Za-z0-9._-], else (NULL too) to a UUID v4. */
void emb_request_id_make(char id[EMB_REQUEST_ID_MAX + 1], struct emb_random_pool *pool, const char *given);

/* Whether text is a valid traceparent of version 00 (W3C Trace Context, 3.2). Its trace id are the 32 characters from the fourth. */
bool emb_traceparent_valid(const char *text);

#endif
