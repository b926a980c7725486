/* The list of families, and the bounds every spec must keep. */
#include "model/family.h"

#include "base/status.h"

const struct emb_family *const emb_families[] = {&emb_family_bert, NULL};

int emb_spec_check(const struct emb_spec *spec, embellama_error *error)
{
    const struct {
        const char *what;
        size_t value, limit;
    } sizes[] = {
        {"hidden size", spec->hidden, 1 << 14},
        {"number of layers", spec->layers, 1 << 10},
        {"number of attention heads", spec->heads, 1 << 10},
        {"intermediate size", spec->intermediate, 1 << 17},
        {"vocabulary size", spec->vocab, 1 << 24},
        {"context length", spec->positions, 1 << 20},
        {"number of token types", spec->types, 1 << 10},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].limit) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, "the model's %s is absent or not in 1..%zu", sizes[i].what,
                            sizes[i].limit);
        }
    }
    if (spec->hidden % spec->heads != 0) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "hidden size %zu is no multiple of %zu attention heads",
                        spec->hidden, spec->heads);
    }
    if (spec->head.labels > EMB_LABELS_MOST) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the model's head has more than %d labels", EMB_LABELS_MOST);
    }
    if (spec->head.labels > 0 && spec->types < 2) {
        return emb_fail(error, EMBELLAMA_E_FORMAT,
                        "the model scores pairs and has one token type where pairs have two");
    }
    if (!(spec->norm_eps >= 0 && spec->norm_eps < 1)) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "the model's layer norm epsilon is not in 0..1");
    }
    return EMBELLAMA_OK;
}
