/* Options of serve that are limits of the HTTP front. */
#ifndef EMB_FRONT_OPTIONS_H
#define EMB_FRONT_OPTIONS_H

#include "cli/options.h"
#include "server/front_limits.h"

struct emb_front_limits emb_cli_front_limits(const struct emb_cli_options *options);

#endif
