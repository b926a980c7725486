/* The description of all routes (OpenAPI 3.1) and the page that shows it, as bytes of the program: openapi/embed.cmake puts them there. */
#ifndef EMB_OPENAPI_H
#define EMB_OPENAPI_H

#include <stddef.h>

extern const unsigned char emb_openapi_json[];
extern const size_t emb_openapi_json_size;

extern const unsigned char emb_openapi_page[];
extern const size_t emb_openapi_page_size;

#endif
