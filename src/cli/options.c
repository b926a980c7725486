/* Parsing and describing options, from the table in option_table.c. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static void *value_of(struct emb_cli_options *options, const struct emb_cli_option *option)
{
    return (char *)options + option->offset;
}

const char *emb_cli_word_name(const struct emb_cli_word *words, int64_t value)
{
    for (; words && words->name; words++) {
        if (words->value == value) {
            return words->name;
        }
    }
    return "";
}

static const struct emb_cli_word *find_word(const struct emb_cli_word *words, const char *name)
{
    for (; words && words->name; words++) {
        if (strcmp(words->name, name) == 0) {
            return words;
        }
    }
    return NULL;
}

size_t emb_cli_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t n = strlen(a), m = strlen(b);
    size_t row[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= m; j++) {
        row[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

/* ---- One value ---------------------------------------------------------------------------------------------------- */

static void list_words(struct emb_buf *buf, const struct emb_cli_word *words, const char *separator)
{
    for (const struct emb_cli_word *w = words; w->name; w++) {
        if (emb_cli_word_name(words, w->value) == w->name) { /* not a second name of a value */
            emb_buf_printf(buf, "%s%s", w == words ? "" : separator, w->name);
        }
    }
}

static int set_flag(bool *out, const char *label, const char *text, embellama_error *error)
{
    static const struct emb_cli_word truths[] = {{"1", 1},     {"true", 1}, {"yes", 1}, {"on", 1}, {"0", 0},
                                                 {"false", 0}, {"no", 0},   {"off", 0}, {NULL, 0}};
    const struct emb_cli_word *word = find_word(truths, text);
    if (!word) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: '%.40s' is neither true nor false", label, text);
    }
    *out = word->value != 0;
    return EMBELLAMA_OK;
}

static int set_int(int64_t *out, const struct emb_cli_option *option, const char *label, const char *text,
                   embellama_error *error)
{
    const struct emb_cli_word *word = find_word(option->words, text);
    if (word) {
        *out = word->value;
        return EMBELLAMA_OK;
    }
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || isspace((unsigned char)text[0])) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: '%.40s' is not a whole number%s%s", label, text,
                        option->words ? " or " : "", option->words ? option->words[0].name : "");
    }
    if (errno == ERANGE || value < option->min || value > option->max) {
        return emb_fail(error, EMBELLAMA_E_RANGE, "%s: %.40s is not between %lld and %lld", label, text,
                        (long long)option->min, (long long)option->max);
    }
    *out = value;
    return EMBELLAMA_OK;
}

static int set_number(double *out, const char *label, const char *text, embellama_error *error)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: '%.40s' is not a number", label, text);
    }
    if (!(value > 0) || value > 1e6) {
        return emb_fail(error, EMBELLAMA_E_RANGE, "%s: %.40s is not above 0 and at most 1000000", label, text);
    }
    *out = value;
    return EMBELLAMA_OK;
}

static int set_word(int64_t *out, const struct emb_cli_option *option, const char *label, const char *text,
                    embellama_error *error)
{
    const struct emb_cli_word *word = find_word(option->words, text);
    if (!word) {
        struct emb_buf list;
        emb_buf_init(&list, 512);
        list_words(&list, option->words, ", ");
        int rc = emb_fail(error, EMBELLAMA_E_INVALID, "%s: '%.40s' is not one of %s", label, text,
                          list.failed ? "its words" : list.data);
        emb_buf_deinit(&list);
        return rc;
    }
    *out = word->value;
    return EMBELLAMA_OK;
}

/* label names where the text came from, for messages: "--threads" or "EMBELLAMA_THREADS". */
static int set_value(struct emb_cli_options *options, const struct emb_cli_option *option, const char *label,
                     const char *text, embellama_error *error)
{
    void *at = value_of(options, option);
    switch (option->kind) {
    case EMB_CLI_FLAG:
    case EMB_CLI_OFF: return set_flag(at, label, text, error);
    case EMB_CLI_INT: return set_int(at, option, label, text, error);
    case EMB_CLI_NUMBER: return set_number(at, label, text, error);
    case EMB_CLI_WORD: return set_word(at, option, label, text, error);
    case EMB_CLI_STRING:
        if (text[0] == '\0') {
            return emb_fail(error, EMBELLAMA_E_INVALID, "%s: the value is empty", label);
        }
        *(const char **)at = text;
        return EMBELLAMA_OK;
    }
    return EMBELLAMA_E_INVALID;
}

/* ---- The whole line ----------------------------------------------------------------------------------------------- */

/* A variable's text; NULL where it is unset or empty. */
static const char *variable(const char *name)
{
    const char *text = name ? getenv(name) : NULL;
    return text && text[0] != '\0' ? text : NULL;
}

static bool is_named(const char *name, const char *text, size_t size)
{
    return name && strlen(name) == size && memcmp(name, text, size) == 0;
}

static int unknown_option(unsigned command, const char *name, size_t size, embellama_error *error)
{
    char text[64];
    size_t used = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, name, used);
    text[used] = '\0';
    const char *nearest = NULL;
    size_t best = used / 3 + 2; /* farther than this is no likely slip */
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        if (is_named(o->name, name, size) || is_named(o->alias, name, size)) {
            return emb_fail(error, EMBELLAMA_E_INVALID, "option --%s does not belong to this command", text);
        }
        const char *names[] = {o->name, o->alias};
        for (int i = 0; i < 2 && (o->commands & command); i++) {
            size_t distance = names[i] ? emb_cli_distance(text, names[i]) : best;
            if (distance < best) {
                best = distance;
                nearest = names[i];
            }
        }
    }
    return nearest ? emb_fail(error, EMBELLAMA_E_INVALID, "unknown option --%s; did you mean --%s?", text, nearest)
                   : emb_fail(error, EMBELLAMA_E_INVALID, "unknown option --%s", text);
}

static const struct emb_cli_option *find_option(unsigned command, const char *name, size_t size, char letter)
{
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        bool match = name ? is_named(o->name, name, size) || is_named(o->alias, name, size) : o->letter == letter;
        if (match && (o->commands & command)) {
            return o;
        }
    }
    return NULL;
}

/* An option's value as it stands on the command line. */
struct spelling {
    char label[80];    /* for messages: "--port" */
    const char *value; /* what stands behind "=" or the letter, or NULL */
    const char *next;  /* the next word, or NULL */
};

/* Sets *value and returns how many words of argv are taken (1 or 2), or a negative status. */
static int take_value(const char **value, const struct spelling *given, const char *argument, embellama_error *error)
{
    if (given->value) {
        *value = given->value;
        return 1;
    }
    if (!given->next) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s needs a value: %s %s", given->label, given->label, argument);
    }
    *value = given->next;
    return 2;
}

static int use_option(struct emb_cli_options *options, const struct emb_cli_option *o, const struct spelling *given,
                      embellama_error *error)
{
    const char *value = given->value;
    int taken = 1;
    if (o->kind == EMB_CLI_OFF && value) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s takes no value", given->label);
    }
    if (o->kind == EMB_CLI_FLAG || o->kind == EMB_CLI_OFF) {
        value = value ? value : o->kind == EMB_CLI_FLAG ? "true" : "false";
    } else {
        taken = take_value(&value, given, o->argument, error);
    }
    if (taken < 0) {
        return taken;
    }
    options->input_given |= o->offset == offsetof(struct emb_cli_options, input);
    int rc = set_value(options, o, given->label, value, error);
    return rc == EMBELLAMA_OK ? taken : rc;
}

static int use_alias(struct emb_cli_options *options, const struct emb_cli_alias *alias, struct spelling *given,
                     embellama_error *error)
{
    size_t i = (size_t)(alias - emb_cli_alias_table);
    if (alias->refusal) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: %s", given->label, alias->refusal);
    }
    if (options->aliased[i] && alias->option) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s is given twice", given->label);
    }
    if (alias->flag && given->value) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s takes no value", given->label);
    }
    options->aliased[i] = true;
    if (alias->notice) {
        const char *value;
        return alias->flag ? 1 : take_value(&value, given, "VALUE", error);
    }
    if (alias->flag) {
        given->value = alias->value;
    }
    return use_option(options, find_option(EMB_CLI_SERVE, alias->option, strlen(alias->option), 0), given, error);
}

static const struct emb_cli_alias *find_alias(unsigned command, const char *name, size_t size)
{
    for (const struct emb_cli_alias *a = emb_cli_alias_table; a->name || a->env; a++) {
        if ((command & EMB_CLI_SERVE) && is_named(a->name, name, size)) {
            return a;
        }
    }
    return NULL;
}

/* One argument that begins with a dash. Returns how many words of argv it took (1 or 2), or a negative status. */
static int take_option(struct emb_cli_options *options, unsigned command, int left, char **argv, embellama_error *error)
{
    const char *text = argv[0];
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1);
    size_t size = is_long ? strcspn(name, "=") : 1;
    struct spelling given = {.next = left > 1 ? argv[1] : NULL};
    given.value = is_long ? (name[size] == '=' ? name + size + 1 : NULL) : (name[1] ? name + 1 : NULL);
    const struct emb_cli_option *o = find_option(command, is_long ? name : NULL, size, name[0]);
    const struct emb_cli_alias *alias = is_long && !o ? find_alias(command, name, size) : NULL;
    if (!o && !alias) {
        return is_long ? unknown_option(command, name, size, error)
                       : emb_fail(error, EMBELLAMA_E_INVALID,
                                  "unknown option %.16s (-- goes before texts that begin "
                                  "with a dash)",
                                  text);
    }
    snprintf(given.label, sizeof given.label, "--%.*s", is_long ? (int)size : 60, is_long ? name : o->name);
    return alias ? use_alias(options, alias, &given, error) : use_option(options, o, &given, error);
}

/* What a variable of another server's asks for. */
static int use_variable(struct emb_cli_options *options, const struct emb_cli_alias *alias, const char *text,
                        embellama_error *error)
{
    if (alias->refusal) {
        return emb_fail(error, EMBELLAMA_E_INVALID, "%s: %s", alias->env, alias->refusal);
    }
    bool wanted = true;
    if (alias->flag) {
        int rc = set_flag(&wanted, alias->env, text, error);
        if (rc != EMBELLAMA_OK || !wanted) {
            return rc;
        }
    }
    if (alias->notice) {
        options->aliased[alias - emb_cli_alias_table] = true;
        return EMBELLAMA_OK;
    }
    const struct emb_cli_option *o = find_option(EMB_CLI_SERVE, alias->option, strlen(alias->option), 0);
    bool ours = variable(o->env) || variable(o->env_alias);
    return ours ? EMBELLAMA_OK : set_value(options, o, alias->env, alias->flag ? alias->value : text, error);
}

/* Defaults, then environment. An empty variable counts as unset. */
static int set_defaults(struct emb_cli_options *options, unsigned command, embellama_error *error)
{
    int rc = EMBELLAMA_OK;
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name && rc == EMBELLAMA_OK; o++) {
        if (o->fallback) {
            rc = set_value(options, o, o->name, o->fallback, error);
        }
        const char *env = variable(o->env) ? o->env : o->env_alias;
        if (rc == EMBELLAMA_OK && (o->commands & command) && variable(env)) {
            rc = set_value(options, o, env, variable(env), error);
        }
    }
    const struct emb_cli_alias *a = emb_cli_alias_table;
    bool tei = variable("MODEL_ID") != NULL;
    for (; (command & EMB_CLI_SERVE) && (a->name || a->env) && rc == EMBELLAMA_OK; a++) {
        if (variable(a->env) && (tei || !a->tei)) {
            rc = use_variable(options, a, variable(a->env), error);
        }
    }
    return rc;
}

int emb_cli_parse(struct emb_cli_options *options, unsigned command, int argc, char **argv, embellama_error *error)
{
    *options = (struct emb_cli_options){.arguments = argv};
    int environment = set_defaults(options, command, error);
    bool only_arguments = false;
    for (int i = 0; i < argc;) {
        char *text = argv[i];
        if (only_arguments || text[0] != '-' || text[1] == '\0') {
            argv[options->argument_count++] = text;
            i++;
        } else if (strcmp(text, "--") == 0) {
            only_arguments = true;
            i++;
        } else {
            embellama_error own;
            int taken = take_option(options, command, argc - i, argv + i, &own);
            if (taken < 0) {
                return emb_fail(error, taken, "%s", own.message);
            }
            i += taken;
        }
    }
    /* A wrong variable must not keep anyone from the help. */
    return options->help || options->version ? EMBELLAMA_OK : environment;
}

/* ---- Help --------------------------------------------------------------------------------------------------------- */

/* Appends text in lines of at most width columns, each after the first indented. */
static void wrap(struct emb_buf *buf, const char *text, size_t indent, size_t width)
{
    size_t column = indent;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + word > width) {
            emb_buf_printf(buf, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            emb_buf_puts(buf, " ");
            column++;
        }
        emb_buf_append(buf, text, word);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    emb_buf_puts(buf, "\n");
}

static void describe_more(struct emb_buf *more, const struct emb_cli_option *o)
{
    const char *separator = "[";
    if (o->kind == EMB_CLI_WORD) {
        emb_buf_puts(more, "[");
        list_words(more, o->words, "|");
        separator = "; ";
    } else if (o->kind == EMB_CLI_INT) {
        emb_buf_printf(more, "[%lld to %lld", (long long)o->min, (long long)o->max);
        if (o->words) {
            emb_buf_printf(more, ", or %s", o->words[0].name);
        }
        separator = "; ";
    }
    if (o->fallback && o->kind != EMB_CLI_OFF) {
        emb_buf_printf(more, "%sdefault %s", separator, o->fallback);
        separator = "; ";
    }
    if (o->alias) {
        emb_buf_printf(more, "%salso --%s", separator, o->alias);
        separator = "; ";
    }
    if (o->env) {
        emb_buf_printf(more, "%senv %s%s", separator, o->env, o->kind == EMB_CLI_OFF ? "=off" : "");
        if (o->env_alias) {
            emb_buf_printf(more, " or %s", o->env_alias);
        }
        separator = "; ";
    }
    emb_buf_puts(more, separator[0] == '[' ? "" : "]");
}

void emb_cli_describe_options(struct emb_buf *buf, unsigned command)
{
    enum { INDENT = 29, WIDTH = 100 };
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        if (!(o->commands & command)) {
            continue;
        }
        char letter[8] = "    ", head[64];
        if (o->letter) {
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        }
        snprintf(head, sizeof head, "  %s--%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        emb_buf_printf(buf, "%-*s", INDENT, head);
        struct emb_buf text;
        emb_buf_init(&text, 2048);
        emb_buf_printf(&text, "%s ", o->help);
        describe_more(&text, o);
        wrap(buf, text.failed ? o->help : text.data, INDENT, WIDTH);
        emb_buf_deinit(&text);
    }
}

void emb_cli_describe_aliases(struct emb_buf *buf)
{
    enum { INDENT = 29, WIDTH = 100 };
    for (const struct emb_cli_alias *a = emb_cli_alias_table; a->name || a->env; a++) {
        char head[96];
        struct emb_buf text;
        snprintf(head, sizeof head, "  %s%s", a->name ? "--" : "", a->name ? a->name : a->env);
        emb_buf_init(&text, 1024);
        emb_buf_printf(&text, "%s%s%s",
                       a->option   ? "--"
                       : a->notice ? "Does nothing: "
                                   : "Refused: ",
                       a->option   ? a->option
                       : a->notice ? a->notice
                                   : a->refusal,
                       a->value ? "=" : "");
        emb_buf_printf(&text, "%s.", a->value ? a->value : "");
        if (a->name && a->env) {
            emb_buf_printf(&text, " [env %s]", a->env);
        }
        emb_buf_printf(buf, "%-*s", INDENT, head);
        wrap(buf, text.failed ? "" : text.data, INDENT, WIDTH);
        emb_buf_deinit(&text);
    }
}
