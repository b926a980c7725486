/* One HTTP request of the command's own, to a server of ours: blocking, in clear text, bounded. */
#ifndef EMB_CLI_POST_H
#define EMB_CLI_POST_H

#include "base/buf.h"
#include "embellama/embellama.h"

/* POSTs a JSON body to url ("http://host:port/path", or "unix:/path/of/a/socket") followed by path. key: for Authorization, or NULL. Appends the
 * reply's body to reply and gives its status. Errors: E_INVALID for the url, E_IO for the rest, within two minutes of
 * silence. */
int emb_cli_post(const char *url, const char *path, const char *key, const struct emb_buf *body, int *status,
                 struct emb_buf *reply, embellama_error *error);

#endif
