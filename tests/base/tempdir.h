/* For tests: a folder of their own, and files in it. Every failure ends the program. */
#ifndef TEMPDIR_H
#define TEMPDIR_H

#include <stddef.h>

/* Makes a fresh folder, removed with all its content at exit. */
const char *tempdir(void);

/* Writes a file below it, making the folders of name, and returns its path, good until the next call. */
const char *tempdir_write(const char *name, const void *data, size_t size);

/* The path of name below it, good until the next call. */
const char *tempdir_path(const char *name);

/* Removes one file below it; one that is not there is fine. */
void tempdir_remove(const char *name);

#endif
