/* Text of log lines: quoting, and logfmt as JSON. */
#include "base/log_line.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"

static const char cut_mark[] = ",\"cut\":true}";

/* Longest number that JSON readers keep exactly as a double. */
enum { NUMBER_BYTES = 15 };

const char *emb_log_quote(const char *text, char *out, unsigned size)
{
    size_t used = 0, left = strlen(text);
    if (size < 3) {
        return "\"\"";
    }
    out[used++] = '"';
    size_t valid = emb_utf8_valid_prefix(text, left);
    while (left > 0 && used + 6 < size) {
        unsigned char c = (unsigned char)*text;
        size_t n = 1;
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
            out[used++] = (char)c;
        } else if (c < 0x20 || c == 0x7F || valid == 0) {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
        } else {
            emb_utf8_decode(text, &n);
            memcpy(out + used, text, n);
            used += n;
        }
        text += n;
        left -= n;
        valid = valid > n ? valid - n : emb_utf8_valid_prefix(text, left);
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}

void emb_log_line_clean(char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F) {
            line[i] = ' ';
        }
    }
    for (size_t at = emb_utf8_valid_prefix(line, size); at < size; at += emb_utf8_valid_prefix(line + at, size - at)) {
        line[at++] = '?';
    }
}

/* ---- JSON ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits(const char *s, size_t size)
{
    size_t n = 0;
    while (n < size && is_digit(s[n])) {
        n++;
    }
    return n;
}

/* RFC 8259's number, without an exponent. */
static bool is_number(const char *s, size_t size)
{
    if (size == 0 || size > NUMBER_BYTES) {
        return false;
    }
    size_t at = s[0] == '-';
    size_t whole = digits(s + at, size - at);
    if (whole == 0 || (whole > 1 && s[at] == '0')) {
        return false;
    }
    at += whole;
    if (at < size && s[at] == '.') {
        size_t fraction = digits(s + at + 1, size - at - 1);
        return fraction > 0 && at + 1 + fraction == size;
    }
    return at == size;
}

struct writer {
    char *out;
    size_t used;
    size_t room;
    bool full;
};

static void put(struct writer *w, const char *text, size_t size)
{
    if (w->full || size > w->room - w->used) {
        w->full = true;
        return;
    }
    memcpy(w->out + w->used, text, size);
    w->used += size;
}

/* The inside of a logfmt value: \" and \\ mean in JSON what they mean here, other backslashes stand for themselves. */
static void put_string(struct writer *w, const char *value, size_t size)
{
    put(w, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        if (value[i] == '\\' && i + 1 < size && (value[i + 1] == '"' || value[i + 1] == '\\')) {
            put(w, value + i++, 2);
        } else if (value[i] == '\\') {
            put(w, "\\\\", 2);
        } else if (value[i] == '"') {
            put(w, "\\\"", 2);
        } else {
            put(w, value + i, 1);
        }
    }
    put(w, "\"", 1);
}

/* End of the quoted value that begins at s[0] = '"': its closing quote, or size. */
static size_t quoted_end(const char *s, size_t size)
{
    size_t at = 1;
    while (at < size && s[at] != '"') {
        at += s[at] == '\\' ? 2 : 1;
    }
    return at < size ? at : size;
}

/* Writes the pair at the line's start, and returns how much of it that was. */
static size_t put_pair(struct writer *w, const char *line, size_t size)
{
    size_t key = 0;
    while (key < size && line[key] != '=' && line[key] != ' ') {
        key++;
    }
    put(w, w->used > 1 ? "," : "", w->used > 1);
    put_string(w, line, key);
    put(w, ":", 1);
    if (key == size || line[key] == ' ') {
        put(w, "true", 4);
        return key;
    }
    const char *value = line + key + 1;
    size_t left = size - key - 1, n = 0;
    if (left > 0 && value[0] == '"') {
        n = quoted_end(value, left);
        put_string(w, value + 1, n - 1);
        return key + 1 + (n < left ? n + 1 : left);
    }
    while (n < left && value[n] != ' ') {
        n++;
    }
    if (is_number(value, n)) {
        put(w, value, n);
    } else {
        put_string(w, value, n);
    }
    return key + 1 + n;
}

size_t emb_log_line_json(const char *line, size_t size, char *out)
{
    struct writer w = {.out = out, .room = EMB_LOG_LINE_MAX - sizeof cut_mark};
    bool cut = false;
    put(&w, "{", 1);
    while (size > 0) {
        if (*line == ' ') {
            line++;
            size--;
            continue;
        }
        size_t before = w.used;
        size_t n = put_pair(&w, line, size);
        if (w.full) {
            w.full = false;
            w.used = before;
            cut = true;
        }
        line += n;
        size -= n;
    }
    w.room = EMB_LOG_LINE_MAX;
    if (cut) {
        put(&w, cut_mark, sizeof cut_mark - 1);
    } else {
        put(&w, "}", 1);
    }
    return w.used;
}
