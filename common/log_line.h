/* log_line: the text of one log line, within what a pipe takes whole. Pure.
 *
 * Values come from peers; whatever they hold, a line stays one line and its pairs stay those that the code wrote: as
 * text, a value with anything but visible ASCII, or with a quote, a backslash or `=`, is quoted and escaped (\n \r \t
 * \" \\, \uXXXX for what controls or turns text, \xXX for bytes that are not UTF-8); as JSON, every value is a string.
 */
#ifndef COMMON_LOG_LINE_H
#define COMMON_LOG_LINE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum { LOG_LINE_SIZE = 4096 }; /* PIPE_BUF: a pipe takes it whole or not at all, also with several writers */

struct log_line {
    char text[LOG_LINE_SIZE];
    size_t len;
    bool json;
    bool full; /* something had to be left out */
};

void log_line_init(struct log_line *l, bool json);
/** Appends text of our own as it is. */
void log_line_str(struct log_line *l, const char *s);
/** Appends ` key=`, or `,"key":`; in JSON a key that every line has gets `_` before it. */
void log_line_key(struct log_line *l, const char *key, size_t n);
/** Appends a value. One that does not fit is cut. */
void log_line_value(struct log_line *l, const char *text, size_t n);
/** Appends the pairs of a printf format (log.h). Known conversions: d i u x X o c s p e f g and %%, with flags, width,
 * precision and the sizes hh h l ll z j t. NULL for %s is written as `-`. */
void log_line_pairs(struct log_line *l, const char *pairs, va_list *args);
/** Closes the line (`truncated=yes` when something was left out) and ends it with NUL; there is room for a newline. */
void log_line_finish(struct log_line *l);

#endif
