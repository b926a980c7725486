/* The reading of bodies: content types, and the search for what is wrong in a text that does not parse. */
#include "api/body_json.h"

#include <string.h>
#include <strings.h>

#include "base/status.h"
#include "base/utf8.h"

bool emb_body_is_json(const char *content_type)
{
    if (!content_type) {
        return true;
    }
    size_t size = strcspn(content_type, "; \t");
    if (size == 0) {
        return true;
    }
    const char *slash = memchr(content_type, '/', size);
    if (!slash) {
        return false;
    }
    const char *subtype = slash + 1;
    size_t length = size - (size_t)(subtype - content_type);
    bool whole = length == 4 && strncasecmp(subtype, "json", 4) == 0;
    bool suffix = length > 5 && strncasecmp(subtype + length - 5, "+json", 5) == 0;
    return whole || suffix;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Value of the escape \uXXXX at text[0..size), or -1. */
static int escape(const char *text, size_t size)
{
    int value = 0;
    if (size < 6 || text[0] != '\\' || text[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < 6; i++) {
        int digit = hex(text[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Place of the first escape that is half a surrogate pair without the other half, or size. */
static size_t lone_surrogate(const char *text, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++) {
        if (text[i] != '\\') {
            continue;
        }
        int value = escape(text + i, size - i);
        if (value >= 0xD800 && value < 0xDC00) {
            int low = escape(text + i + 6, size - i - 6);
            if (low < 0xDC00 || low > 0xDFFF) {
                return i;
            }
            i += 11;
        } else if (value >= 0xDC00 && value <= 0xDFFF) {
            return i;
        } else {
            i++;
        }
    }
    return size;
}

int emb_body_parse(struct emb_json **out, const char *body, size_t size, embellama_error *error)
{
    if (size == 0) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the body is empty");
    }
    int rc = emb_json_parse(out, body, size, error);
    if (rc != EMBELLAMA_E_FORMAT) {
        return rc;
    }
    size_t valid = emb_utf8_valid_prefix(body, size);
    if (valid < size) {
        return emb_fail_at(error, rc, valid, "byte %zu of the body is not valid UTF-8", valid);
    }
    size_t at = lone_surrogate(body, size);
    if (at < size) {
        return emb_fail_at(
            error, rc, at,
            "the escape %.6s at byte %zu is a lone surrogate, half of a pair, and stands for no character", body + at,
            at);
    }
    return rc;
}
