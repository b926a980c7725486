/* A bounded read position in little-endian bytes, with a sticky error: a read past the end gives zeros and marks
 * the cursor, so that a parser checks once per record. */
#ifndef EMB_CURSOR_H
#define EMB_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emb_cursor {
    const uint8_t *data;
    size_t size;
    size_t at; /* stays where it was when a read failed */
    bool failed;
};

void emb_cursor_init(struct emb_cursor *cursor, const uint8_t *data, size_t size);

/* Bytes that remain; 0 once failed. */
size_t emb_cursor_left(const struct emb_cursor *cursor);

/* The next n bytes, which lie in the data, or NULL. */
const uint8_t *emb_cursor_bytes(struct emb_cursor *cursor, uint64_t n);

uint32_t emb_cursor_u32(struct emb_cursor *cursor);
uint64_t emb_cursor_u64(struct emb_cursor *cursor);

/* Unchecked little-endian loads, for bytes that were checked before. */
uint16_t emb_load_u16(const uint8_t *p);
uint32_t emb_load_u32(const uint8_t *p);
uint64_t emb_load_u64(const uint8_t *p);

#endif
