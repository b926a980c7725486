/* The C face of simdjson and std::to_chars. No exception leaves this file: simdjson's error codes are used throughout. */
#include "base/json.h"

#include <charconv>
#include <cstring>
#include <new>

#include <simdjson.h>

extern "C" {
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
}

namespace dom = simdjson::dom;

struct emb_json {
    dom::parser parser;
    dom::element root;
};

/* A handle is simdjson's element (a document and a place on its tape) in C clothes. */
static_assert(sizeof(emb_json_value) == sizeof(dom::element), "a JSON handle holds one simdjson element");
static_assert(std::is_trivially_copyable<dom::element>::value, "a JSON handle is copied as bytes");

static dom::element element(emb_json_value v)
{
    dom::element e;
    std::memcpy(static_cast<void *>(&e), &v, sizeof e);
    return e;
}

static emb_json_value handle(dom::element e)
{
    emb_json_value v;
    std::memcpy(&v, static_cast<const void *>(&e), sizeof v);
    return v;
}

extern "C" int emb_json_parse(struct emb_json **out, const char *text, size_t size, embellama_error *error)
{
    emb_json *json = new (std::nothrow) emb_json;
    if (json == nullptr) {
        return emb_fail_nomem(error);
    }
    simdjson::error_code code = json->parser.parse(text, size, false).get(json->root);
    if (code == simdjson::SUCCESS) {
        *out = json;
        return EMBELLAMA_OK;
    }
    delete json;
    if (code == simdjson::MEMALLOC) {
        return emb_fail_nomem(error);
    }
    return emb_fail(error, EMBELLAMA_E_FORMAT, "invalid JSON: %s", simdjson::error_message(code));
}

extern "C" void emb_json_free(struct emb_json *json)
{
    delete json;
}

extern "C" int emb_json_read(struct emb_json **out, const char *path, size_t limit, embellama_error *error)
{
    char *text = nullptr;
    size_t size = 0;
    int rc = emb_file_read(path, limit, EMB_JSON_PADDING, &text, &size, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    embellama_error why = {};
    rc = emb_json_parse(out, text, size, &why);
    emb_free(text);
    return rc == EMBELLAMA_OK ? rc : emb_fail(error, rc, "%s: %s", path, why.message);
}

/* A double that is a whole number, and one that doubles tell apart from its neighbours: "384.0" and "1e3" are integers as JSON Schema
 * has them, and some programs write all numbers so. */
static bool whole(dom::element e, int64_t *out)
{
    constexpr double exact = 9007199254740992.0; /* 2^53 */
    double d;
    if (e.type() != dom::element_type::DOUBLE || e.get_double().get(d) != simdjson::SUCCESS ||
        !(d >= -exact && d <= exact) || d != static_cast<double>(static_cast<int64_t>(d))) {
        return false;
    }
    *out = static_cast<int64_t>(d);
    return true;
}

extern "C" struct emb_json_value emb_json_root(const struct emb_json *json)
{
    return handle(json->root);
}

extern "C" enum emb_json_type emb_json_type(struct emb_json_value v)
{
    int64_t n;
    switch (element(v).type()) {
    case dom::element_type::ARRAY: return EMB_JSON_ARRAY;
    case dom::element_type::OBJECT: return EMB_JSON_OBJECT;
    case dom::element_type::INT64: return EMB_JSON_INT;
    case dom::element_type::UINT64: return EMB_JSON_NUMBER;
    case dom::element_type::DOUBLE: return whole(element(v), &n) ? EMB_JSON_INT : EMB_JSON_NUMBER;
    case dom::element_type::STRING: return EMB_JSON_STRING;
    case dom::element_type::BOOL: return EMB_JSON_BOOL;
    default: return EMB_JSON_NULL;
    }
}

extern "C" const char *emb_json_type_name(enum emb_json_type type)
{
    switch (type) {
    case EMB_JSON_BOOL: return "a boolean";
    case EMB_JSON_INT: return "an integer";
    case EMB_JSON_NUMBER: return "a number";
    case EMB_JSON_STRING: return "a string";
    case EMB_JSON_ARRAY: return "an array";
    case EMB_JSON_OBJECT: return "an object";
    default: return "null";
    }
}

extern "C" bool emb_json_bool(struct emb_json_value v, bool *out)
{
    return element(v).get_bool().get(*out) == simdjson::SUCCESS;
}

extern "C" bool emb_json_digits(struct emb_json_value v, int64_t *out)
{
    dom::element e = element(v);
    return e.type() == dom::element_type::INT64 && e.get_int64().get(*out) == simdjson::SUCCESS;
}

extern "C" bool emb_json_int(struct emb_json_value v, int64_t *out)
{
    return emb_json_digits(v, out) || whole(element(v), out);
}

extern "C" bool emb_json_number(struct emb_json_value v, double *out)
{
    return element(v).get_double().get(*out) == simdjson::SUCCESS;
}

extern "C" bool emb_json_string(struct emb_json_value v, const char **out, size_t *size)
{
    std::string_view s;
    if (element(v).get_string().get(s) != simdjson::SUCCESS) {
        return false;
    }
    *out = s.data();
    *size = s.size();
    return true;
}

extern "C" bool emb_json_get(struct emb_json_value v, const char *key, struct emb_json_value *out)
{
    bool found = false;
    size_t size = std::strlen(key);
    if (emb_json_type(v) != EMB_JSON_OBJECT) {
        return false;
    }
    for (struct emb_json_iter it = emb_json_iterate(v); emb_json_next(&it);) {
        if (it.key_size == size && std::memcmp(it.key, key, size) == 0) {
            *out = it.value;
            found = true;
        }
    }
    return found;
}

extern "C" bool emb_json_get_bool(struct emb_json_value v, const char *key, bool *out)
{
    struct emb_json_value member;
    return emb_json_get(v, key, &member) && emb_json_bool(member, out);
}

extern "C" bool emb_json_get_int(struct emb_json_value v, const char *key, int64_t *out)
{
    struct emb_json_value member;
    return emb_json_get(v, key, &member) && emb_json_int(member, out);
}

extern "C" bool emb_json_get_number(struct emb_json_value v, const char *key, double *out)
{
    struct emb_json_value member;
    return emb_json_get(v, key, &member) && emb_json_number(member, out);
}

extern "C" bool emb_json_get_string(struct emb_json_value v, const char *key, const char **out, size_t *size)
{
    struct emb_json_value member;
    return emb_json_get(v, key, &member) && emb_json_string(member, out, size);
}

extern "C" size_t emb_json_size(struct emb_json_value v)
{
    size_t n = 0;
    for (struct emb_json_iter it = emb_json_iterate(v); emb_json_next(&it);) {
        n++;
    }
    return n;
}

/* simdjson's iterators are one such handle each, walking the tape. */
using array_iterator = dom::array::iterator;
using object_iterator = dom::object::iterator;
static_assert(sizeof(array_iterator) == sizeof(emb_json_value), "an array iterator is a handle");
static_assert(sizeof(object_iterator) == sizeof(emb_json_value), "an object iterator is a handle");

template <typename Iterator> static Iterator iterator_at(const void *doc, size_t at)
{
    emb_json_value v = {doc, at};
    dom::element seed = element(v);
    Iterator it = {};
    std::memcpy(static_cast<void *>(&it), static_cast<const void *>(&seed), sizeof it);
    return it;
}

template <typename Iterator> static emb_json_value position(const Iterator &it)
{
    emb_json_value v;
    std::memcpy(&v, static_cast<const void *>(&it), sizeof v);
    return v;
}

extern "C" struct emb_json_iter emb_json_iterate(struct emb_json_value v)
{
    struct emb_json_iter it = {};
    dom::element e = element(v);
    dom::array array;
    dom::object object;
    if (e.get_array().get(array) == simdjson::SUCCESS) {
        it.doc = position(array.begin()).doc;
        it.at = position(array.begin()).at;
        it.end = position(array.end()).at;
    } else if (e.get_object().get(object) == simdjson::SUCCESS) {
        it.object = true;
        it.doc = position(object.begin()).doc;
        it.at = position(object.begin()).at;
        it.end = position(object.end()).at;
    }
    return it;
}

extern "C" bool emb_json_next(struct emb_json_iter *it)
{
    if (it->at == it->end) {
        return false;
    }
    if (it->object) {
        object_iterator at = iterator_at<object_iterator>(it->doc, it->at);
        std::string_view key = at.key();
        it->key = key.data();
        it->key_size = key.size();
        it->value = handle(at.value());
        ++at;
        it->at = position(at).at;
    } else {
        array_iterator at = iterator_at<array_iterator>(it->doc, it->at);
        it->value = handle(*at);
        ++at;
        it->at = position(at).at;
    }
    return true;
}

extern "C" size_t emb_json_write_float(float value, char *out)
{
    std::to_chars_result r = std::to_chars(out, out + EMB_FLOAT_CHARS, value);
    return static_cast<size_t>(r.ptr - out);
}
