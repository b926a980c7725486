/* Writing of vectors. The arithmetic is numpy's in single precision, so that equal ranges give equal bytes. */
#include "api/vector_json.h"

#include <math.h>
#include <stdint.h>

#include "api/base64.h"
#include "base/json.h"
#include "base/mem.h"

const char *const emb_vector_type_names[] = {"float", "int8", "uint8", "binary", "ubinary", NULL};

/* ---- Small types ---- */

static bool in_bits(enum emb_vector_type type)
{
    return type == EMB_VECTOR_BINARY || type == EMB_VECTOR_UBINARY;
}

size_t emb_vector_bytes(enum emb_vector_type type, size_t n)
{
    return in_bits(type) ? n / 8 + (n % 8 > 0) : n;
}

static void pack_signs(unsigned char *out, const float *values, size_t n, unsigned char flip)
{
    for (size_t i = 0; i < n; i += 8) {
        unsigned byte = 0;
        for (size_t j = i; j < i + 8 && j < n; j++) {
            byte |= (unsigned)(values[j] > 0) << (7 - (j - i));
        }
        *out++ = (unsigned char)(byte ^ flip);
    }
}

/* Which of the 255 steps of the range each value is in, less offset. */
static void cut_range(unsigned char *out, const float *values, size_t n, float offset)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(values[i]));
    }
    float step = (most - -most) / 255;
    step = step > 0 ? step : 1;
    for (size_t i = 0; i < n; i++) {
        float place = fminf(fmaxf(floorf((values[i] + most) / step), 0), 255);
        out[i] = (unsigned char)(int)(place - offset);
    }
}

void emb_vector_quantize(unsigned char *out, const float *values, size_t n, enum emb_vector_type type)
{
    switch (type) {
    case EMB_VECTOR_INT8: cut_range(out, values, n, 128); break;
    case EMB_VECTOR_UINT8: cut_range(out, values, n, 0); break;
    case EMB_VECTOR_BINARY: pack_signs(out, values, n, 128); break;
    case EMB_VECTOR_UBINARY: pack_signs(out, values, n, 0); break;
    case EMB_VECTOR_FLOAT: break;
    }
}

/* ---- Writing ---- */

static void write_floats(struct emb_buf *out, const float *values, size_t n)
{
    char *to = emb_buf_reserve(out, n * (EMB_FLOAT_CHARS + 1) + 2);
    if (!to) {
        return;
    }
    char *start = to;
    *to++ = '[';
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            *to++ = ',';
        }
        to += emb_json_write_float(values[i], to);
    }
    *to++ = ']';
    emb_buf_commit(out, (size_t)(to - start));
}

static char *write_small(char *to, int value)
{
    unsigned rest = (unsigned)(value < 0 ? -value : value);
    if (value < 0) {
        *to++ = '-';
    }
    if (rest >= 100) {
        *to++ = (char)('0' + rest / 100);
    }
    if (rest >= 10) {
        *to++ = (char)('0' + rest / 10 % 10);
    }
    *to++ = (char)('0' + rest % 10);
    return to;
}

static void write_bytes(struct emb_buf *out, const unsigned char *bytes, size_t size, bool is_signed)
{
    enum { CHARS = 5 }; /* "-128," */
    char *to = emb_buf_reserve(out, size * CHARS + 2);
    if (!to) {
        return;
    }
    char *start = to;
    *to++ = '[';
    for (size_t i = 0; i < size; i++) {
        if (i > 0) {
            *to++ = ',';
        }
        to = write_small(to, is_signed ? (int8_t)bytes[i] : bytes[i]);
    }
    *to++ = ']';
    emb_buf_commit(out, (size_t)(to - start));
}

static void write_quantized(struct emb_buf *out, const float *values, size_t n, struct emb_vector_form form)
{
    size_t size = emb_vector_bytes(form.type, n);
    unsigned char *bytes = emb_alloc(size, 1);
    if (!bytes) {
        out->failed = true;
        return;
    }
    emb_vector_quantize(bytes, values, n, form.type);
    if (form.base64) {
        emb_buf_puts(out, "\"");
        emb_base64(out, bytes, size);
        emb_buf_puts(out, "\"");
    } else {
        write_bytes(out, bytes, size, form.type == EMB_VECTOR_INT8 || form.type == EMB_VECTOR_BINARY);
    }
    emb_free(bytes);
}

void emb_vector_write(struct emb_buf *out, const float *values, size_t n, struct emb_vector_form form)
{
    if (!values) {
        emb_buf_puts(out, "null");
    } else if (form.type != EMB_VECTOR_FLOAT) {
        write_quantized(out, values, n, form);
    } else if (form.base64) {
        emb_buf_puts(out, "\"");
        emb_base64_floats(out, values, n);
        emb_buf_puts(out, "\"");
    } else {
        write_floats(out, values, n);
    }
}
