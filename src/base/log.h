/* One structured line an event, on stderr. Used by the server and the command; the library proper never logs.
 *
 * A line never holds a text that was sent to be embedded. Everything here is safe from many threads. */
#ifndef EMB_LOG_H
#define EMB_LOG_H

#include <stdint.h>

enum emb_log_level { EMB_LOG_ERROR, EMB_LOG_WARN, EMB_LOG_INFO, EMB_LOG_DEBUG, EMB_LOG_OFF = -1 };

/* LOGFMT: time=... level=info event=EVENT key=value ...; JSON: the same as one object. */
enum emb_log_format { EMB_LOG_LOGFMT, EMB_LOG_JSON };

/* Events above this level are dropped. At any time. */
void emb_log_set_level(enum emb_log_level level);
enum emb_log_level emb_log_level(void);
int emb_log_enabled(enum emb_log_level level);

/* Moves the level by so many steps (positive: more is logged), from "off" to "debug". Safe in a signal handler.
 * Returns the new one. */
enum emb_log_level emb_log_step(int by);

/* "error", "warn", "info", "debug", "off"; parse returns 0, or -1 for another name. */
int emb_log_level_parse(const char *name, enum emb_log_level *out);
const char *emb_log_level_name(enum emb_log_level level);

void emb_log_set_format(enum emb_log_format format);

/* Which process writes, told in each line as process=NAME; NULL: not told. Before threads start; name must live on. */
void emb_log_set_process(const char *name);

/* Writes "time=... level=info event=EVENT FORMAT...". The caller gives the rest as logfmt, `key=value` with single
 * spaces between, and quotes with emb_log_quote what may hold spaces or came from a client. In JSON unquoted numbers
 * stay numbers, and everything else is a string. Lines are cut below 4 KiB, so that lines of several processes in one
 * pipe are never mixed. Never blocks for long: what stderr does not take within 100 ms is dropped and counted. */
__attribute__((format(printf, 3, 4))) void emb_log(enum emb_log_level level, const char *event, const char *format,
                                                   ...);

/* From now on lines are handed to a thread of their own, which writes many at once. Where its memory is full, lines of
 * level info and debug are dropped, then others too; one line says how many. An error waits up to 50 ms until it is
 * written. Stops by itself at exit(). Without memory for it lines are written directly, as before. */
void emb_log_start(void);

/* Gives the thread up to a second to write what is left, and ends it. */
void emb_log_stop(void);

/* Lines dropped so far. */
uint64_t emb_log_dropped(void);

/* Copies text as a quoted logfmt value into out[0..size), with control characters, quotes and what is not UTF-8
 * escaped, cut where it does not fit. Returns out. */
const char *emb_log_quote(const char *text, char *out, unsigned size);

#endif
