/* The loader: whatever a broken file does to it, it does to it alone. */
#include "pool/loader.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/memfd.h"
#include "pool/control.h"
#include "pool/hook.h"
#include "pool/setup.h"

static int load(const struct emb_setup *setup, struct emb_control *report, embellama_error *error)
{
    embellama_model *model = NULL;
    embellama_model_options options = embellama_model_options_default();
    options.precision = (embellama_precision)setup->precision;
    options.cpu = setup->cpu[0] ? setup->cpu : NULL;
    options.pack_cache = setup->pack_cache[0] ? setup->pack_cache : NULL;
    int rc = embellama_model_pack(EMB_FD_WEIGHTS, setup->model_path, &options, error);
    if (rc == EMBELLAMA_OK) {
        rc = emb_memfd_seal(EMB_FD_WEIGHTS, error);
    }
    if (rc == EMBELLAMA_OK) {
        rc = embellama_model_attach(&model, EMB_FD_WEIGHTS, NULL, options.cpu, error);
    }
    if (rc == EMBELLAMA_OK) {
        const embellama_model_info *info = embellama_model_get_info(model);
        report->context_length = info->context_length;
        report->recommended_length = info->recommended_length;
        report->dim = info->dim;
    }
    embellama_model_close(model);
    return rc;
}

int emb_loader_main(void)
{
    struct emb_setup setup;
    struct emb_control report = {.kind = EMB_CONTROL_LOADED};
    embellama_error error;
    if (emb_setup_read(&setup, &error) != EMBELLAMA_OK) {
        fprintf(stderr, "embellama: %s\n", error.message);
        return 2;
    }
    emb_child_begin(&setup, EMB_ROLE_LOADER, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct emb_control none;
    if (emb_control_receive(EMB_FD_CONTROL, &none) == EMB_CONTROL_END) {
        return 1; /* the supervisor was gone before that */
    }
    emb_hook_load();
    report.value = load(&setup, &report, &error);
    if (report.value != EMBELLAMA_OK) {
        snprintf(report.text, sizeof report.text, "%s", error.message);
    }
    return emb_control_send(EMB_FD_CONTROL, &report) && report.value == EMBELLAMA_OK ? 0 : 1;
}
