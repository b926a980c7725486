/* GET /health: whether the server takes requests, and what it is busy with. 503 once it is stopping. */
#include "api/handlers.h"

#include "base/json_write.h"
#include "server/exchange.h"
#include "server/scheduler.h"

enum { REPLY_BYTES = 65536 };

void emb_api_health(struct emb_server *server, struct emb_exchange *x)
{
    bool stopping = emb_server_stopping(server);
    struct emb_scheduler_stats stats = emb_scheduler_stats(emb_server_scheduler(server));
    struct emb_buf out;
    emb_buf_init(&out, REPLY_BYTES);
    emb_buf_printf(&out, "{\"status\":\"%s\",\"model\":", stopping ? "stopping" : "ok");
    emb_json_write_cstring(&out, emb_server_model_name(server));
    emb_buf_printf(&out, ",\"version\":\"%s\",\"workers\":%d,\"threads_per_worker\":%d", embellama_version(),
                   stats.workers, stats.threads);
    emb_buf_printf(&out, ",\"queue\":{\"waiting\":%zu,\"running\":%zu,\"size\":%zu}}", stats.waiting, stats.running,
                   stats.queue_size);
    emb_exchange_reply(x, stopping ? 503 : 200, "application/json", &out);
}
