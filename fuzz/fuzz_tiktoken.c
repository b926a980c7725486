/* A .tiktoken file, a zero byte and token ids of four bytes each: reads the one and decodes the others. What comes out must be valid
 * UTF-8 and as long as said. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tiktoken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IDS_MAX = 256, TEXT_MAX = IDS_MAX * EMB_TIKTOKEN_MAX_TOKEN_BYTES * 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_MAX];
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t file = zero ? (size_t)(zero - data) : size, rest = zero ? size - file - 1 : 0;
    int32_t ids[IDS_MAX];
    size_t count = rest / sizeof *ids < IDS_MAX ? rest / sizeof *ids : IDS_MAX, length = 0, again = 0;
    embellama_vocabulary *v = NULL;
    embellama_error error;
    if (emb_tiktoken_parse(&v, (const char *)data, file, &error) != 0) {
        if (v || !memchr(error.message, 0, sizeof error.message) || error.message[0] == 0) {
            abort();
        }
        return 0;
    }
    if (count > 0) {
        memcpy(ids, zero + 1, count * sizeof *ids);
    }
    embellama_ids all = {ids, count};
    if (embellama_vocabulary_decode(v, all, text, sizeof text, &length, &error) != 0) {
        all.count = (size_t)error.offset; /* those before the unknown one */
        if (error.offset >= count || embellama_vocabulary_decode(v, all, text, sizeof text, &length, &error) != 0) {
            abort();
        }
    }
    if (length > sizeof text || emb_utf8_valid_prefix(text, length) != length ||
        embellama_vocabulary_decode(v, all, NULL, 0, &again, &error) != 0 || again != length) {
        abort();
    }
    embellama_vocabulary_free(v);
    return 0;
}
