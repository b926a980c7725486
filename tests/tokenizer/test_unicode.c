/* The normaliser and the cutting into words over all code points, in every combination of options,
 * against digests of what the reference makes of them (tools/golden/unicode.py). */
#include <string.h>

#include "support.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/normalize.h"
#include "tokenizer/pretokenize.h"
#include "unicode_digest.h"

enum { BLOCK = 256, TEXT_ROOM = BLOCK * 40 };

/* Two marks that ordering moves and accents' removal leaves: of a high and of a low class. */
#define HIGH "\xE0\xA3\x94"
#define LOW "\xF0\x9E\xA5\x8A"

static uint32_t crc_table[256];

static void make_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? 0xEDB88320U ^ c >> 1 : c >> 1;
        }
        crc_table[i] = c;
    }
}

/* CRC-32 as zlib's. */
static uint32_t crc32(uint32_t crc, const char *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc = crc_table[(crc ^ (unsigned char)data[i]) & 0xFF] ^ crc >> 8;
    }
    return ~crc;
}

static size_t append(char *out, size_t at, const char *s)
{
    size_t size = strlen(s);
    memcpy(out + at, s, size);
    return at + size;
}

/* Each code point of the block alone, between letters, and among marks, with spaces between. */
static size_t block_text(uint32_t start, char *out)
{
    size_t at = 0;
    for (uint32_t c = start; c < start + BLOCK; c++) {
        static const char *const around[3][2] = {{"", " "}, {"a", "b "}, {"x" HIGH, LOW "Y "}};
        for (int i = 0; i < 3; i++) {
            at = append(out, at, around[i][0]);
            at += emb_utf8_encode(c, out + at);
            at = append(out, at, around[i][1]);
        }
    }
    return at - 1;
}

static uint32_t block_digest(const char *text, size_t size)
{
    char *out = emb_alloc(size, EMB_NORMALIZE_ROOM);
    uint32_t crc = 0;
    assert_non_null(out);
    for (unsigned options = 0; options < 16; options++) {
        struct emb_normalizer n = {.clean_text = options & 8,
                                   .chinese_chars = options & 4,
                                   .strip_accents = options & 2,
                                   .lowercase = options & 1};
        emb_normalizer_init(&n);
        size_t length = emb_normalize(&n, text, size, out);
        assert_true(length <= 3 * size);
        crc = crc32(crc, out, length);
        crc = crc32(crc, "\xFF", 1);
        const char *at = out, *word;
        size_t word_size;
        while (emb_pretokenize_next(&at, out + length, &word, &word_size)) {
            crc = crc32(crc, word, word_size);
            crc = crc32(crc, "\xFE", 1);
        }
    }
    emb_free(out);
    return crc;
}

static void all_code_points(void **state)
{
    (void)state;
    static char text[TEXT_ROOM];
    size_t block = 0, bad = 0;
    make_crc_table();
    for (uint32_t start = 0; start < 0x110000; start += BLOCK) {
        if (start >= 0xD800 && start < 0xE000) {
            continue;
        }
        if (block_digest(text, block_text(start, text)) != unicode_digest[block++]) {
            print_error("U+%04X to U+%04X differ from the reference\n", (unsigned)start, (unsigned)(start + BLOCK - 1));
            bad++;
        }
    }
    assert_int_equal(block, sizeof unicode_digest / sizeof *unicode_digest);
    assert_int_equal(bad, 0);
}

/* A code point of U+0000 to U+10FFFF grows threefold at most, alone too: what EMB_NORMALIZE_ROOM promises. */
static void growth(void **state)
{
    (void)state;
    for (unsigned options = 0; options < 16; options++) {
        struct emb_normalizer n = {.clean_text = options & 8,
                                   .chinese_chars = options & 4,
                                   .strip_accents = options & 2,
                                   .lowercase = options & 1};
        emb_normalizer_init(&n);
        for (uint32_t c = 0; c < 0x110000; c++) {
            char in[4], out[4 * EMB_NORMALIZE_ROOM];
            if (c >= 0xD800 && c < 0xE000) {
                continue;
            }
            size_t size = emb_utf8_encode(c, in);
            if (emb_normalize(&n, in, size, out) > 3 * size) {
                fail_msg("U+%04X grows more than threefold", (unsigned)c);
            }
        }
    }
}

/* A run of marks as long as the text, in the worst order, is sorted in place of the run and within the room. */
static void long_run_of_marks(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    size_t size = 0;
    char *text = emb_alloc(COUNT, 4);
    assert_non_null(text);
    for (size_t i = 0; i < COUNT; i++) {
        size = append(text, size, i % 2 ? LOW : HIGH);
    }
    char *out = emb_alloc(size, EMB_NORMALIZE_ROOM);
    assert_non_null(out);
    struct emb_normalizer n = {.strip_accents = true};
    emb_normalizer_init(&n);
    assert_int_equal(emb_normalize(&n, text, size, out), size);
    for (size_t i = 0; i < COUNT / 2; i++) {
        assert_memory_equal(out + i * 4, LOW, 4);
        assert_memory_equal(out + COUNT / 2 * 4 + i * 3, HIGH, 3);
    }
    emb_free(text);
    emb_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_code_points),
        cmocka_unit_test(growth),
        cmocka_unit_test(long_run_of_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
