/* embellama serve, in a build without the server. */
#include "cli/cli.h"

int emb_cli_serve(const struct emb_cli_options *options)
{
    (void)options;
    emb_cli_say("this build has no server");
    return EMB_CLI_FAILED;
}
