/* The help pages, from the tables of commands and options. */
#include "cli/cli.h"

#include "base/buf.h"

int emb_cli_show_overview(void)
{
    struct emb_buf page;
    emb_buf_init(&page, 1 << 16);
    emb_buf_puts(&page, "embellama turns text into vectors on the CPU.\n"
                        "\n"
                        "Usage: embellama COMMAND [OPTION...] [ARGUMENT...]\n"
                        "\n"
                        "Commands:\n");
    for (const struct emb_cli_command *c = emb_cli_commands; c->name; c++) {
        emb_buf_printf(&page, "  %-12s %s\n", c->name, c->summary);
    }
    emb_buf_puts(&page, "\n"
                        "Examples:\n"
                        "  embellama embed 'Hello, world!'\n"
                        "  embellama similarity 'a cat on a mat' 'a kitten lies on the rug'\n"
                        "  embellama serve\n"
                        "\n"
                        "embellama help COMMAND shows its options; each can also be set by an environment variable.\n");
    int code = emb_cli_print(&page);
    emb_buf_deinit(&page);
    return code;
}

int emb_cli_show_help(const struct emb_cli_command *command)
{
    struct emb_buf page;
    emb_buf_init(&page, 1 << 16);
    emb_buf_printf(&page, "%s\n\nUsage: embellama %s%s%s\n\n%s\nOptions:\n", command->summary, command->name,
                   command->synopsis[0] ? " " : "", command->synopsis, command->about);
    emb_cli_describe_options(&page, command->bit);
    if (command->bit == EMB_CLI_SERVE) {
        emb_buf_puts(&page,
                     "\nNames of other servers that it takes as well (those of text-embeddings-inference's variables "
                     "only\nwhere its MODEL_ID is set):\n");
        emb_cli_describe_aliases(&page);
    }
    emb_buf_printf(&page, "\nExamples:\n%s", command->examples);
    int code = emb_cli_print(&page);
    emb_buf_deinit(&page);
    return code;
}

int emb_cli_help(const struct emb_cli_options *options)
{
    if (options->argument_count == 0) {
        return emb_cli_show_overview();
    }
    if (options->argument_count > 1) {
        return emb_cli_usage(NULL, "help takes one command");
    }
    const struct emb_cli_command *command = emb_cli_find_command(options->arguments[0]);
    return command ? emb_cli_show_help(command) : EMB_CLI_USAGE;
}
