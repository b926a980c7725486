/* JSON in, as a tree to read; and the shortest decimal of a float out.
 *
 * A C face over simdjson's DOM and std::to_chars (json.cpp is the only C++ file). Values are small handles by value; they and
 * the strings they give live as long as their document. Of duplicate keys the last counts. A lone surrogate (\ud800) makes the
 * whole document invalid, as do bytes that are not UTF-8. */
#ifndef EMB_JSON_H
#define EMB_JSON_H

#include "embellama/embellama.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero bytes that must follow the text handed to emb_json_parse. */
#define EMB_JSON_PADDING 64

struct emb_json; /* a parsed document */

struct emb_json_value {
    const void *doc;
    size_t at;
};

enum emb_json_type {
    EMB_JSON_NULL,
    EMB_JSON_BOOL,
    EMB_JSON_INT,    /* a whole number that fits int64_t, "7.0" too */
    EMB_JSON_NUMBER, /* any other number */
    EMB_JSON_STRING,
    EMB_JSON_ARRAY,
    EMB_JSON_OBJECT,
};

/* Parses text[0..size), behind which at least EMB_JSON_PADDING readable zero bytes must follow. The text may be freed
 * afterwards. Errors: E_FORMAT with a message that says what is wrong, E_NOMEM. Takes about five times the text in memory. */
int emb_json_parse(struct emb_json **out, const char *text, size_t size, embellama_error *error);
void emb_json_free(struct emb_json *json);

/* Reads and parses a file of at most limit bytes. Messages name the file. */
int emb_json_read(struct emb_json **out, const char *path, size_t limit, embellama_error *error);

struct emb_json_value emb_json_root(const struct emb_json *json);
enum emb_json_type emb_json_type(struct emb_json_value v);
const char *emb_json_type_name(enum emb_json_type type); /* "an array" */

/* Typed reads: false, and *out untouched, where the value has another type. number also takes integers. The string is
 * zero-ended and may hold zeros of its own. */
bool emb_json_bool(struct emb_json_value v, bool *out);
bool emb_json_int(struct emb_json_value v, int64_t *out);

/* emb_json_int for file formats that know no "7.0": digits only. */
bool emb_json_digits(struct emb_json_value v, int64_t *out);
bool emb_json_number(struct emb_json_value v, double *out);
bool emb_json_string(struct emb_json_value v, const char **out, size_t *size);

/* Member of an object by key; false where v is no object or has no such key. */
bool emb_json_get(struct emb_json_value v, const char *key, struct emb_json_value *out);

/* The same with a read: false also where the member has another type. */
bool emb_json_get_bool(struct emb_json_value v, const char *key, bool *out);
bool emb_json_get_int(struct emb_json_value v, const char *key, int64_t *out);
bool emb_json_get_number(struct emb_json_value v, const char *key, double *out);
bool emb_json_get_string(struct emb_json_value v, const char *key, const char **out, size_t *size);

/* Elements of an array or members of an object, counted; 0 for other values. */
size_t emb_json_size(struct emb_json_value v);

/* Iteration over an array or object:
 *     for (struct emb_json_iter it = emb_json_iterate(v); emb_json_next(&it);) use(it.key, it.value); */
struct emb_json_iter {
    const char *key; /* object: the member's name, zero-ended; array: NULL */
    size_t key_size;
    struct emb_json_value value;
    const void *doc; /* private from here on */
    size_t at, end;
    bool object;
};
struct emb_json_iter emb_json_iterate(struct emb_json_value v);
bool emb_json_next(struct emb_json_iter *it);

/* Writes the shortest decimal that reads back as value (finite) to out[0..16) and returns its length; not zero-ended. */
#define EMB_FLOAT_CHARS 16
size_t emb_json_write_float(float value, char *out);

#ifdef __cplusplus
}
#endif
#endif
