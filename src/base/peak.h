/* The most arithmetic a core can do, measured: multiply-adds on registers, with nothing to load and nothing to wait for. */
#ifndef EMB_PEAK_H
#define EMB_PEAK_H

#include "embellama/embellama.h"

/* FLOP/s of the calling thread (of its own time, so that other programs cost less), the best of runs that together take about
 * seconds, with the widest instructions that products of this precision can use on the kernel tier named. 0 where no loop is
 * written for this CPU. */
double emb_peak_measure(const char *tier, embellama_precision precision, double seconds);

#endif
