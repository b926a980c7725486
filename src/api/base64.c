/* base64: three bytes to four characters. */
#include "api/base64.h"

#include <stdint.h>

#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are encoded as they lie in memory");

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode(char *to, const unsigned char *from, size_t size)
{
    size_t i = 0;
    for (; i + 2 < size; i += 3) {
        uint32_t bits = (uint32_t)from[i] << 16 | (uint32_t)from[i + 1] << 8 | from[i + 2];
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = alphabet[bits >> 6 & 63];
        *to++ = alphabet[bits & 63];
    }
    if (i < size) {
        bool two = size - i == 2;
        uint32_t bits = (uint32_t)from[i] << 16 | (two ? (uint32_t)from[i + 1] << 8 : 0);
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = two ? alphabet[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
    return to;
}

void emb_base64(struct emb_buf *out, const void *data, size_t size)
{
    size_t room;
    if (!emb_mul(size / 3 + 1, 4, &room)) {
        out->failed = true;
        return;
    }
    char *to = emb_buf_reserve(out, room);
    if (to) {
        emb_buf_commit(out, (size_t)(encode(to, data, size) - to));
    }
}

void emb_base64_floats(struct emb_buf *out, const float *values, size_t n)
{
    size_t bytes;
    if (!emb_mul(n, sizeof *values, &bytes)) {
        out->failed = true;
        return;
    }
    emb_base64(out, values, bytes);
}
