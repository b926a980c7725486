/* GET /openapi.json and /docs: what the server can be asked, for programs and for people. Whether it is true of the route table and of the
 * replies, tests/api/test_api_openapi.py says. */
#include "api/openapi.h"

#include "api/handlers.h"
#include "server/http/exchange.h"

enum { REPLY_BYTES = 1 << 20 };

static void reply(struct emb_exchange *x, const char *content_type, const unsigned char *bytes, size_t size)
{
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_append(&out, (const char *)bytes, size);
    emb_exchange_reply(x, 200, content_type, &out);
}

void emb_api_openapi(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    reply(x, "application/json", emb_openapi_json, emb_openapi_json_size);
}

/* The page may load nothing and ask nobody but this server. */
void emb_api_docs(struct emb_server *server, struct emb_exchange *x)
{
    (void)server;
    emb_exchange_add_header(x, "content-security-policy",
                            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src "
                            "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    emb_exchange_add_header(x, "x-content-type-options", "nosniff");
    reply(x, "text/html; charset=utf-8", emb_openapi_page, emb_openapi_page_size);
}
