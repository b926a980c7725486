/* Where tests find what the repository does not hold: the default model, and the shared data beside a developer's checkout. */
#ifndef EMB_TESTDATA_H
#define EMB_TESTDATA_H

/* The default model's directory: EMBELLAMA_TEST_MODEL, or where `make model` keeps it; NULL where it is not there. */
const char *emb_test_model(void);

/* A file or folder of the shared data (EMBELLAMA_SHARED, or ../shared beside the source tree), NULL where it is not there. The string
 * stays valid until the fourth call after. */
const char *emb_test_shared(const char *relative);

/* A file of the source tree. Same lifetime. */
const char *emb_test_source(const char *relative);

#endif
