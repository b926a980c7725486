/* Request ids and trace contexts. */
#include "server/http/request_id.h"

#include <string.h>
#include <uv.h>

static const char digits[] = "0123456789abcdef";

static void take_random(unsigned char *out, size_t size, struct emb_random_pool *pool)
{
    if (pool->left < size) {
        pool->left = uv_random(NULL, NULL, pool->bytes, sizeof pool->bytes, 0, NULL) == 0 ? sizeof pool->bytes : 0;
    }
    if (pool->left < size) {
        memset(out, 0, size);
        return;
    }
    pool->left -= size;
    memcpy(out, pool->bytes + pool->left, size);
}

static void make_uuid(char id[37], struct emb_random_pool *pool)
{
    unsigned char b[16];
    take_random(b, sizeof b, pool);
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *id++ = '-';
        }
        *id++ = digits[b[i] >> 4];
        *id++ = digits[b[i] & 15];
    }
    *id = '\0';
}

static bool id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

void emb_request_id_make(char id[EMB_REQUEST_ID_MAX + 1], struct emb_random_pool *pool, const char *given)
{
    size_t n = 0;
    while (given && n <= EMB_REQUEST_ID_MAX && id_char(given[n])) {
        n++;
    }
    if (n == 0 || n > EMB_REQUEST_ID_MAX || given[n] != '\0') {
        make_uuid(id, pool);
        return;
    }
    memcpy(id, given, n + 1);
}

/* size lower-case hexadecimal digits, not all zero, then end. */
static bool hex_field(const char *text, size_t size, char end)
{
    size_t digit = strspn(text, digits);
    return digit == size && text[size] == end && strspn(text, "0") < size;
}

bool emb_traceparent_valid(const char *text)
{
    return strncmp(text, "00-", 3) == 0 && hex_field(text + 3, 32, '-') && hex_field(text + 36, 16, '-') &&
           strspn(text + 53, digits) == 2 && text[55] == '\0';
}
