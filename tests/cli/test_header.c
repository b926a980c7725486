/* The public header alone, in strict C17, and the shared library behind it. */
#include <embellama/embellama.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    embellama_model *model = NULL;
    embellama_error error = {0};
    embellama_model_options options = embellama_model_options_default();
    int status = embellama_model_open(&model, "no/such/model", &options, &error);
    if (status != EMBELLAMA_E_NOT_FOUND || model || error.code != status || !error.message[0] ||
        strcmp(embellama_status_name(status), "E_NOT_FOUND") != 0 || embellama_status_http(status) != 404) {
        fprintf(stderr, "a missing model gives %d: %s\n", status, error.message);
        return 1;
    }
    if (!embellama_version()[0] || embellama_cpu_count() < 1 || !embellama_cpu_tiers()[0]) {
        fprintf(stderr, "version, CPU count or tiers are empty\n");
        return 1;
    }
    return 0;
}
