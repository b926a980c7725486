/* What ps shows for this process. */
#ifndef EMB_TITLE_H
#define EMB_TITLE_H

/* Before anything keeps a pointer to the command line or the environment: moves both elsewhere, argv's pointers and environ following,
 * so that their place may be overwritten. Without memory nothing is moved, and the title stays as it is. */
void emb_title_begin(int argc, char **argv);

/* Shows title, cut where it does not fit, instead of the command line. */
void emb_title_set(const char *title);

#endif
