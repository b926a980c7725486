/* Options of serve that are about clients: limits of the HTTP front, who may do what, the cache. */
#ifndef EMB_FRONT_OPTIONS_H
#define EMB_FRONT_OPTIONS_H

#include "cli/options.h"
#include "server/access/admission.h"
#include "server/cache.h"
#include "server/http/front_limits.h"

struct emb_front_limits emb_cli_front_limits(const struct emb_cli_options *options);

/* Points into options. */
struct emb_access_options emb_cli_access(const struct emb_cli_options *options);

/* All but dim. */
struct emb_cache_options emb_cli_cache(const struct emb_cli_options *options);

#endif
