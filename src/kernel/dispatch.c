/* Builds one table a tier, once, and finds the one asked for. Owns the tables; decides nothing but
 * by CPU feature. */
#include "kernel/kernel.h"

#include "base/cpu_features.h"
#include "kernel/tiers.h"

#include <pthread.h>
#include <string.h>

#define MAX_TIERS 5

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct emb_kernels tables[MAX_TIERS];
static const char *names[MAX_TIERS + 1];
static size_t count;

static void add_tier(const char *name, void (*init)(struct emb_kernels *))
{
    if (count > 0) {
        tables[count] = tables[count - 1];
    }
    init(&tables[count]);
    tables[count].tier = name;
    names[count] = name;
    count++;
}

static void build_tables(void)
{
    add_tier("ref", emb_kernels_init_ref);
#if EMB_KERNEL_X86
    struct emb_cpu_features cpu = emb_cpu_features_read();
    if (cpu.avx2) {
        add_tier("avx2", emb_kernels_init_avx2);
    }
    if (cpu.avx512) {
        add_tier("avx512", emb_kernels_init_avx512);
    }
    if (cpu.avx512vnni) {
        add_tier("avx512vnni", emb_kernels_init_avx512vnni);
    }
    if (cpu.avx512vnni && cpu.avx512bf16) {
        add_tier("avx512bf16", emb_kernels_init_avx512bf16);
    }
#elif EMB_KERNEL_ARM
    struct emb_cpu_features cpu = emb_cpu_features_read();
    if (cpu.neon) {
        add_tier("neon", emb_kernels_init_neon);
    }
    if (cpu.dotprod) {
        add_tier("dotprod", emb_kernels_init_dotprod);
    }
    if (cpu.i8mm) {
        add_tier("i8mm", emb_kernels_init_i8mm);
    }
    if (cpu.bf16) {
        add_tier("bf16", emb_kernels_init_bf16);
    }
#endif
}

const struct emb_kernels *emb_kernels_get(const char *tier)
{
    pthread_once(&once, build_tables);
    if (!tier || !*tier || strcmp(tier, "auto") == 0) {
        return &tables[count - 1];
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tier, names[i]) == 0) {
            return &tables[i];
        }
    }
    return NULL;
}

const char *const *emb_kernels_tiers(void)
{
    pthread_once(&once, build_tables);
    return names;
}
