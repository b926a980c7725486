/* Three libraries behind one loop: each takes what it can of the input and fills what it is given of the output. */
#include "server/http/coding.h"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_customMem */
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"

enum {
    STEP = 65536,         /* room made for output at once */
    GZIP_BITS = 15 + 16,  /* zlib's way to ask for gzip */
    ZSTD_WINDOW_LOG = 23, /* 8 MiB, what RFC 8878 asks decoders to take */
    GZIP_LEVEL = 1,
    BR_QUALITY = 1,
    BR_WINDOW_LOG = 18,
    ZSTD_LEVEL = 1,
};

static const char *const names[EMB_CODING_COUNT] = {"identity", "gzip", "deflate", "br", "zstd"};

/* ---- Names ---- */

const char *emb_coding_name(enum emb_coding coding)
{
    return names[coding];
}

static enum emb_coding find(const char *name, size_t size)
{
    if (size == 6 && strncasecmp(name, "x-gzip", 6) == 0) {
        return EMB_CODING_GZIP;
    }
    for (int i = 0; i < EMB_CODING_COUNT; i++) {
        if (strlen(names[i]) == size && strncasecmp(names[i], name, size) == 0) {
            return (enum emb_coding)i;
        }
    }
    return EMB_CODING_COUNT;
}

bool emb_coding_parse(const char *header, enum emb_coding *coding)
{
    *coding = header && *header ? find(header, strlen(header)) : EMB_CODING_IDENTITY;
    return *coding != EMB_CODING_COUNT;
}

/* A quality in thousandths; what is malformed counts as nothing. */
static int quality_of(const char *text, size_t size)
{
    int value = 0, unit = 100;
    if (size == 0 || (text[0] != '0' && text[0] != '1') || (size > 1 && text[1] != '.') || size > 5) {
        return 0;
    }
    for (size_t i = 2; i < size; i++, unit /= 10) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        value += (text[i] - '0') * unit;
    }
    return text[0] == '1' ? 1000 : value;
}

/* One member of the list: its name, cut to *size, and its quality. */
static int read_member(const char *member, size_t *size)
{
    size_t length = *size, end = 0;
    int quality = 1000;
    const char *parameter = memchr(member, ';', length);
    *size = parameter ? (size_t)(parameter - member) : length;
    while (*size > 0 && (member[*size - 1] == ' ' || member[*size - 1] == '\t')) {
        --*size;
    }
    while (parameter) {
        size_t left = length - (size_t)(parameter - member), skipped = 1;
        while (skipped < left && (parameter[skipped] == ' ' || parameter[skipped] == '\t')) {
            skipped++;
        }
        const char *at = parameter + skipped;
        left -= skipped;
        const char *next = memchr(at, ';', left);
        end = next ? (size_t)(next - at) : left;
        while (end > 0 && (at[end - 1] == ' ' || at[end - 1] == '\t')) {
            end--;
        }
        if (end >= 2 && (at[0] == 'q' || at[0] == 'Q') && at[1] == '=') {
            quality = quality_of(at + 2, end - 2);
        }
        parameter = next;
    }
    return quality;
}

enum emb_coding emb_coding_choose(const char *header)
{
    /* By speed at the same size, as measured; identity last, as it is what is left. */
    static const enum emb_coding order[] = {EMB_CODING_ZSTD, EMB_CODING_BR, EMB_CODING_GZIP, EMB_CODING_DEFLATE};
    int qualities[EMB_CODING_COUNT], others = -1, best_quality = 0;
    enum emb_coding best = EMB_CODING_IDENTITY;
    for (size_t i = 0; i < EMB_CODING_COUNT; i++) {
        qualities[i] = -1;
    }
    for (const char *at = header ? header : ""; *at;) {
        at += strspn(at, " \t,");
        size_t length = strcspn(at, ","), size = length;
        int quality = read_member(at, &size);
        enum emb_coding coding = find(at, size);
        if (coding != EMB_CODING_COUNT) {
            qualities[coding] = quality;
        } else if (size == 1 && *at == '*') {
            others = quality;
        }
        at += length;
    }
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        int quality = qualities[order[i]] >= 0 ? qualities[order[i]] : others;
        if (quality > best_quality) {
            best = order[i];
            best_quality = quality;
        }
    }
    return qualities[EMB_CODING_IDENTITY] > best_quality ? EMB_CODING_IDENTITY : best;
}

/* ---- Memory ---- */

static void *zlib_take(void *arg, unsigned n, unsigned size)
{
    (void)arg;
    return emb_calloc(n, size);
}

static void zlib_give(void *arg, void *p)
{
    (void)arg;
    emb_free(p);
}

static void *take(void *arg, size_t size)
{
    (void)arg;
    return emb_alloc(size, 1);
}

static const ZSTD_customMem zstd_memory = {.customAlloc = take, .customFree = zlib_give};

/* ---- Decoding ---- */

/* Room for the next output: at most what most leaves, and one byte to see that there is more. NULL: no memory. */
static char *make_room(struct emb_buf *out, size_t most, size_t *room)
{
    size_t left = most - out->size;
    *room = left < STEP ? left + 1 : STEP;
    return emb_buf_reserve(out, *room);
}

static enum emb_decode decode_zlib(int bits, const char *data, size_t size, size_t most, struct emb_buf *out)
{
    z_stream z = {.zalloc = zlib_take, .zfree = zlib_give};
    enum emb_decode result = EMB_DECODE_BROKEN;
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (unsigned)size;
    int status = inflateInit2(&z, bits);
    while (status == Z_OK) {
        size_t room;
        char *to = make_room(out, most, &room);
        if (!to) {
            status = Z_MEM_ERROR;
            break;
        }
        z.next_out = (unsigned char *)to;
        z.avail_out = (unsigned)room;
        status = inflate(&z, Z_NO_FLUSH);
        emb_buf_commit(out, room - z.avail_out);
        if (out->size > most) {
            result = EMB_DECODE_TOO_LARGE;
            break;
        }
        bool starved = z.avail_in == 0 && z.avail_out > 0;
        status = status == Z_OK && starved ? Z_DATA_ERROR : status;
    }
    if (result == EMB_DECODE_BROKEN && status == Z_STREAM_END && z.avail_in == 0) {
        result = EMB_DECODED;
    } else if (status == Z_MEM_ERROR) {
        result = EMB_DECODE_NOMEM;
    }
    inflateEnd(&z);
    return result;
}

/* RFC 9110 means zlib's format by "deflate"; some send the bare stream. */
static enum emb_decode decode_deflate(const char *data, size_t size, size_t most, struct emb_buf *out)
{
    const unsigned char *d = (const unsigned char *)data;
    bool framed = size >= 2 && (d[0] & 0x0F) == 8 && (d[0] >> 4) <= 7 && (d[0] * 256u + d[1]) % 31 == 0;
    return decode_zlib(framed ? 15 : -15, data, size, most, out);
}

static enum emb_decode decode_brotli(const char *data, size_t size, size_t most, struct emb_buf *out)
{
    BrotliDecoderState *b = BrotliDecoderCreateInstance(take, zlib_give, NULL);
    const uint8_t *in = (const uint8_t *)data;
    enum emb_decode result = b ? EMB_DECODE_BROKEN : EMB_DECODE_NOMEM;
    BrotliDecoderResult status = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    while (b && status == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
        size_t room, asked;
        uint8_t *to = (uint8_t *)make_room(out, most, &room);
        asked = room;
        if (!to) {
            result = EMB_DECODE_NOMEM;
            break;
        }
        status = BrotliDecoderDecompressStream(b, &size, &in, &room, &to, NULL);
        emb_buf_commit(out, asked - room);
        if (out->size > most) {
            result = EMB_DECODE_TOO_LARGE;
            break;
        }
    }
    if (status == BROTLI_DECODER_RESULT_SUCCESS && size == 0 && result == EMB_DECODE_BROKEN) {
        result = EMB_DECODED;
    } else if (b && status == BROTLI_DECODER_RESULT_ERROR) {
        BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(b);
        bool memory =
            code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
        result = memory ? EMB_DECODE_NOMEM : EMB_DECODE_BROKEN;
    }
    BrotliDecoderDestroyInstance(b);
    return result;
}

static enum emb_decode decode_zstd(const char *data, size_t size, size_t most, struct emb_buf *out)
{
    ZSTD_DCtx *z = ZSTD_createDCtx_advanced(zstd_memory);
    ZSTD_inBuffer in = {.src = data, .size = size};
    enum emb_decode result = z ? EMB_DECODE_BROKEN : EMB_DECODE_NOMEM;
    size_t left = z ? ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG) + 1 : 0;
    while (left != 0) {
        size_t room;
        char *at = make_room(out, most, &room);
        ZSTD_outBuffer to = {.dst = at, .size = room};
        if (!at) {
            result = EMB_DECODE_NOMEM;
            break;
        }
        left = ZSTD_decompressStream(z, &to, &in);
        emb_buf_commit(out, ZSTD_isError(left) ? 0 : to.pos);
        if (ZSTD_isError(left)) {
            result = ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? EMB_DECODE_NOMEM : EMB_DECODE_BROKEN;
            break;
        }
        if (out->size > most) {
            result = EMB_DECODE_TOO_LARGE;
            break;
        }
        if (left == 0 && in.pos < in.size) {
            left = 1; /* another frame follows, which the format allows */
        } else if (in.pos == in.size && to.pos < to.size) {
            result = left == 0 ? EMB_DECODED : EMB_DECODE_BROKEN;
            break;
        } else if (left == 0) {
            result = EMB_DECODED;
        }
    }
    ZSTD_freeDCtx(z);
    return result;
}

enum emb_decode emb_decode(enum emb_coding coding, const char *data, size_t size, size_t most, struct emb_buf *out)
{
    emb_buf_init(out, most + 1);
    if (size > UINT32_MAX) {
        return EMB_DECODE_TOO_LARGE;
    }
    switch (coding) {
    case EMB_CODING_GZIP: return decode_zlib(GZIP_BITS, data, size, most, out);
    case EMB_CODING_DEFLATE: return decode_deflate(data, size, most, out);
    case EMB_CODING_BR: return decode_brotli(data, size, most, out);
    case EMB_CODING_ZSTD: return decode_zstd(data, size, most, out);
    default: return EMB_DECODE_BROKEN;
    }
}

/* ---- Encoding ---- */

/* What brotli's encoder took. Where it is told that there is no memory, Debian's build ends the process: so it is left by a jump
 * instead, and what it had is given back here. */
struct block {
    struct block *next, *previous;
};

struct jumper {
    struct block blocks; /* the head of a ring */
    jmp_buf out;
};

struct emb_encoder {
    enum emb_coding coding;
    struct jumper jumper;
    z_stream zlib;
    BrotliEncoderState *brotli;
    ZSTD_CCtx *zstd;
};

static void *take_or_jump(void *arg, size_t size)
{
    struct jumper *j = arg;
    size_t whole;
    struct block *b = emb_add(size, sizeof *b, &whole) ? emb_alloc(whole, 1) : NULL;
    if (!b) {
        longjmp(j->out, 1);
    }
    *b = (struct block){.next = j->blocks.next, .previous = &j->blocks};
    b->next->previous = b;
    j->blocks.next = b;
    return b + 1;
}

static void give_back(void *arg, void *p)
{
    (void)arg;
    if (p) {
        struct block *b = (struct block *)p - 1;
        b->next->previous = b->previous;
        b->previous->next = b->next;
        emb_free(b);
    }
}

static void forget_brotli(struct emb_encoder *e)
{
    while (e->jumper.blocks.next != &e->jumper.blocks) {
        give_back(NULL, e->jumper.blocks.next + 1);
    }
    e->brotli = NULL;
}

static bool set_up_brotli(struct emb_encoder *e)
{
    e->jumper.blocks.next = e->jumper.blocks.previous = &e->jumper.blocks;
    if (setjmp(e->jumper.out) != 0) {
        forget_brotli(e);
        return false;
    }
    e->brotli = BrotliEncoderCreateInstance(take_or_jump, give_back, &e->jumper);
    return e->brotli && BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_QUALITY, BR_QUALITY) &&
           BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_LGWIN, BR_WINDOW_LOG);
}

static bool set_up(struct emb_encoder *e)
{
    int bits = e->coding == EMB_CODING_GZIP ? GZIP_BITS : 15;
    switch (e->coding) {
    case EMB_CODING_GZIP:
    case EMB_CODING_DEFLATE:
        e->zlib.zalloc = zlib_take;
        e->zlib.zfree = zlib_give;
        return deflateInit2(&e->zlib, GZIP_LEVEL, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    case EMB_CODING_BR: return set_up_brotli(e);
    case EMB_CODING_ZSTD:
        e->zstd = ZSTD_createCCtx_advanced(zstd_memory);
        return e->zstd && !ZSTD_isError(ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL));
    default: return false;
    }
}

struct emb_encoder *emb_encoder_new(enum emb_coding coding)
{
    struct emb_encoder *e = emb_calloc(1, sizeof *e);
    if (e) {
        e->coding = coding;
        if (!set_up(e)) {
            emb_encoder_free(e);
            e = NULL;
        }
    }
    return e;
}

void emb_encoder_free(struct emb_encoder *e)
{
    if (e) {
        deflateEnd(&e->zlib);
        if (e->brotli) {
            BrotliEncoderDestroyInstance(e->brotli);
        }
        ZSTD_freeCCtx(e->zstd);
        emb_free(e);
    }
}

static bool encode_zlib(struct emb_encoder *e, const char *data, size_t size, bool last, struct emb_buf *out)
{
    int status = Z_OK;
    e->zlib.next_in = (unsigned char *)(uintptr_t)data;
    e->zlib.avail_in = (unsigned)size;
    do {
        char *to = emb_buf_reserve(out, STEP);
        if (!to) {
            return false;
        }
        e->zlib.next_out = (unsigned char *)to;
        e->zlib.avail_out = STEP;
        status = deflate(&e->zlib, last ? Z_FINISH : Z_NO_FLUSH);
        emb_buf_commit(out, STEP - e->zlib.avail_out);
    } while (status == Z_OK && (last || e->zlib.avail_out == 0));
    return last ? status == Z_STREAM_END : (status == Z_OK || status == Z_BUF_ERROR) && e->zlib.avail_in == 0;
}

static bool encode_brotli(struct emb_encoder *e, const char *data, size_t size, bool last, struct emb_buf *out)
{
    const uint8_t *in = (const uint8_t *)data;
    BrotliEncoderOperation operation = last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS;
    if (!e->brotli || setjmp(e->jumper.out) != 0) {
        forget_brotli(e);
        return false;
    }
    do {
        size_t room = STEP;
        uint8_t *to = (uint8_t *)emb_buf_reserve(out, STEP);
        if (!to || !BrotliEncoderCompressStream(e->brotli, operation, &size, &in, &room, &to, NULL)) {
            return false;
        }
        emb_buf_commit(out, STEP - room);
    } while (size > 0 || BrotliEncoderHasMoreOutput(e->brotli));
    return !last || BrotliEncoderIsFinished(e->brotli);
}

static bool encode_zstd(struct emb_encoder *e, const char *data, size_t size, bool last, struct emb_buf *out)
{
    ZSTD_inBuffer in = {.src = data, .size = size};
    size_t left;
    do {
        ZSTD_outBuffer to = {.dst = emb_buf_reserve(out, STEP), .size = STEP};
        if (!to.dst) {
            return false;
        }
        left = ZSTD_compressStream2(e->zstd, &to, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) {
            return false;
        }
        emb_buf_commit(out, to.pos);
    } while (in.pos < in.size || (last && left > 0));
    return true;
}

bool emb_encode(struct emb_encoder *e, const char *data, size_t size, bool last, struct emb_buf *out)
{
    switch (e->coding) {
    case EMB_CODING_BR: return encode_brotli(e, data, size, last, out);
    case EMB_CODING_ZSTD: return encode_zstd(e, data, size, last, out);
    default: return size <= UINT32_MAX && encode_zlib(e, data, size, last, out);
    }
}

size_t emb_encoder_held(enum emb_coding coding)
{
    static const size_t held[EMB_CODING_COUNT] = {0, 272 << 10, 272 << 10, 1 << 20, 1300 << 10};
    return sizeof(struct emb_encoder) + held[coding];
}

/* ---- What pays ---- */

static bool base64_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Looks at a stretch in the middle: base64 is one word that never ends. */
bool emb_coding_pays(const char *data, size_t size)
{
    enum { LOOK = 1024, WORD = 256 };
    size_t begin = size > LOOK ? (size - LOOK) / 2 : 0, word = 0;
    for (size_t i = begin; i < size && i < begin + LOOK; i++) {
        word = base64_char(data[i]) ? word + 1 : 0;
        if (word > WORD) {
            return false;
        }
    }
    return true;
}
