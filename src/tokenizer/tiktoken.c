/* Reading .tiktoken files, and decoding with them. A line is a token's bytes in base64, a blank, and its id; empty lines are passed
 * over. Ids may be in any order and have gaps; an id given twice is an error. */
#include "tokenizer/tiktoken.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

struct entry {
    uint32_t start, size; /* in bytes; size 0: no such id */
};

struct embellama_vocabulary {
    char *bytes;
    size_t bytes_size, bytes_room;
    struct entry *entries; /* by id */
    size_t size, room;
};

void embellama_vocabulary_free(embellama_vocabulary *v)
{
    if (v) {
        emb_free(v->bytes);
        emb_free(v->entries);
        emb_free(v);
    }
}

size_t embellama_vocabulary_size(const embellama_vocabulary *v)
{
    return v->size;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes base64 with its padding into out, which has room for 3/4 of size. False where it is malformed or empty. */
static bool decode_base64(const char *text, size_t size, char *out, size_t *out_size)
{
    if (size == 0 || size % 4 != 0) {
        return false;
    }
    size_t padding = text[size - 1] != '=' ? 0 : text[size - 2] != '=' ? 1 : 2;
    size_t n = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < size - padding; i++) {
        int value = value_of(text[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0) {
            out[n++] = (char)(bits >> (6 - i % 4 * 2) & 0xFF);
        }
    }
    *out_size = n;
    return true;
}

/* The decimal number text[0..size); false where it is none or beyond EMB_TIKTOKEN_MAX_ID. */
static bool parse_id(const char *text, size_t size, uint32_t *out)
{
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text[i] - '0');
        if (value > EMB_TIKTOKEN_MAX_ID) {
            return false;
        }
    }
    *out = value;
    return size > 0;
}

static bool make_room(embellama_vocabulary *v, uint32_t id, size_t bytes)
{
    size_t old = v->room;
    if (!emb_grow(&v->bytes, &v->bytes_room, v->bytes_size + bytes, 1) ||
        !emb_grow(&v->entries, &v->room, (size_t)id + 1, sizeof *v->entries)) {
        return false;
    }
    memset(v->entries + old, 0, (v->room - old) * sizeof *v->entries);
    return true;
}

static int read_line(embellama_vocabulary *v, const char *line, size_t size, size_t number, embellama_error *error)
{
    const char *blank = memchr(line, ' ', size);
    size_t token = blank ? (size_t)(blank - line) : size, decoded;
    uint32_t id;
    if (!blank || !parse_id(blank + 1, size - token - 1, &id)) {
        return emb_fail_at(error, EMBELLAMA_E_FORMAT, number,
                           "line %zu of the vocabulary does not end with a token's id in 0..%d", number,
                           EMB_TIKTOKEN_MAX_ID);
    }
    if (token > EMB_TIKTOKEN_MAX_TOKEN_BYTES / 3 * 4) {
        return emb_fail_at(error, EMBELLAMA_E_FORMAT, number, "token %u of the vocabulary has more than %d bytes", id,
                           EMB_TIKTOKEN_MAX_TOKEN_BYTES / 3 * 3);
    }
    if (!make_room(v, id, token)) {
        return emb_fail_nomem(error);
    }
    if (v->entries[id].size > 0) {
        return emb_fail_at(error, EMBELLAMA_E_FORMAT, number, "line %zu of the vocabulary names id %u a second time",
                           number, id);
    }
    if (!decode_base64(line, token, v->bytes + v->bytes_size, &decoded)) {
        return emb_fail_at(error, EMBELLAMA_E_FORMAT, number,
                           "line %zu of the vocabulary does not begin with a token in base64", number);
    }
    v->entries[id] = (struct entry){(uint32_t)v->bytes_size, (uint32_t)decoded};
    v->bytes_size += decoded;
    v->size = (size_t)id + 1 > v->size ? (size_t)id + 1 : v->size;
    return EMBELLAMA_OK;
}

static int read_lines(embellama_vocabulary *v, const char *text, size_t size, embellama_error *error)
{
    int status = EMBELLAMA_OK;
    if (size > EMB_TIKTOKEN_MAX_BYTES) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the vocabulary has more than %d bytes", EMB_TIKTOKEN_MAX_BYTES);
    }
    for (size_t at = 0, number = 1; at < size && status == EMBELLAMA_OK; number++) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - text) - at : size - at, next = at + length + 1;
        length -= length > 0 && text[at + length - 1] == '\r';
        if (length > 0) {
            status = read_line(v, text + at, length, number, error);
        }
        at = next;
    }
    if (status == EMBELLAMA_OK && v->size == 0) {
        status = emb_fail(error, EMBELLAMA_E_FORMAT, "the vocabulary has no token");
    }
    return status;
}

int emb_tiktoken_parse(embellama_vocabulary **out, const char *text, size_t size, embellama_error *error)
{
    embellama_vocabulary *v = emb_calloc(1, sizeof *v);
    int status = v ? read_lines(v, text, size, error) : emb_fail_nomem(error);
    if (status != EMBELLAMA_OK) {
        embellama_vocabulary_free(v);
        return status;
    }
    *out = v;
    return EMBELLAMA_OK;
}

int embellama_vocabulary_open(embellama_vocabulary **out, const char *path, embellama_error *error)
{
    char *text = NULL;
    size_t size = 0;
    if (!out || !path) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "no vocabulary file given");
    }
    int status = emb_file_read(path, EMB_TIKTOKEN_MAX_BYTES, 0, &text, &size, error);
    if (status == EMBELLAMA_OK) {
        status = emb_tiktoken_parse(out, text, size, error);
    }
    emb_free(text);
    return status;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

/* Bytes in, UTF-8 out: a sequence that breaks off, as far as it could have gone on, becomes one U+FFFD, and so does a byte that begins
 * none (The Unicode Standard, section 3.9, "U+FFFD substitution of maximal subparts"; what Python's errors="replace" does). */
struct sink {
    char *text;
    size_t capacity, size;
    char begun[4]; /* a sequence that is not complete */
    size_t begun_size, length;
    unsigned char low, high; /* of the next byte */
};

static void put_bytes(struct sink *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++, s->size++) {
        if (s->size < s->capacity) {
            s->text[s->size] = bytes[i];
        }
    }
}

static void write_replacement(struct sink *s)
{
    put_bytes(s, "\xEF\xBF\xBD", 3);
}

/* A byte that stands where a sequence begins. */
static void begin(struct sink *s, unsigned char b)
{
    char byte = (char)b;
    if (b < 0x80) {
        put_bytes(s, &byte, 1);
    } else if (b < 0xC2 || b > 0xF4) {
        write_replacement(s);
    } else {
        s->begun[0] = byte;
        s->begun_size = 1;
        s->length = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
        s->low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
        s->high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    }
}

static void feed(struct sink *s, unsigned char b)
{
    if (s->begun_size == 0) {
        begin(s, b);
    } else if (b < s->low || b > s->high) {
        write_replacement(s);
        s->begun_size = 0;
        begin(s, b);
    } else {
        s->begun[s->begun_size++] = (char)b;
        s->low = 0x80;
        s->high = 0xBF;
        if (s->begun_size == s->length) {
            put_bytes(s, s->begun, s->length);
            s->begun_size = 0;
        }
    }
}

int embellama_vocabulary_decode(const embellama_vocabulary *v, embellama_ids ids, char *text, size_t capacity,
                                size_t *size, embellama_error *error)
{
    struct sink s = {.text = text, .capacity = capacity};
    for (size_t i = 0; i < ids.count; i++) {
        int32_t id = ids.ids[i];
        if (id < 0 || (size_t)id >= v->size || v->entries[id].size == 0) {
            return emb_fail_at(error, EMBELLAMA_E_TOKEN_ID, i,
                               "token id %d at position %zu is not in the vocabulary that token ids are decoded with",
                               id, i);
        }
        const struct entry *entry = &v->entries[id];
        for (uint32_t k = 0; k < entry->size; k++) {
            feed(&s, (unsigned char)v->bytes[entry->start + k]);
        }
    }
    if (s.begun_size > 0) {
        write_replacement(&s);
    }
    *size = s.size;
    return EMBELLAMA_OK;
}
