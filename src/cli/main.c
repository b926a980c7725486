/* The command embellama: finds the command, parses its options, runs it. */
#include "cli/cli.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A closed standard stream would otherwise become the first file opened. Opened the wrong way round, so that use of it still
 * is an error. */
static void occupy_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
        }
    }
}

static int run(const struct emb_cli_command *command, int argc, char **argv)
{
    struct emb_cli_options options;
    embellama_error error;
    if (emb_cli_parse(&options, command->bit, argc, argv, &error) != EMBELLAMA_OK) {
        return emb_cli_usage(command->name, "%s", error.message);
    }
    if (options.help) {
        return emb_cli_show_help(command);
    }
    return options.version ? emb_cli_version(&options) : command->run(&options);
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
    if (strcmp(program, "embellama-server") == 0) {
        const struct emb_cli_command *serve = emb_cli_find_command("serve");
        return serve ? run(serve, argc - 1, argv + 1) : EMB_CLI_USAGE;
    }
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return emb_cli_show_overview();
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        return emb_cli_version(NULL);
    }
    if (argv[1][0] == '-') {
        return emb_cli_usage(NULL, "a command comes before options such as %.60s", argv[1]);
    }
    const struct emb_cli_command *command = emb_cli_find_command(argv[1]);
    return command ? run(command, argc - 2, argv + 2) : EMB_CLI_USAGE;
}
