/* A made-up dialect: {"of": TEXT or a list of texts} is answered with a string a vector, its values divided by spaces. */
#include "api/embed_list.h"
#include "api/handlers.h"
#include "api/members.h"

static int read_texts(struct emb_embed_request *r, struct emb_json_value body)
{
    struct emb_json_value texts;
    if (!emb_member(body, "of", &texts)) {
        return emb_refuse_invalid(&r->refusal, "of", "vectors of what? Send \"of\".");
    }
    return emb_embed_list(r, "of", texts);
}

static void begin(const struct emb_embed_request *r, struct emb_buf *out)
{
    emb_buf_printf(out, "{\"tokens\":%zu,\"lines\":[", r->inputs.tokens);
}

static void write_line(const struct emb_embed_request *r, size_t i, struct emb_buf *out)
{
    const float *vector = emb_embed_vector(r, i);
    emb_buf_puts(out, i == 0 ? "\"" : ",\"");
    for (size_t k = 0; vector && k < r->dimensions; k++) {
        emb_buf_printf(out, k == 0 ? "%.6f" : " %.6f", (double)vector[k]);
    }
    emb_buf_puts(out, "\"");
}

static void end(const struct emb_embed_request *r, struct emb_buf *out)
{
    (void)r;
    emb_buf_puts(out, "]}");
}

void emb_plain_vectors(struct emb_server *server, struct emb_exchange *x)
{
    static const struct emb_embed_dialect dialect = {
        .read = read_texts, .begin = begin, .input = write_line, .end = end};
    emb_embed_serve(server, x, &dialect);
}
