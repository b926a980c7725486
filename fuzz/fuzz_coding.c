/* Content codings: the first byte says which; the rest is decoded within a small limit, and coded and decoded again. The rest is also
 * taken for an Accept-Encoding header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/http/coding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 100000 };

static void check(int ok)
{
    if (!ok) {
        abort();
    }
}

static void decode(enum emb_coding coding, const char *data, size_t size)
{
    struct emb_buf out;
    enum emb_decode got = emb_decode(coding, data, size, MOST, &out);
    check(out.size <= (got == EMB_DECODE_TOO_LARGE ? MOST + 1 : MOST) && got != EMB_DECODE_NOMEM);
    emb_buf_deinit(&out);
}

static void there_and_back(enum emb_coding coding, const char *data, size_t size)
{
    struct emb_buf coded, back;
    struct emb_encoder *e = emb_encoder_new(coding);
    emb_buf_init(&coded, 1 << 22);
    check(e && emb_encode(e, data, size / 2, false, &coded));
    check(emb_encode(e, data + size / 2, size - size / 2, true, &coded));
    check(emb_decode(coding, coded.data, coded.size, size, &back) == EMB_DECODED);
    check(back.size == size && (size == 0 || memcmp(back.data, data, size) == 0));
    emb_encoder_free(e);
    emb_buf_deinit(&coded);
    emb_buf_deinit(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > MOST) {
        return 0;
    }
    enum emb_coding coding = EMB_CODING_GZIP + data[0] % (EMB_CODING_COUNT - EMB_CODING_GZIP);
    char *rest = emb_strndup((const char *)data + 1, size - 1);
    check(rest != NULL);
    decode(coding, rest, size - 1);
    check(emb_coding_choose(rest) < EMB_CODING_COUNT);
    emb_coding_parse(rest, &coding);
    coding = EMB_CODING_GZIP + data[0] % (EMB_CODING_COUNT - EMB_CODING_GZIP);
    there_and_back(coding, rest, size - 1);
    emb_free(rest);
    return 0;
}
