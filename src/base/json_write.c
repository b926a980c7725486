/* JSON strings: runs that need no escape are copied whole. */
#include "base/json_write.h"

#include <string.h>

#include "base/utf8.h"

static bool plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7F;
}

static void write_escape(struct emb_buf *buf, unsigned char c)
{
    switch (c) {
    case '"': emb_buf_append(buf, "\\\"", 2); break;
    case '\\': emb_buf_append(buf, "\\\\", 2); break;
    case '\n': emb_buf_append(buf, "\\n", 2); break;
    case '\r': emb_buf_append(buf, "\\r", 2); break;
    case '\t': emb_buf_append(buf, "\\t", 2); break;
    default: emb_buf_printf(buf, "\\u%04x", c);
    }
}

static void write_valid(struct emb_buf *buf, const char *text, size_t size)
{
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!plain(c)) {
            emb_buf_append(buf, text + from, i - from);
            write_escape(buf, c);
            from = i + 1;
        }
    }
    emb_buf_append(buf, text + from, size - from);
}

void emb_json_write_string(struct emb_buf *buf, const char *text, size_t size)
{
    emb_buf_append(buf, "\"", 1);
    while (size > 0) {
        size_t valid = emb_utf8_valid_prefix(text, size);
        write_valid(buf, text, valid);
        text += valid;
        size -= valid;
        if (size > 0) {
            emb_buf_puts(buf, "\xEF\xBF\xBD");
            text++;
            size--;
        }
    }
    emb_buf_append(buf, "\"", 1);
}

void emb_json_write_cstring(struct emb_buf *buf, const char *text)
{
    if (text) {
        emb_json_write_string(buf, text, strlen(text));
    } else {
        emb_buf_puts(buf, "null");
    }
}
