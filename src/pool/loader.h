/* The process that reads the model's files, which nobody vouches for, and packs them into memory that all others share. */
#ifndef EMB_LOADER_H
#define EMB_LOADER_H

/* Its main function: packs into EMB_FD_WEIGHTS, seals it, tells the supervisor the sizes or the reason why not. Returns the exit
 * code. */
int emb_loader_main(void);

#endif
