/* BERT: post-norm encoder with learned absolute positions and token types (Devlin et al. 2019). */
#include <string.h>

#include "base/status.h"
#include "model/family.h"

static const struct emb_tensor_names hf_names = {
    .word = "embeddings.word_embeddings",
    .position = "embeddings.position_embeddings",
    .type = "embeddings.token_type_embeddings",
    .embed_norm = "embeddings.LayerNorm",
    .layer = "encoder.layer.",
    .query = "attention.self.query",
    .key = "attention.self.key",
    .value = "attention.self.value",
    .attention_out = "attention.output.dense",
    .attention_norm = "attention.output.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .out_norm = "output.LayerNorm",
    .pooler = "pooler.dense",
    .classifier = "classifier",
};

static const struct emb_tensor_names gguf_names = {
    .word = "token_embd",
    .position = "position_embd",
    .type = "token_types",
    .embed_norm = "token_embd_norm",
    .layer = "blk.",
    .query = "attn_q",
    .key = "attn_k",
    .value = "attn_v",
    .attention_out = "attn_output",
    .attention_norm = "attn_output_norm",
    .up = "ffn_up",
    .down = "ffn_down",
    .out_norm = "layer_output_norm",
    .pooler = "cls",
    .classifier = "cls.output",
};

static size_t positive(int64_t value)
{
    return value > 0 ? (size_t)value : 0;
}

static size_t config_size(struct emb_json_value config, const char *key)
{
    int64_t value = 0;
    emb_json_get_int(config, key, &value);
    return positive(value);
}

static int parse_activation(const char *name, enum emb_act *act, embellama_error *error)
{
    static const struct {
        const char *name;
        enum emb_act act;
    } known[] = {
        {"gelu", EMB_ACT_GELU}, {"gelu_new", EMB_ACT_GELU_TANH}, {"gelu_pytorch_tanh", EMB_ACT_GELU_TANH},
        {"relu", EMB_ACT_RELU}, {"silu", EMB_ACT_SILU},          {"swish", EMB_ACT_SILU},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i].name) == 0) {
            *act = known[i].act;
            return EMBELLAMA_OK;
        }
    }
    return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "config.json: hidden_act \"%.40s\" is not supported", name);
}

static int from_config(struct emb_spec *spec, struct emb_json_value config, embellama_error *error)
{
    const char *text = "gelu";
    size_t size;
    double eps = 1e-12;
    bool decoder = false;

    spec->names = &hf_names;
    spec->hidden = config_size(config, "hidden_size");
    spec->layers = config_size(config, "num_hidden_layers");
    spec->heads = config_size(config, "num_attention_heads");
    spec->intermediate = config_size(config, "intermediate_size");
    spec->vocab = config_size(config, "vocab_size");
    spec->positions = config_size(config, "max_position_embeddings");
    spec->types = config_size(config, "type_vocab_size");
    emb_json_get_number(config, "layer_norm_eps", &eps);
    spec->norm_eps = (float)eps;

    emb_json_get_string(config, "hidden_act", &text, &size);
    int rc = parse_activation(text, &spec->act, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    if (emb_json_get_string(config, "position_embedding_type", &text, &size) && strcmp(text, "absolute") != 0) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED,
                        "config.json: position_embedding_type \"%.40s\" is not supported", text);
    }
    if (emb_json_get_bool(config, "is_decoder", &decoder) && decoder) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "config.json: a BERT decoder is not an embedding model");
    }
    return EMBELLAMA_OK;
}

static size_t gguf_size(const struct emb_gguf *gguf, const char *key)
{
    int64_t value = 0;
    emb_gguf_get_int(gguf, key, &value);
    return positive(value);
}

static int from_gguf(struct emb_spec *spec, const struct emb_gguf *gguf, embellama_error *error)
{
    double eps = 1e-12;
    bool causal = false;

    spec->names = &gguf_names;
    spec->hidden = gguf_size(gguf, "bert.embedding_length");
    spec->layers = gguf_size(gguf, "bert.block_count");
    spec->heads = gguf_size(gguf, "bert.attention.head_count");
    spec->intermediate = gguf_size(gguf, "bert.feed_forward_length");
    spec->positions = gguf_size(gguf, "bert.context_length");
    spec->types = gguf_size(gguf, "tokenizer.ggml.token_type_count");
    emb_gguf_get_number(gguf, "bert.attention.layer_norm_epsilon", &eps);
    spec->norm_eps = (float)eps;
    spec->act = EMB_ACT_GELU;

    uint64_t tokens = 0;
    emb_gguf_get_string_array(gguf, "tokenizer.ggml.tokens", &tokens);
    spec->vocab = (size_t)tokens;
    if (emb_gguf_get_bool(gguf, "bert.attention.causal", &causal) && causal) {
        return emb_fail(error, EMBELLAMA_E_UNSUPPORTED, "bert.attention.causal: a BERT decoder is not supported");
    }
    return EMBELLAMA_OK;
}

const struct emb_family emb_family_bert = {
    .name = "bert",
    .hf_model_type = "bert",
    .hf_classifier = "BertForSequenceClassification",
    .gguf_architecture = "bert",
    .from_config = from_config,
    .from_gguf = from_gguf,
};
