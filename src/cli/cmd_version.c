/* embellama version. */
#include "cli/cli.h"

#include "base/buf.h"

int emb_cli_version(const struct emb_cli_options *options)
{
    (void)options;
    const char *const *tier = embellama_cpu_tiers();
    while (tier[0] && tier[1]) {
        tier++;
    }
    int threads = embellama_cpu_count();
    struct emb_buf line;
    emb_buf_init(&line, 256);
    emb_buf_printf(&line, "embellama %s (%s, %d thread%s)\n", embellama_version(), tier[0] ? tier[0] : "no kernels",
                   threads, threads == 1 ? "" : "s");
    int code = emb_cli_print(&line);
    emb_buf_deinit(&line);
    return code;
}
