/* The process that computes: batches in, vectors out, over the link. It knows nothing of requests, HTTP or JSON. */
#ifndef EMB_WORKER_PROCESS_H
#define EMB_WORKER_PROCESS_H

/* Main function of worker index. Returns the exit code. */
int emb_worker_main(int index);

#endif
