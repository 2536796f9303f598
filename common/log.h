/* log: one line per fact, to stderr or syslog, as text or JSON.
 *
 * A line is: time, level, process[instance], event name, key=value pairs. Values are quoted and escaped when they hold
 * anything but plain visible characters, so nothing that a peer sends can forge a line. Never pass a password, a SASL
 * payload or a stanza body.
 *
 *     log_event(LOG_LVL_INFO, "session-end", "sid=%.8s cause=%s in=%u", sid, fail_word(cause), n);
 *
 * The pairs are one printf format of `key=value` pairs separated by single spaces, where each value is a single
 * conversion or a literal (log_event formats each pair on its own and quotes the value when needed; so `%s` may hold
 * spaces). How values are written, and what NULL gives: log_line.h.
 *
 * JSON: one object per line with time, level, process, instance, pid, event, then the pairs, their values as strings.
 * To syslog a text line goes without time and level, which syslog knows by itself.
 *
 * The process must ignore SIGPIPE: the reader of stderr may go away.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { /* the numbers of syslog */
    LOG_LVL_EMERG,
    LOG_LVL_ALERT,
    LOG_LVL_CRIT,
    LOG_LVL_ERROR,
    LOG_LVL_WARNING,
    LOG_LVL_NOTICE,
    LOG_LVL_INFO,
    LOG_LVL_DEBUG
};

enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/** Sets up the log of this process. `process` ("bosh") is kept by pointer and must be static. May be called again. */
void log_init(const char *process, int instance, enum log_target to, enum log_format format, enum log_level level);
/** The level by its word: emerg alert crit err|error warning|warn notice info debug, any case, with or without `LOG_`
 * before it. Returns the level or -FAIL_CONF. */
int log_level_parse(const char *word);
/** Whether a line of that level would be written: ask before work that is done for the log only. */
bool log_enabled(enum log_level level);
void log_set_level(enum log_level level);

/** Writes one line (see above). Never blocks the loop on a full pipe: a line that cannot be written is counted and
 * dropped; the next line that can be says how many were lost (`log-dropped count=`). errno is kept. */
void log_event(enum log_level level, const char *event, const char *pairs, ...) __attribute__((format(printf, 3, 4)));
/** A line without pairs. */
void log_plain(enum log_level level, const char *event);
/** Lines dropped so far in this process. */
unsigned long log_dropped(void);

#endif
