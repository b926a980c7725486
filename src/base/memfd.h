/* Memory behind a descriptor, that processes share by passing it on; once sealed, nobody can change it any more. */
#ifndef EMB_MEMFD_H
#define EMB_MEMFD_H

#include "base/team.h"
#include "embellama/embellama.h"

/* An empty memory file, close-on-exec, that can be sealed; name is what /proc shows. *fd is to be closed. Errors: E_IO. */
int emb_memfd_new(int *fd, const char *name, embellama_error *error);

/* Fixes size and content for good. No writable mapping may exist. Errors: E_IO. */
int emb_memfd_seal(int fd, embellama_error *error);

/* Whether its size and content are fixed for good. False for what cannot be sealed at all. */
bool emb_memfd_sealed(int fd);

/* Gives the file behind fd, a memory file or an ordinary one, size bytes (> 0) with room behind each, so that writing through a
 * mapping cannot fail later, and maps them: shared, for writing. Memory files get huge pages where the system has them, cleared by
 * the whole team. *out is to be unmapped with munmap. Errors: E_NOMEM (no room), E_IO. */
int emb_fd_map_new(uint8_t **out, int fd, size_t size, struct emb_team *team, embellama_error *error);

/* Maps the first size bytes (> 0) of the file behind fd for reading, where huge pages can be used. Errors: E_IO. */
int emb_fd_map(uint8_t **out, int fd, size_t size, embellama_error *error);

#endif
