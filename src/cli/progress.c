/* Progress bar. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

static double now(void)
{
    return (double)emb_clock_ns() * 1e-9;
}

void emb_progress_begin(struct emb_progress *progress, bool visible, uint64_t first, uint64_t total)
{
    *progress = (struct emb_progress){
        .shown = visible && isatty(STDERR_FILENO), .began = now(), .first = first, .total = total};
}

/* Seconds as "4:05" or "1:02:03". */
static const char *clock_text(double seconds, char *out, size_t size)
{
    unsigned long s = seconds < 0 ? 0 : seconds > 3.6e6 ? 3599999ul : (unsigned long)(seconds + 0.5);
    if (s >= 3600) {
        snprintf(out, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(out, size, "%lu:%02lu", s / 60, s % 60);
    }
    return out;
}

static void draw(const struct emb_progress *progress, uint64_t done)
{
    double elapsed = now() - progress->began;
    double pace = elapsed > 1e-3 ? 1 / elapsed : 0;
    char line[256], left[32], bar[21];
    struct winsize window = {0};
    int used = 0;
    if (progress->total > progress->first) {
        double part = (double)(done - progress->first) / (double)(progress->total - progress->first);
        part = part > 1 ? 1 : part;
        for (int i = 0; i < 20; i++) {
            bar[i] = part * 20 >= i + 1 ? '#' : '.';
        }
        bar[20] = '\0';
        used = snprintf(line, sizeof line, "[%s] %3.0f %%  %s left  ", bar, part * 100,
                        clock_text(part > 0 ? elapsed * (1 - part) / part : 0, left, sizeof left));
    }
    used += snprintf(line + used, sizeof line - (size_t)used, "%" PRIu64 " texts  %.0f texts/s", progress->texts,
                     (double)progress->texts * pace);
    if (progress->tokens > 0) {
        used += snprintf(line + used, sizeof line - (size_t)used, "  %.0f tokens/s", (double)progress->tokens * pace);
    }
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 && used >= window.ws_col) {
        used = window.ws_col - 1;
    }
    fprintf(stderr, "\r%.*s\033[K", used, line);
    fflush(stderr);
}

void emb_progress_add(struct emb_progress *progress, uint64_t texts, uint64_t tokens, uint64_t done)
{
    progress->texts += texts;
    progress->tokens += tokens;
    if (progress->shown) {
        draw(progress, done);
    }
}

void emb_progress_end(struct emb_progress *progress)
{
    if (progress->shown) {
        char took[32];
        fprintf(stderr, "\r\033[K%" PRIu64 " texts", progress->texts);
        if (progress->tokens > 0) {
            fprintf(stderr, ", %" PRIu64 " tokens", progress->tokens);
        }
        fprintf(stderr, " in %s\n", clock_text(now() - progress->began, took, sizeof took));
        progress->shown = false;
    }
}
