/* Reading of texts. A text is the document's own bytes, and a copy only where it has to be. */
#include "api/texts.h"

#include <stdio.h>
#include <string.h>

#include "api/members.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { JOINED_MAX = 1 << 30 };

void emb_texts_deinit(struct emb_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        emb_free(texts->items[i].copy);
    }
    emb_free(texts->items);
}

static int refuse_kind(struct emb_json_value v, const char *name, struct emb_refusal *refusal)
{
    return emb_refuse_invalid(refusal, name,
                              "'$.%s' is invalid: it must be a string or an object with a text, but it is %s.", name,
                              emb_member_type(v));
}

/* Values of the fields that the object has, one a line. */
static int join_fields(const struct emb_texts *texts, struct emb_json_value v, const char *name,
                       struct emb_texts_item *item, struct emb_refusal *refusal)
{
    struct emb_buf joined;
    bool any = false;
    emb_buf_init(&joined, JOINED_MAX);
    for (struct emb_json_iter it = emb_json_iterate(texts->fields); emb_json_next(&it);) {
        embellama_text key, value;
        if (emb_json_string(it.value, &key.bytes, &key.size) &&
            emb_json_get_string(v, key.bytes, &value.bytes, &value.size)) {
            emb_buf_puts(&joined, any ? "\n" : "");
            emb_buf_append(&joined, value.bytes, value.size);
            any = true;
        }
    }
    item->text = (embellama_text){.bytes = joined.data ? joined.data : "", .size = joined.size};
    item->copy = any && !joined.failed ? emb_strndup(item->text.bytes, item->text.size) : NULL;
    item->text.bytes = item->copy;
    bool failed = joined.failed;
    emb_buf_deinit(&joined);
    if (!any) {
        return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: it has none of the fields as a string.", name);
    }
    return failed || !item->copy ? emb_refuse_nomem(refusal) : 0;
}

static int read_item(struct emb_texts *texts, struct emb_json_value v, const char *name, struct emb_texts_item *item,
                     struct emb_refusal *refusal)
{
    if (emb_json_string(v, &item->text.bytes, &item->text.size)) {
        return 0;
    }
    if (emb_json_type(v) == EMB_JSON_OBJECT && texts->fields.doc) {
        return join_fields(texts, v, name, item, refusal);
    }
    return emb_json_get_string(v, "text", &item->text.bytes, &item->text.size) ? 0 : refuse_kind(v, name, refusal);
}

static int add(struct emb_texts *texts, struct emb_json_value v, const char *name, struct emb_refusal *refusal)
{
    struct emb_texts_item item = {0};
    if (!emb_grow(&texts->items, &texts->capacity, texts->count + 1, sizeof *texts->items)) {
        return emb_refuse_nomem(refusal);
    }
    if (read_item(texts, v, name, &item, refusal) != 0) {
        return -1;
    }
    if (texts->keep && !item.copy) {
        item.copy = emb_strndup(item.text.bytes, item.text.size);
        item.text.bytes = item.copy;
        if (!item.copy) {
            return emb_refuse_nomem(refusal);
        }
    }
    texts->bytes += sizeof item + (item.copy ? item.text.size : 0);
    texts->items[texts->count++] = item;
    return 0;
}

int emb_texts_read(struct emb_texts *texts, struct emb_json_value v, const char *name, struct emb_refusal *refusal)
{
    enum emb_json_type type = emb_json_type(v);
    char place[64];
    if (texts->single && (type == EMB_JSON_STRING || type == EMB_JSON_OBJECT)) {
        return add(texts, v, name, refusal);
    }
    size_t n = emb_json_size(v);
    if (type != EMB_JSON_ARRAY) {
        return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: it must be %sa list of texts, but it is %s.", name,
                                  texts->single ? "a text or " : "", emb_member_type(v));
    }
    if (n == 0) {
        return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: it is an empty list.", name);
    }
    if (n > texts->most) {
        return emb_refuse_invalid(refusal, name, "'$.%s' is invalid: a request may hold %zu, but this one holds %zu.",
                                  name, texts->most, n);
    }
    for (struct emb_json_iter it = emb_json_iterate(v); emb_json_next(&it);) {
        snprintf(place, sizeof place, "%s[%zu]", name, texts->count);
        if (add(texts, it.value, place, refusal) != 0) {
            return -1;
        }
    }
    return 0;
}

void emb_texts_write(struct emb_buf *out, embellama_text text)
{
    size_t shown = text.size <= EMB_TEXTS_SHOWN ? text.size : emb_utf8_valid_prefix(text.bytes, EMB_TEXTS_SHOWN);
    emb_json_write_string(out, text.bytes, shown);
}
