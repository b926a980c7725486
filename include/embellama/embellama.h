/* Embellama: turns text into vectors on the CPU.
 *
 *     embellama_model *model = NULL;
 *     embellama_ctx *ctx = NULL;
 *     embellama_error error;
 *     if (embellama_model_open(&model, "all-MiniLM-L6-v2", NULL, &error) != 0 ||
 *         embellama_ctx_new(&ctx, model, NULL, &error) != 0) {
 *         fprintf(stderr, "%s\n", error.message);
 *         return 1;
 *     }
 *     embellama_text text = {"Hello, world!", 13};
 *     float *vector = malloc(embellama_dim(model) * sizeof *vector);
 *     int status = embellama_embed(ctx, &text, 1, NULL, vector, NULL, &error);
 *     ...
 *     embellama_ctx_free(ctx);
 *     embellama_model_close(model);
 *
 * A model is const once open and may be shared by any number of threads. A context holds the scratch memory and the threads
 * that compute; use it from one thread at a time, and have several for concurrent calls. A text's vector is bitwise the same
 * whatever else is in its batch, in any order, with any number of threads, on one CPU tier.
 *
 * Functions that can fail return EMBELLAMA_OK (0) or a negative embellama_status. Where they take an embellama_error, it may
 * be NULL; it is written on failure only. The library never prints and never exits. */
#ifndef EMBELLAMA_H
#define EMBELLAMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EMBELLAMA_API __attribute__((visibility("default")))

/* Version of the library at run time, "MAJOR.MINOR.PATCH". */
EMBELLAMA_API const char *embellama_version(void);

/* ---- Status ------------------------------------------------------------------------------------------------------- */

/* X(name, value, HTTP status that fits, message) */
#define EMBELLAMA_STATUS_MAP(X)                                                                                        \
    X(OK, 0, 200, "success")                                                                                           \
    X(E_INVALID, -1, 400, "invalid argument")                                                                          \
    X(E_NOMEM, -2, 503, "out of memory")                                                                               \
    X(E_IO, -3, 500, "input or output error")                                                                          \
    X(E_NOT_FOUND, -4, 404, "not found")                                                                               \
    X(E_FORMAT, -5, 500, "malformed file")                                                                             \
    X(E_UNSUPPORTED, -6, 500, "not supported")                                                                         \
    X(E_UTF8, -7, 400, "text is not valid UTF-8")                                                                      \
    X(E_TOO_LONG, -8, 400, "input has more tokens than the model's context")                                           \
    X(E_TOKEN_ID, -9, 400, "token id outside the vocabulary")                                                          \
    X(E_NOT_FINITE, -10, 500, "the model gave a vector that is not finite")                                            \
    X(E_RANGE, -11, 400, "value out of range")                                                                         \
    X(E_DEADLINE, -12, 504, "not computed before its deadline")                                                        \
    X(E_CRASHED, -13, 500, "computing this input ended the worker")

typedef enum embellama_status {
#define EMBELLAMA_STATUS_ENUM(name, value, http, message) EMBELLAMA_##name = value,
    EMBELLAMA_STATUS_MAP(EMBELLAMA_STATUS_ENUM)
#undef EMBELLAMA_STATUS_ENUM
} embellama_status;

/* "E_TOO_LONG", its sentence, and the HTTP status a server answers it with. Unknown codes give "E_UNKNOWN", 500. */
EMBELLAMA_API const char *embellama_status_name(int status);
EMBELLAMA_API const char *embellama_status_message(int status);
EMBELLAMA_API int embellama_status_http(int status);

/* What went wrong and where. The caller owns it; every function that fills it ends message with a zero. */
typedef struct embellama_error {
    int code;        /* the embellama_status returned */
    uint64_t offset; /* byte in the file or text where it was noticed, or 0 */
    char message[256];
} embellama_error;

/* ---- Model -------------------------------------------------------------------------------------------------------- */

typedef struct embellama_model embellama_model;
typedef struct embellama_ctx embellama_ctx;

typedef enum embellama_pooling {
    EMBELLAMA_POOLING_AUTO, /* what the model's own files say */
    EMBELLAMA_POOLING_MEAN,
    EMBELLAMA_POOLING_CLS,
    EMBELLAMA_POOLING_MAX,
    EMBELLAMA_POOLING_MEAN_SQRT_LEN, /* sum / sqrt(tokens) */
    EMBELLAMA_POOLING_LAST,
    EMBELLAMA_POOLING_NONE, /* one vector a token */
} embellama_pooling;

typedef enum embellama_normalize {
    EMBELLAMA_NORMALIZE_AUTO, /* what the model's own files say; l2 where they say nothing */
    EMBELLAMA_NORMALIZE_NONE,
    EMBELLAMA_NORMALIZE_L2,
    EMBELLAMA_NORMALIZE_MAX_ABS, /* largest absolute value becomes 1 */
    EMBELLAMA_NORMALIZE_P,       /* (sum |x|^p)^(1/p) becomes 1 */
} embellama_normalize;

typedef enum embellama_precision {
    EMBELLAMA_PRECISION_AUTO, /* bf16 where the CPU multiplies it itself, else f32 */
    EMBELLAMA_PRECISION_F32,
    EMBELLAMA_PRECISION_BF16,
    EMBELLAMA_PRECISION_INT8, /* a scale a row and a column, after a rotation; f32 sums outside the products */
} embellama_precision;

/* Names as the command line takes them ("mean", "max-abs", "bf16"); parse returns EMBELLAMA_E_INVALID on an unknown one.
 * "p-norm" is EMBELLAMA_NORMALIZE_P. */
EMBELLAMA_API const char *embellama_pooling_name(embellama_pooling value);
EMBELLAMA_API const char *embellama_normalize_name(embellama_normalize value);
EMBELLAMA_API const char *embellama_precision_name(embellama_precision value);
EMBELLAMA_API int embellama_pooling_parse(const char *name, embellama_pooling *out);
EMBELLAMA_API int embellama_normalize_parse(const char *name, embellama_normalize *out);
EMBELLAMA_API int embellama_precision_parse(const char *name, embellama_precision *out);

typedef struct embellama_model_options {
    embellama_precision precision;
    const char *cpu; /* tier to use: "auto" or NULL, or one of embellama_cpu_tiers() */
    int threads;     /* threads that load; 0: as many as the process may use */
    /* Folder, this user's own and made where absent, that keeps packed weights for faster starts; NULL: none. */
    const char *pack_cache;
    /* On a machine of several NUMA nodes: keep the packed weights once for each node that the process may run on, in its memory, and
     * have contexts' threads stay on nodes and read their own. Nothing changes where there is one node. */
    bool numa;
    uint64_t reserved[6];
} embellama_model_options;

EMBELLAMA_API embellama_model_options embellama_model_options_default(void);

/* Opens a Hugging Face directory or a GGUF file. The files are mapped: they must stay unchanged while the model is open.
 * options may be NULL. On success *out is the caller's, to be closed. Errors: E_NOT_FOUND, E_IO, E_FORMAT (broken or lying
 * file), E_UNSUPPORTED (family, tensor type or tokenizer we do not run; CPU tier this machine lacks), E_NOMEM. */
EMBELLAMA_API int embellama_model_open(embellama_model **out, const char *path, const embellama_model_options *options,
                                       embellama_error *error);

/* For several processes over one copy of the weights. Packs those of the model at path, embedding tables included, into the file behind
 * fd: empty, open for reading and writing, an ordinary one or a memory file, which is then best sealed. Everything that opening
 * checks is checked. options may be NULL; of it precision, cpu, threads and pack_cache count. Errors: those of opening, and E_IO; what the file
 * then holds is unspecified. */
EMBELLAMA_API int embellama_model_pack(int fd, const char *path, const embellama_model_options *options,
                                       embellama_error *error);

/* A model over the weights that embellama_model_pack left behind fd, which may be closed afterwards; they must not change. cpu is the
 * tier they were packed for, or NULL. With the path they were packed from the model has its tokenizer and names; with path NULL it
 * embeds token ids only, and what needs a tokenizer fails with E_UNSUPPORTED. On success *out is the caller's, to be closed. Errors:
 * E_FORMAT (broken, or packed from another model than the one at path), E_UNSUPPORTED (packed for another tier, or by another build),
 * those of opening. */
EMBELLAMA_API int embellama_model_attach(embellama_model **out, int fd, const char *path, const char *cpu,
                                         embellama_error *error);

/* No context of it may be in use any more. NULL is allowed. */
EMBELLAMA_API void embellama_model_close(embellama_model *model);

/* What a model is and what runs it. Strings and struct belong to the model. New members are only ever added at the end. */
typedef struct embellama_model_info {
    const char *
        name; /* from the file, or the last part of the path; attached without a path, NULL, like path, format and file_types */
    const char *path;
    const char *format;            /* "safetensors" or "gguf" */
    const char *family;            /* "bert" */
    const char *file_types;        /* tensor types of the file and how many of each: "F32 x 103" */
    const char *cpu_tier;          /* kernels in use: "avx512bf16" */
    embellama_precision precision; /* of the matrix products: never AUTO */
    embellama_pooling pooling;     /* never AUTO */
    embellama_normalize normalize; /* never AUTO */
    size_t dim;                    /* values in a vector */
    size_t context_length;         /* tokens of one input, special tokens included */
    size_t recommended_length;     /* sentence_bert_config.json's max_seq_length, or 0 */
    size_t layers, heads, intermediate_size, vocab_size;
    uint64_t parameters;
    uint64_t file_bytes; /* all weight files */
    uint64_t
        packed_bytes; /* weights packed for the kernels, in memory or in pack_cache's file; that has the embedding tables too */
    uint64_t mapped_bytes; /* weights read in place from the model's file: embedding tables */
    uint64_t token_flops;  /* of a token's products with weights: two a weight */
    const char *notice;    /* what opening could not do as its options asked and did otherwise: a sentence, or NULL */
    size_t numa_nodes;     /* that have the packed weights each; 1 unless options.numa found more */
    size_t labels;         /* scores of a text or pair (embellama_score); 0: the model makes vectors only */
    const char *const
        *label_names; /* [labels], or NULL where the files name none and for a model attached without a path */
} embellama_model_info;

EMBELLAMA_API const embellama_model_info *embellama_model_get_info(const embellama_model *model);
EMBELLAMA_API size_t embellama_dim(const embellama_model *model);

/* Tiers this CPU can run, rising, NULL-terminated; and how many threads the process may keep busy (affinity mask and cgroup
 * CPU quota, at least 1). */
EMBELLAMA_API const char *const *embellama_cpu_tiers(void);
EMBELLAMA_API int embellama_cpu_count(void);

/* ---- Tokens ------------------------------------------------------------------------------------------------------- */

/* bytes need not end with a zero and may hold zeros. */
typedef struct embellama_text {
    const char *bytes; /* UTF-8 */
    size_t size;
} embellama_text;

typedef struct embellama_ids {
    const int32_t *ids;
    size_t count;
} embellama_ids;

/* Token ids of a text, special tokens included, never truncated; of the pair (text, pair) where pair is not NULL.
 * Writes at most capacity ids and always sets *count to how many there are, so that a first call may pass capacity 0.
 * types, where not NULL, gets the token type ids likewise. Errors: E_UTF8, E_NOMEM. Safe from many threads. */
EMBELLAMA_API int embellama_tokenize(const embellama_model *model, embellama_text text, const embellama_text *pair,
                                     int32_t *ids, int32_t *types, size_t capacity, size_t *count,
                                     embellama_error *error);

/* One token of a text. */
typedef struct embellama_token {
    int32_t id;
    bool special;      /* put there by the model, not of the text: begin and end are then 0 */
    size_t begin, end; /* bytes of the text that it stands for, the same that tokenizers' offsets tell */
} embellama_token;

/* The tokens that embellama_tokenize gives for a single text, with their places. Takes longer. Same capacity convention and errors. */
EMBELLAMA_API int embellama_tokenize_spans(const embellama_model *model, embellama_text text, embellama_token *tokens,
                                           size_t capacity, size_t *count, embellama_error *error);

/* The text of token ids, as tokenizers' decode gives it with the model's own decoder: lower case, spacing and unknown words do not come
 * back. Ids outside the vocabulary are left out, as there; skip_special leaves special tokens out. Writes at most capacity bytes, no
 * zero behind them, and always sets *size to how many there are. Errors: E_UNSUPPORTED (the model's decoder is one we do not know),
 * E_NOMEM. Safe from many threads. */
EMBELLAMA_API int embellama_detokenize(const embellama_model *model, embellama_ids ids, bool skip_special, char *text,
                                       size_t capacity, size_t *size, embellama_error *error);

/* Whether the vocabulary marks the id as special ("[CLS]"). False for an id outside it. */
EMBELLAMA_API bool embellama_token_special(const embellama_model *model, int32_t id);

/* Makes an input of token ids a client sent: checks each against the vocabulary and puts the special tokens around them
 * unless they are there already. Same capacity convention as embellama_tokenize. Errors: E_TOKEN_ID (offset is its index). */
EMBELLAMA_API int embellama_complete_ids(const embellama_model *model, embellama_ids content, int32_t *ids,
                                         size_t capacity, size_t *count, embellama_error *error);

/* Shortens an input in place to at most limit tokens, keeping the special tokens that close it. Returns the new count.
 * limit 0 means the model's context length; a limit smaller than the special tokens leaves just these. */
EMBELLAMA_API size_t embellama_truncate_ids(const embellama_model *model, int32_t *ids, size_t count, size_t limit);

/* The same, keeping the end of the text, and the special tokens around it. */
EMBELLAMA_API size_t embellama_truncate_ids_left(const embellama_model *model, int32_t *ids, size_t count,
                                                 size_t limit);

/* The token's text as the vocabulary writes it ("##ing"), or NULL for an id outside it. Belongs to the model; zero-ended. */
EMBELLAMA_API const char *embellama_token_text(const embellama_model *model, int32_t id);

/* What the model wants before a text of the kind named ("query", "passage"; case counts), as config_sentence_transformers.json's "prompts"
 * say: the caller puts it directly before the text. name NULL: that of the default prompt, which sentence-transformers' encode() takes
 * where none is asked for. NULL where the model has no prompt of that name, or no default. The string belongs to the model. Nothing
 * here puts a prompt before a text by itself. */
EMBELLAMA_API const char *embellama_prompt(const embellama_model *model, const char *name);

/* Names of the model's prompts in the order of the file; NULL from behind the last. default_prompt_name's own, or NULL. */
EMBELLAMA_API const char *embellama_prompt_name(const embellama_model *model, size_t i);
EMBELLAMA_API const char *embellama_prompt_default(const embellama_model *model);

/* ---- Foreign vocabularies ----------------------------------------------------------------------------------------- */

/* A vocabulary that is not the model's, for turning token ids that a client made back into text. Const once open, safe from many
 * threads. */
typedef struct embellama_vocabulary embellama_vocabulary;

/* Opens a .tiktoken file: a token a line, its bytes in base64 and its id, as OpenAI's tiktoken loads it. Errors: E_NOT_FOUND, E_IO,
 * E_FORMAT (offset is the line, from 1), E_NOMEM. On success *out is the caller's. */
EMBELLAMA_API int embellama_vocabulary_open(embellama_vocabulary **out, const char *path, embellama_error *error);
EMBELLAMA_API void embellama_vocabulary_free(embellama_vocabulary *vocabulary); /* NULL is allowed */

/* The largest id and one. Some below may be of no token. */
EMBELLAMA_API size_t embellama_vocabulary_size(const embellama_vocabulary *vocabulary);

/* The text of token ids: their bytes one behind the other, what is not UTF-8 of them made U+FFFD as tiktoken's decode does. Same capacity
 * convention as embellama_detokenize. Errors: E_TOKEN_ID (offset is its index). */
EMBELLAMA_API int embellama_vocabulary_decode(const embellama_vocabulary *vocabulary, embellama_ids ids, char *text,
                                              size_t capacity, size_t *size, embellama_error *error);

/* ---- Embedding ---------------------------------------------------------------------------------------------------- */

typedef struct embellama_ctx_options {
    int threads;         /* 0: embellama_cpu_count() */
    size_t shard_tokens; /* tokens a thread takes through the layers at a time, whole texts, in bulk; 0: automatic */
    /* Each thread stays on a processor of its own, the calling thread for the length of a call. For machines that run nothing else:
     * beside other programs it costs speed. */
    bool pin;
    uint64_t reserved[6];
} embellama_ctx_options;

EMBELLAMA_API embellama_ctx_options embellama_ctx_options_default(void);
EMBELLAMA_API int embellama_ctx_new(embellama_ctx **out, const embellama_model *model,
                                    const embellama_ctx_options *options, embellama_error *error);
EMBELLAMA_API void embellama_ctx_free(embellama_ctx *ctx);

typedef struct embellama_embed_options {
    embellama_pooling pooling;
    embellama_normalize normalize;
    float p;           /* exponent of EMBELLAMA_NORMALIZE_P, > 0 */
    size_t dimensions; /* keep this many leading values, then normalise again; 0: all */
    size_t max_length; /* tokens of one input; 0: the model's context length */
    bool truncate;     /* shorten longer inputs instead of refusing them */
    uint64_t reserved[8];
} embellama_embed_options;

EMBELLAMA_API embellama_embed_options embellama_embed_options_default(void);

/* Embeds n texts. out holds n * dim floats (dim: options->dimensions or the model's) and stays the caller's.
 * options may be NULL. Each input succeeds or fails alone: statuses (n values, or NULL) gets its status, and the vector of
 * one that failed is zeros. Returns 0 when all succeeded, else the status of the first that failed, with error telling
 * which; E_INVALID for options that cannot be (nothing is computed then), among them EMBELLAMA_POOLING_NONE: use
 * embellama_embed_ids, where the number of rows is known. */
EMBELLAMA_API int embellama_embed(embellama_ctx *ctx, const embellama_text *texts, size_t n,
                                  const embellama_embed_options *options, float *out, int *statuses,
                                  embellama_error *error);

/* The same for complete inputs (special tokens included). With EMBELLAMA_POOLING_NONE out holds one row a token,
 * sum(count) * dim floats, input after input; options->truncate is then E_INVALID. */
EMBELLAMA_API int embellama_embed_ids(embellama_ctx *ctx, const embellama_ids *inputs, size_t n,
                                      const embellama_embed_options *options, float *out, int *statuses,
                                      embellama_error *error);

/* ---- Scoring ------------------------------------------------------------------------------------------------------ */

/* A complete input of a cross-encoder, special tokens included: one text, or two behind each other. */
typedef struct embellama_pair {
    const int32_t *ids;
    size_t count;
    size_t
        second; /* index of the first token of the second text, whose token type is 1 from there on; count where there is none */
} embellama_pair;

/* Scores n inputs with the model's classification head. out holds n * labels floats (embellama_model_info) and stays the caller's.
 * raw: the logits; else what embellama_activate makes of them. Nothing is cut. Each input succeeds or fails alone: statuses (n
 * values, or NULL) gets its status, and the scores of one that failed are zeros. Scores are bitwise the same whatever else is in
 * the batch, with any number of threads, on one CPU tier. Returns 0 when all succeeded, else the status of the first that
 * failed, with error telling which; E_UNSUPPORTED for a model without such a head (nothing is computed then). */
EMBELLAMA_API int embellama_score_ids(embellama_ctx *ctx, const embellama_pair *inputs, size_t n, bool raw, float *out,
                                      int *statuses, embellama_error *error);

/* The same for n pairs of one query and a document each, tokenised as pairs. Of options, which may be NULL, truncate and
 * max_length count; a pair is shortened as embellama_truncate_pair does it. The query's own fault (E_UTF8) is every pair's. */
EMBELLAMA_API int embellama_score(embellama_ctx *ctx, embellama_text query, const embellama_text *documents, size_t n,
                                  const embellama_embed_options *options, bool raw, float *out, int *statuses,
                                  embellama_error *error);

/* Turns the logits of one input, labels values, into scores as the model's files say (sentence-transformers' activation function);
 * where they say nothing: the sigmoid of a single one, the softmax of several. */
EMBELLAMA_API void embellama_activate(const embellama_model *model, float *logits);

/* Shortens a tokenised pair in place to at most limit tokens, as Hugging Face's "longest_first" does: only the longer text where that
 * is enough, else both to the same length; special tokens stay. Returns the new count and moves *second along. limit 0 means
 * the model's context length; a limit smaller than the special tokens leaves just these. With *second == count it is
 * embellama_truncate_ids. */
EMBELLAMA_API size_t embellama_truncate_pair(const embellama_model *model, int32_t *ids, size_t count, size_t *second,
                                             size_t limit);

/* ---- Profiling ---------------------------------------------------------------------------------------------------- */

/* X(name, its name in words): what an embed call spends its time on. */
#define EMBELLAMA_OPERATION_MAP(X)                                                                                     \
    X(TOKENIZING, "tokenizing")                                                                                        \
    X(EMBEDDING, "embedding") /* the tables' rows and their norm */                                                    \
    X(QKV, "qkv")             /* product for queries, keys and values */                                               \
    X(ATTENTION, "attention") /* without its products with weights */                                                  \
    X(OUTPUT, "output")       /* product after attention */                                                            \
    X(UP, "up")               /* first product of the feed-forward part, with its activation */                        \
    X(DOWN, "down")           /* the second */                                                                         \
    X(NORM, "norm")           /* norms, and making the next product's input of them */                                 \
    X(ENCODE, "encode")       /* int8: making a product's input of what no norm precedes */                            \
    X(POOLING, "pooling")     /* and normalisation */

typedef enum embellama_operation {
#define EMBELLAMA_OPERATION_ENUM(name, text) EMBELLAMA_OPERATION_##name,
    EMBELLAMA_OPERATION_MAP(EMBELLAMA_OPERATION_ENUM)
#undef EMBELLAMA_OPERATION_ENUM
        EMBELLAMA_OPERATION_COUNT,
} embellama_operation;

/* "qkv"; "unknown" for another value. */
EMBELLAMA_API const char *embellama_operation_name(embellama_operation value);

/* Nanoseconds that threads spent on each operation, all threads together. Places from EMBELLAMA_OPERATION_COUNT on are 0. */
typedef struct embellama_profile {
    uint64_t ns[16];
} embellama_profile;

/* From now on embed calls on ctx add to *profile, which the caller owns and zeroes; NULL ends it. Costs some readings of the
 * clock a layer; the vectors stay the same. Where all threads work on one text together, waiting for each other counts as
 * part of the operation. */
EMBELLAMA_API void embellama_ctx_profile(embellama_ctx *ctx, embellama_profile *profile);

/* ---- Vectors ------------------------------------------------------------------------------------------------------ */

/* Normalises v[0..dim) in place, as the options of an embed call do. A zero vector stays zero. p counts for _P only.
 * EMBELLAMA_NORMALIZE_AUTO counts as L2. */
EMBELLAMA_API void embellama_normalize_vector(float *v, size_t dim, embellama_normalize normalize, float p);

/* Cosine of the angle between a and b, 0 where one is zero. */
EMBELLAMA_API float embellama_cosine(const float *a, const float *b, size_t dim);

#ifdef __cplusplus
}
#endif
#endif
