/* The command embellama: finds the command, parses its options, runs it. Started by a server's supervisor, it is one of that server's
 * processes instead. */
#include "cli/cli.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "pool/loader.h"
#include "pool/setup.h"
#include "pool/title.h"
#include "pool/worker_process.h"

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
    char **given = emb_alloc((size_t)argc + 1, sizeof *given);
    if (!given) {
        emb_fail_nomem(&error);
        return emb_cli_fail(&error);
    }
    memcpy(given, argv, ((size_t)argc + 1) * sizeof *given);
    int code;
    if (emb_cli_parse(&options, command->bit, argc, argv, &error) != EMBELLAMA_OK) {
        code = emb_cli_usage(command->name, "%s", error.message);
    } else if (options.help) {
        code = emb_cli_show_help(command);
    } else {
        options.given = given;
        options.given_count = argc;
        code = options.version ? emb_cli_version(&options) : command->run(&options);
    }
    emb_free(given);
    return code;
}

/* The program called by a supervisor; false where it is not. */
static bool run_role(const char *title, int *code)
{
    int index = 0;
    switch (emb_role_of(title, &index)) {
    case EMB_ROLE_LOADER: *code = emb_loader_main(); return true;
    case EMB_ROLE_FRONT: *code = emb_cli_front(); return true;
    case EMB_ROLE_WORKER: *code = emb_worker_main(index); return true;
    default: return false;
    }
}

int main(int argc, char **argv)
{
    int code;
    occupy_standard_streams();
    if (argc > 0 && run_role(argv[0], &code)) {
        return code;
    }
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
    if (strcmp(program, "embellama-server") == 0) {
        const struct emb_cli_command *serve = emb_cli_find_command("serve");
        emb_title_begin(argc, argv);
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
    if (command && command->bit == EMB_CLI_SERVE) {
        emb_title_begin(argc, argv);
    }
    return command ? run(command, argc - 2, argv + 2) : EMB_CLI_USAGE;
}
