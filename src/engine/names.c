/* Names of the public enumerations, and the version. */
#include <string.h>

#include "embellama/embellama.h"

static const char *const pooling_names[] = {"auto", "mean", "cls", "max", "mean-sqrt", "last", "none"};
static const char *const normalize_names[] = {"auto", "none", "l2", "max-abs", "p-norm"};
static const char *const precision_names[] = {"auto", "f32", "bf16", "int8"};

static const char *const operation_names[] = {
#define OPERATION_NAME(name, text) text,
    EMBELLAMA_OPERATION_MAP(OPERATION_NAME)
#undef OPERATION_NAME
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *name_of(const char *const *names, size_t count, size_t value)
{
    return value < count ? names[value] : "unknown";
}

/* Index of name, or -1. */
static int index_of(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

const char *embellama_version(void)
{
    return EMBELLAMA_VERSION;
}

const char *embellama_pooling_name(embellama_pooling value)
{
    return name_of(pooling_names, COUNT(pooling_names), (size_t)value);
}

const char *embellama_normalize_name(embellama_normalize value)
{
    return name_of(normalize_names, COUNT(normalize_names), (size_t)value);
}

const char *embellama_precision_name(embellama_precision value)
{
    return name_of(precision_names, COUNT(precision_names), (size_t)value);
}

const char *embellama_operation_name(embellama_operation value)
{
    return name_of(operation_names, COUNT(operation_names), (size_t)value);
}

int embellama_pooling_parse(const char *name, embellama_pooling *out)
{
    int i = index_of(pooling_names, COUNT(pooling_names), name);
    if (i >= 0) {
        *out = (embellama_pooling)i;
    }
    return i >= 0 ? EMBELLAMA_OK : EMBELLAMA_E_INVALID;
}

int embellama_normalize_parse(const char *name, embellama_normalize *out)
{
    int i = index_of(normalize_names, COUNT(normalize_names), name);
    if (i >= 0) {
        *out = (embellama_normalize)i;
    }
    return i >= 0 ? EMBELLAMA_OK : EMBELLAMA_E_INVALID;
}

int embellama_precision_parse(const char *name, embellama_precision *out)
{
    int i = index_of(precision_names, COUNT(precision_names), name);
    if (i >= 0) {
        *out = (embellama_precision)i;
    }
    return i >= 0 ? EMBELLAMA_OK : EMBELLAMA_E_INVALID;
}
