/* The command line: one table of options, and the parser that works from it.
 *
 * The table is the only place that knows an option's names, type, range, environment variable, default and help; the help
 * pages, the shell completion and the tests of the man page read it too. It knows nothing of what the commands do. */
#ifndef EMB_CLI_OPTIONS_H
#define EMB_CLI_OPTIONS_H

#include "base/buf.h"
#include "embellama/embellama.h"

/* Which commands take an option, as bits. */
enum emb_cli_command_bit {
    EMB_CLI_EMBED = 1 << 0,
    EMB_CLI_TOKENIZE = 1 << 1,
    EMB_CLI_SIMILARITY = 1 << 2,
    EMB_CLI_INSPECT = 1 << 3,
    EMB_CLI_SERVE = 1 << 4,
    EMB_CLI_OTHER = 1 << 5, /* help, version, completion */
    EMB_CLI_BENCH = 1 << 6,
    EMB_CLI_TUNE = 1 << 7,
    EMB_CLI_DEAD_LETTER = 1 << 8,
    EMB_CLI_RERANK = 1 << 9,
};

/* OFF is a flag that turns off what is on: it takes no value, its variable takes the flag's own (off, on, ...). */
enum emb_cli_kind { EMB_CLI_FLAG, EMB_CLI_OFF, EMB_CLI_INT, EMB_CLI_NUMBER, EMB_CLI_STRING, EMB_CLI_WORD };

/* A word and the value it stands for. Lists end with a NULL name; the first word of a value is the one help shows. */
struct emb_cli_word {
    const char *name;
    int64_t value;
};

struct emb_cli_option {
    const char *name;     /* without the dashes */
    const char *alias;    /* a second name, or NULL */
    char letter;          /* or 0 */
    const char *argument; /* how help calls its value; NULL for a flag or OFF */
    enum emb_cli_kind kind;
    unsigned commands;
    size_t offset;                    /* of its value in struct emb_cli_options */
    int64_t min, max;                 /* of an INT */
    const struct emb_cli_word *words; /* of a WORD; of an INT: names for some values */
    const char *env, *env_alias;      /* or NULL */
    const char *fallback;             /* default, parsed like a given value; NULL: unset */
    const char *help;
};

/* Ended by a NULL name. */
extern const struct emb_cli_option emb_cli_option_table[];

/* A name of another server's that serve takes too: for an option that means the same; for what has no meaning here, with a notice
 * that says why; or to be refused with a sentence, since leaving it out would be no small thing. One of option, notice and
 * refusal is set. */
struct emb_cli_alias {
    const char *name; /* without the dashes; NULL: only a variable */
    const char *env;  /* or NULL */
    bool tei; /* env is text-embeddings-inference's: read only where MODEL_ID is set, which says whose the others are */
    bool flag; /* takes no value */
    const char *option;
    const char *value; /* of a flag with an option */
    const char *notice;
    const char *refusal;
};

/* Ended by one without name and env. */
extern const struct emb_cli_alias emb_cli_alias_table[];
enum { EMB_CLI_ALIASES = 64 };

enum emb_cli_input_format { EMB_CLI_INPUT_TEXT, EMB_CLI_INPUT_JSONL };
enum emb_cli_output_format { EMB_CLI_OUTPUT_JSONL, EMB_CLI_OUTPUT_NPY, EMB_CLI_OUTPUT_F32 };
enum emb_cli_cache_scope { EMB_CLI_CACHE_SERVER, EMB_CLI_CACHE_KEY };
#define EMB_CLI_LENGTH_RECOMMENDED (-1)
#define EMB_CLI_CACHE_AUTO (-1)
#define EMB_CLI_PORT_OFF (-1)

/* FLAG and OFF: bool; INT and WORD: int64_t; NUMBER: double; STRING: const char *, NULL when unset. */
struct emb_cli_options {
    const char *model;
    const char *input, *field, *output;
    const char *prompt_name, *prompt;
    bool decode;
    const char *query;
    int64_t top_n; /* 0: all */
    bool return_documents, raw_scores;
    int64_t input_format, output_format;
    int64_t pooling, normalize, precision;
    double p;
    int64_t dimensions, max_length, threads;
    int64_t numa; /* 1: auto */
    bool truncate, resume, json, pin;
    const char *cpu, *pack_cache;
    const char *model_name, *host;
    int64_t port, workers, batch_tokens, queue_size, max_inputs, request_timeout, log_level, seconds;
    int64_t max_queued_tokens, target_latency; /* milliseconds */
    const char *dead_letter, *url;
    bool dead_letter_text;
    const char *token_ids;
    const char *tls_cert, *tls_key, *unix_socket, *unix_socket_mode;
    int64_t max_connections, max_body, max_header, backlog;
    int64_t compression;                                                            /* 1: on */
    int64_t header_timeout, body_timeout, write_timeout, idle_timeout, drain_delay; /* seconds */
    int64_t stuck_timeout, drain_timeout;                                           /* seconds */
    bool core_dumps;
    bool allow_half_close;
    int64_t log_format;
    const char *api_key, *api_key_file, *cors_origins;
    int64_t rate_limit_requests, rate_limit_tokens; /* a minute; 0: none */
    int64_t cache_size;                             /* megabytes; -1: auto */
    int64_t cache_ttl, cache_scope;
    bool metrics_public;
    const char *metrics_buckets;
    double token_cost;
    int64_t shard_tokens; /* no option's: what tune found, or 0 */
    bool tune;            /* use what tune found */
    bool help, version;
    bool input_given; /* --input itself, not its environment variable */
    char **arguments; /* what is left: points into argv */
    int argument_count;
    bool auto_truncate;
    bool aliased[EMB_CLI_ALIASES]; /* names of emb_cli_alias_table that were given */
    char **given;                  /* the command line as it came, behind the command's name; set by main */
    int given_count;
};

/* Fills *options from defaults, then the environment, then argv[0..argc) (no program or command name in it), which is
 * reordered. On failure the message says what is wrong and names the option or variable: E_INVALID or E_RANGE. */
int emb_cli_parse(struct emb_cli_options *options, unsigned command, int argc, char **argv, embellama_error *error);

/* Edits (insert, delete, replace, swap neighbours) between a and b; words beyond 63 bytes count as far apart. */
size_t emb_cli_distance(const char *a, const char *b);

/* The first word for a value, or "". */
const char *emb_cli_word_name(const struct emb_cli_word *words, int64_t value);

/* Appends the options a command takes, as help shows them, and what aliases there are. */
void emb_cli_describe_options(struct emb_buf *buf, unsigned command);
void emb_cli_describe_aliases(struct emb_buf *buf);

#endif
