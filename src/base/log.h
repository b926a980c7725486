/* One structured line an event, in logfmt, on stderr. Used by the server and the command; the library proper never logs. */
#ifndef EMB_LOG_H
#define EMB_LOG_H

enum emb_log_level { EMB_LOG_ERROR, EMB_LOG_WARN, EMB_LOG_INFO, EMB_LOG_DEBUG, EMB_LOG_OFF = -1 };

/* Events above this level are dropped. Set once, before threads start. */
void emb_log_set_level(enum emb_log_level level);
int emb_log_enabled(enum emb_log_level level);

/* "error", "warn", "info", "debug", "off"; returns 0, or -1 for another name. */
int emb_log_level_parse(const char *name, enum emb_log_level *out);

/* Writes "time=... level=info event=EVENT FORMAT..." as one write. The caller gives the rest as logfmt and quotes what may hold
 * spaces with emb_log_quote. Lines are cut at 4 KiB. Safe from many threads. */
__attribute__((format(printf, 3, 4))) void emb_log(enum emb_log_level level, const char *event, const char *format,
                                                   ...);

/* Copies text as a quoted logfmt value into out[0..size), with control characters and quotes escaped, cut where it does not
 * fit. Returns out. */
const char *emb_log_quote(const char *text, char *out, unsigned size);

#endif
