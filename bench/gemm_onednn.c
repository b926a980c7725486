/* oneDNN's side of gemm_peers: its matmul primitive, weights in the form it prefers. */
#include "gemm_peers.h"

#include <dnnl.h>
#include <stdlib.h>

struct plan {
    dnnl_primitive_t matmul;
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[3];
};

static void run(void *state)
{
    struct plan *p = state;
    dnnl_primitive_execute(p->matmul, p->stream, 3, p->args);
    dnnl_stream_wait(p->stream);
}

void bench_onednn_cap_avx2(void)
{
    dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
}

static bool memory_of(dnnl_memory_t *out, const dnnl_memory_desc_t *desc, dnnl_engine_t engine, const void *data)
{
    /* The interface has no const; what is passed here is only read. */
    union {
        const void *in;
        void *out;
    } pointer = {data};
    return dnnl_memory_create(out, desc, engine, data ? pointer.out : bench_buffer(dnnl_memory_desc_get_size(desc))) ==
           dnnl_success;
}

static bool reorder(dnnl_memory_t from, const dnnl_memory_desc_t *from_desc, dnnl_memory_t to,
                    const dnnl_memory_desc_t *to_desc, dnnl_engine_t engine, dnnl_stream_t stream)
{
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    if (dnnl_reorder_primitive_desc_create(&desc, from_desc, engine, to_desc, engine, NULL) != dnnl_success ||
        dnnl_primitive_create(&primitive, desc) != dnnl_success) {
        return false;
    }
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    bool done =
        dnnl_primitive_execute(primitive, stream, 2, args) == dnnl_success && dnnl_stream_wait(stream) == dnnl_success;
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(desc);
    return done;
}

bool bench_onednn_new(struct bench_contender *c, const struct bench_operands *o)
{
    static const dnnl_data_type_t x_types[] = {dnnl_f32, dnnl_bf16, dnnl_u8};
    static const dnnl_data_type_t w_types[] = {dnnl_f32, dnnl_bf16, dnnl_s8};
    dnnl_data_type_t x_type = x_types[o->type], w_type = w_types[o->type];
    const void *x = o->type == BENCH_F32 ? (const void *)o->x : o->type == BENCH_BF16 ? (const void *)o->x16 : o->xu8;
    const void *w = o->type == BENCH_F32 ? (const void *)o->w : o->type == BENCH_BF16 ? (const void *)o->w16 : o->w8;
    dnnl_dims_t xd = {(dnnl_dim_t)o->m, (dnnl_dim_t)o->k}, wd = {(dnnl_dim_t)o->k, (dnnl_dim_t)o->n};
    dnnl_dims_t outd = {(dnnl_dim_t)o->m, (dnnl_dim_t)o->n};
    dnnl_memory_desc_t x_desc, any_desc, w_desc, out_desc;
    dnnl_memory_desc_init_by_tag(&x_desc, 2, xd, x_type, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&any_desc, 2, wd, w_type, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&w_desc, 2, wd, w_type, dnnl_ba);
    dnnl_memory_desc_init_by_tag(&out_desc, 2, outd, o->type == BENCH_I8 ? dnnl_s32 : dnnl_f32, dnnl_ab);

    dnnl_engine_t engine;
    dnnl_matmul_desc_t op;
    dnnl_primitive_desc_t desc;
    struct plan *p = bench_buffer(sizeof *p);
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&p->stream, engine, dnnl_stream_default_flags) != dnnl_success ||
        dnnl_matmul_desc_init(&op, &x_desc, &any_desc, NULL, &out_desc) != dnnl_success ||
        dnnl_primitive_desc_create(&desc, &op, NULL, engine, NULL) != dnnl_success ||
        dnnl_primitive_create(&p->matmul, desc) != dnnl_success) {
        return false;
    }
    const dnnl_memory_desc_t *packed_desc = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    dnnl_memory_t x_memory, w_memory, packed, out;
    if (!memory_of(&x_memory, &x_desc, engine, x) || !memory_of(&w_memory, &w_desc, engine, w) ||
        !memory_of(&packed, packed_desc, engine, NULL) || !memory_of(&out, &out_desc, engine, NULL) ||
        !reorder(w_memory, &w_desc, packed, packed_desc, engine, p->stream)) {
        return false;
    }
    p->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, x_memory};
    p->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, packed};
    p->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, out};
    void *result = NULL;
    dnnl_memory_get_data_handle(out, &result);
    *c = (struct bench_contender){run, p, result};
    return true;
}
