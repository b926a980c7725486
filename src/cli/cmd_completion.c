/* embellama completion: a bash script made from the tables. */
#include "cli/cli.h"

#include <string.h>

#include "base/buf.h"

static void options_of(struct emb_buf *script, unsigned command)
{
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        if (o->commands & command) {
            emb_buf_printf(script, " --%s", o->name);
        }
    }
}

static void values_of(struct emb_buf *script)
{
    for (const struct emb_cli_option *o = emb_cli_option_table; o->name; o++) {
        if (o->kind != EMB_CLI_WORD) {
            continue;
        }
        emb_buf_printf(script, "        --%s) words='", o->name);
        for (const struct emb_cli_word *w = o->words; w->name; w++) {
            emb_buf_printf(script, "%s%s", w == o->words ? "" : " ", w->name);
        }
        emb_buf_puts(script, "' ;;\n");
    }
}

int emb_cli_completion(const struct emb_cli_options *options)
{
    if (options->argument_count != 1 || strcmp(options->arguments[0], "bash") != 0) {
        return emb_cli_usage("completion", "completion knows one shell: bash");
    }
    struct emb_buf script;
    emb_buf_init(&script, 1 << 16);
    emb_buf_puts(&script, "# bash completion of embellama\n"
                          "_embellama() {\n"
                          "    local words='' word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]}\n"
                          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                          "        words='");
    for (const struct emb_cli_command *c = emb_cli_commands; c->name; c++) {
        emb_buf_printf(&script, "%s%s", c == emb_cli_commands ? "" : " ", c->name);
    }
    emb_buf_puts(&script, "'\n"
                          "    else\n"
                          "        case $last in\n");
    values_of(&script);
    emb_buf_puts(&script, "        *) case ${COMP_WORDS[1]} in\n");
    for (const struct emb_cli_command *c = emb_cli_commands; c->name; c++) {
        emb_buf_printf(&script, "            %s) words='", c->name);
        options_of(&script, c->bit);
        emb_buf_puts(&script, "' ;;\n");
    }
    emb_buf_puts(&script, "            esac ;;\n"
                          "        esac\n"
                          "    fi\n"
                          "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                          "}\n"
                          "complete -o default -F _embellama embellama\n");
    int code = emb_cli_print(&script);
    emb_buf_deinit(&script);
    return code;
}
