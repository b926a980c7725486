/* The table of options. What reads it is in options.c. */
#include "cli/options.h"

#include <stddef.h>

#include "base/log.h"

static const struct emb_cli_word input_formats[] = {
    {"text", EMB_CLI_INPUT_TEXT}, {"jsonl", EMB_CLI_INPUT_JSONL}, {NULL, 0}};
static const struct emb_cli_word output_formats[] = {
    {"jsonl", EMB_CLI_OUTPUT_JSONL}, {"npy", EMB_CLI_OUTPUT_NPY}, {"f32", EMB_CLI_OUTPUT_F32}, {NULL, 0}};
static const struct emb_cli_word poolings[] = {{"auto", EMBELLAMA_POOLING_AUTO},
                                               {"mean", EMBELLAMA_POOLING_MEAN},
                                               {"cls", EMBELLAMA_POOLING_CLS},
                                               {"max", EMBELLAMA_POOLING_MAX},
                                               {"mean-sqrt-len", EMBELLAMA_POOLING_MEAN_SQRT_LEN},
                                               {"mean-sqrt", EMBELLAMA_POOLING_MEAN_SQRT_LEN},
                                               {"last", EMBELLAMA_POOLING_LAST},
                                               {"none", EMBELLAMA_POOLING_NONE},
                                               {NULL, 0}};
static const struct emb_cli_word normalizes[] = {{"auto", EMBELLAMA_NORMALIZE_AUTO},
                                                 {"none", EMBELLAMA_NORMALIZE_NONE},
                                                 {"l2", EMBELLAMA_NORMALIZE_L2},
                                                 {"max-abs", EMBELLAMA_NORMALIZE_MAX_ABS},
                                                 {"p-norm", EMBELLAMA_NORMALIZE_P},
                                                 {NULL, 0}};
static const struct emb_cli_word precisions[] = {{"auto", EMBELLAMA_PRECISION_AUTO},
                                                 {"f32", EMBELLAMA_PRECISION_F32},
                                                 {"bf16", EMBELLAMA_PRECISION_BF16},
                                                 {NULL, 0}};
static const struct emb_cli_word log_levels[] = {{"error", EMB_LOG_ERROR}, {"warn", EMB_LOG_WARN},
                                                 {"info", EMB_LOG_INFO},   {"debug", EMB_LOG_DEBUG},
                                                 {"off", EMB_LOG_OFF},     {NULL, 0}};
static const struct emb_cli_word lengths[] = {{"recommended", EMB_CLI_LENGTH_RECOMMENDED}, {NULL, 0}};
static const struct emb_cli_word counts[] = {{"auto", 0}, {NULL, 0}};

#define EMBEDS (EMB_CLI_EMBED | EMB_CLI_SIMILARITY | EMB_CLI_SERVE)
#define READS (EMB_CLI_EMBED | EMB_CLI_TOKENIZE)
#define MODEL (EMBEDS | EMB_CLI_TOKENIZE | EMB_CLI_INSPECT)
#define AT(member) offsetof(struct emb_cli_options, member)

const struct emb_cli_option emb_cli_option_table[] = {
    {.name = "model", .alias = "model-path", .letter = 'm', .argument = "MODEL", .kind = EMB_CLI_STRING,
     .commands = MODEL, .offset = AT(model), .env = "EMBELLAMA_MODEL", .env_alias = "EMBELLAMA_MODEL_PATH",
     .help = "Model: a Hugging Face directory, a .gguf file, or a name in the cache folder. Without it, "
             "all-MiniLM-L6-v2 of the cache folder."},
    {.name = "model-name", .argument = "NAME", .kind = EMB_CLI_STRING, .commands = EMB_CLI_SERVE,
     .offset = AT(model_name), .env = "EMBELLAMA_MODEL_NAME",
     .help = "What clients call the model. Without it, the model's own name."},
    {.name = "host", .argument = "HOST", .kind = EMB_CLI_STRING, .commands = EMB_CLI_SERVE, .offset = AT(host),
     .env = "EMBELLAMA_HOST", .fallback = "127.0.0.1",
     .help = "Address or name to listen on; 0.0.0.0 or :: for every interface."},
    {.name = "port", .letter = 'p', .argument = "PORT", .kind = EMB_CLI_INT, .commands = EMB_CLI_SERVE,
     .offset = AT(port), .min = 0, .max = 65535, .env = "EMBELLAMA_PORT", .fallback = "8080",
     .help = "Port to listen on; 0 takes any free one and says which."},
    {.name = "workers", .argument = "N", .kind = EMB_CLI_INT, .commands = EMB_CLI_SERVE, .offset = AT(workers),
     .min = 0, .max = 128, .words = counts, .env = "EMBELLAMA_WORKERS", .fallback = "auto",
     .help = "Workers that compute side by side, sharing one copy of the model."},
    {.name = "queue-size", .argument = "N", .kind = EMB_CLI_INT, .commands = EMB_CLI_SERVE, .offset = AT(queue_size),
     .min = 1, .max = 1000000, .env = "EMBELLAMA_QUEUE_SIZE", .fallback = "16384",
     .help = "Inputs that may wait; beyond that, requests are answered 503 at once."},
    {.name = "input", .letter = 'i', .argument = "FILE", .kind = EMB_CLI_STRING, .commands = READS,
     .offset = AT(input), .env = "EMBELLAMA_INPUT", .help = "Read texts from FILE; - is standard input."},
    {.name = "input-format", .argument = "FORMAT", .kind = EMB_CLI_WORD, .commands = READS,
     .offset = AT(input_format), .words = input_formats, .env = "EMBELLAMA_INPUT_FORMAT", .fallback = "text",
     .help = "text: one text a line. jsonl: one JSON object a line."},
    {.name = "field", .argument = "NAME", .kind = EMB_CLI_STRING, .commands = READS, .offset = AT(field),
     .env = "EMBELLAMA_FIELD", .fallback = "text", .help = "The member of each JSON object that holds the text."},
    {.name = "output", .letter = 'o', .argument = "FILE", .kind = EMB_CLI_STRING, .commands = EMB_CLI_EMBED,
     .offset = AT(output), .env = "EMBELLAMA_OUTPUT", .fallback = "-",
     .help = "Write vectors to FILE; - is standard output."},
    {.name = "output-format", .argument = "FORMAT", .kind = EMB_CLI_WORD, .commands = EMB_CLI_EMBED,
     .offset = AT(output_format), .words = output_formats, .env = "EMBELLAMA_OUTPUT_FORMAT", .fallback = "jsonl",
     .help = "jsonl: one {\"index\",\"embedding\"} a line. npy: a NumPy array (needs a file). f32: the bare "
             "little-endian numbers."},
    {.name = "resume", .kind = EMB_CLI_FLAG, .commands = EMB_CLI_EMBED, .offset = AT(resume),
     .env = "EMBELLAMA_RESUME",
     .help = "Go on where an interrupted run stopped: keep the vectors --output FILE holds, skip that many texts."},
    {.name = "pooling", .alias = "pooling-strategy", .argument = "KIND", .kind = EMB_CLI_WORD, .commands = EMBEDS,
     .offset = AT(pooling), .words = poolings, .env = "EMBELLAMA_POOLING",
     .env_alias = "EMBELLAMA_POOLING_STRATEGY", .fallback = "auto",
     .help = "How token vectors become one. auto: as the model's files say. none: one vector a token."},
    {.name = "normalize", .alias = "normalization-mode", .argument = "KIND", .kind = EMB_CLI_WORD,
     .commands = EMBEDS, .offset = AT(normalize), .words = normalizes, .env = "EMBELLAMA_NORMALIZE",
     .env_alias = "EMBELLAMA_NORMALIZATION", .fallback = "auto",
     .help = "How vectors are scaled. auto: as the model's files say, l2 where they say nothing."},
    {.name = "p", .alias = "pnorm-exponent", .argument = "P", .kind = EMB_CLI_NUMBER, .commands = EMBEDS,
     .offset = AT(p), .env = "EMBELLAMA_P", .env_alias = "EMBELLAMA_PNORM_EXPONENT", .fallback = "2",
     .help = "Exponent of --normalize p-norm, above 0."},
    {.name = "dimensions", .argument = "N", .kind = EMB_CLI_INT, .commands = EMB_CLI_EMBED | EMB_CLI_SIMILARITY,
     .offset = AT(dimensions), .min = 0, .max = 1 << 24, .words = NULL, .env = "EMBELLAMA_DIMENSIONS",
     .fallback = "0", .help = "Keep the first N values of a vector, then normalise again; 0 keeps all."},
    {.name = "precision", .argument = "TYPE", .kind = EMB_CLI_WORD, .commands = MODEL, .offset = AT(precision),
     .words = precisions, .env = "EMBELLAMA_PRECISION", .fallback = "auto",
     .help = "Type of the matrix products. auto: bf16 where the CPU multiplies it itself, else f32."},
    {.name = "truncate", .kind = EMB_CLI_FLAG, .commands = EMB_CLI_EMBED | EMB_CLI_SIMILARITY,
     .offset = AT(truncate), .env = "EMBELLAMA_TRUNCATE",
     .help = "Shorten texts of too many tokens, keeping the closing special token, instead of refusing them."},
    {.name = "max-length", .argument = "N", .kind = EMB_CLI_INT, .commands = EMBEDS, .offset = AT(max_length),
     .min = 0, .max = 1 << 24, .words = lengths, .env = "EMBELLAMA_MAX_LENGTH", .fallback = "0",
     .help = "Tokens of one text, special tokens included; 0: the model's whole context. recommended: what its "
             "authors trained for."},
    {.name = "threads", .letter = 't', .argument = "N", .kind = EMB_CLI_INT, .commands = MODEL,
     .offset = AT(threads), .min = 0, .max = 1024, .words = counts, .env = "EMBELLAMA_THREADS", .fallback = "auto",
     .help = "Threads that compute (of each worker, in a server). auto: as many as the process may keep busy."},
    {.name = "cpu", .argument = "TIER", .kind = EMB_CLI_STRING, .commands = MODEL, .offset = AT(cpu),
     .env = "EMBELLAMA_CPU", .fallback = "auto",
     .help = "Kernels to use: a tier that inspect lists, such as avx2. auto: the best this CPU runs."},
    {.name = "json", .kind = EMB_CLI_FLAG, .commands = EMB_CLI_INSPECT, .offset = AT(json), .env = "EMBELLAMA_JSON",
     .help = "Print one JSON object instead of a table."},
    {.name = "log-level", .argument = "LEVEL", .kind = EMB_CLI_WORD, .commands = EMB_CLI_SERVE,
     .offset = AT(log_level), .words = log_levels, .env = "EMBELLAMA_LOG_LEVEL", .fallback = "info",
     .help = "How much is logged, on standard error."},
    {.name = "help", .letter = 'h', .kind = EMB_CLI_FLAG, .commands = ~0u, .offset = AT(help), .help = "Show this."},
    {.name = "version", .letter = 'V', .kind = EMB_CLI_FLAG, .commands = ~0u, .offset = AT(version),
     .help = "Show the version."},
    {.name = NULL},
};
