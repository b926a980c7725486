/* The thread's own clock, and the peak of one core for each kind of multiply-add, measured with registers only. */
#ifndef EMB_GEMM_PEAK_H
#define EMB_GEMM_PEAK_H

/* CPU seconds of this thread, so that other programs cost less. */
double bench_now(void);

struct bench_peaks {
    double f32, bf16, i8; /* GFLOP/s; 0 where not known */
};

/* For the instructions that the tier of this name may use. */
struct bench_peaks bench_peaks_of(const char *tier);

#endif
