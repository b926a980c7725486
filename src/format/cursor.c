/* Bounded reading. */
#include "format/cursor.h"

void emb_cursor_init(struct emb_cursor *cursor, const uint8_t *data, size_t size)
{
    *cursor = (struct emb_cursor){.data = data, .size = size};
}

size_t emb_cursor_left(const struct emb_cursor *cursor)
{
    return cursor->failed ? 0 : cursor->size - cursor->at;
}

const uint8_t *emb_cursor_bytes(struct emb_cursor *cursor, uint64_t n)
{
    if (cursor->failed || n > cursor->size - cursor->at) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *p = cursor->data + cursor->at;
    cursor->at += (size_t)n;
    return p;
}

uint32_t emb_cursor_u32(struct emb_cursor *cursor)
{
    const uint8_t *p = emb_cursor_bytes(cursor, 4);
    return p ? emb_load_u32(p) : 0;
}

uint64_t emb_cursor_u64(struct emb_cursor *cursor)
{
    const uint8_t *p = emb_cursor_bytes(cursor, 8);
    return p ? emb_load_u64(p) : 0;
}

uint16_t emb_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t emb_load_u32(const uint8_t *p)
{
    return (uint32_t)emb_load_u16(p) | (uint32_t)emb_load_u16(p + 2) << 16;
}

uint64_t emb_load_u64(const uint8_t *p)
{
    return (uint64_t)emb_load_u32(p) | (uint64_t)emb_load_u32(p + 4) << 32;
}
