/* Errors as JSON. The status is left as it is. */
#include "api/error_styles.h"

#include "base/json_write.h"

static void write_member(struct emb_buf *out, const char *before, const char *value)
{
    emb_buf_puts(out, before);
    emb_json_write_cstring(out, value);
}

int emb_style_common(const struct emb_error *error, struct emb_buf *out)
{
    write_member(out, "{\"error\":{\"message\":", error->message);
    write_member(out, ",\"type\":", error->type);
    write_member(out, ",\"param\":", error->param);
    write_member(out, ",\"code\":", error->code);
    write_member(out, "},\"message\":", error->message);
    write_member(out, ",\"detail\":", error->message);
    write_member(out, ",\"request_id\":", error->request_id);
    emb_buf_puts(out, "}\n");
    return error->status;
}

int emb_style_cohere(const struct emb_error *error, struct emb_buf *out)
{
    write_member(out, "{\"message\":", error->message);
    write_member(out, ",\"id\":", error->request_id);
    emb_buf_puts(out, "}\n");
    return error->status;
}
