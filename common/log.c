#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* gmtime_r and friends under -std=c11 */
#endif
#include "log.h"

#include "fail.h"
#include "log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *process;
    int instance;
    enum log_target to;
    enum log_format format;
    enum log_level level;
    unsigned long dropped;
    unsigned long unreported;
    char rest[LOG_LINE_SIZE]; /* the end of a line of which a socket or file took only the beginning */
    size_t rest_len;
    int pipe_fd; /* the pipe on stderr, opened a second time so that O_NONBLOCK is ours alone; -1: none */
    struct stat pipe_stat;
} state = {.process = "holdline", .level = LOG_LVL_INFO, .pipe_fd = -1};

/* Level words; the first of a level is the one that is written. */
static const struct {
    const char *word;
    int level;
} levels[] = {
    {"emerg", LOG_LVL_EMERG},
    {"alert", LOG_LVL_ALERT},
    {"crit", LOG_LVL_CRIT},
    {"error", LOG_LVL_ERROR},
    {"warning", LOG_LVL_WARNING},
    {"notice", LOG_LVL_NOTICE},
    {"info", LOG_LVL_INFO},
    {"debug", LOG_LVL_DEBUG},
    {"err", LOG_LVL_ERROR},
    {"warn", LOG_LVL_WARNING},
};

static void
line_time(struct log_line *l)
{
    struct timespec ts;
    struct tm tm;
    char text[40];

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    log_line_str(l, text);
    snprintf(text, sizeof text, ".%03dZ", (int)(ts.tv_nsec / 1000000));
    log_line_str(l, text);
}

/* Everything before the pairs. Syslog knows time and level by itself, so a text line for it begins with the process. */
static void
line_begin(struct log_line *l, enum log_level level, const char *event)
{
    char text[160];

    log_line_init(l, state.format == LOG_FORMAT_JSON);
    if (l->json) {
        log_line_str(l, "{\"time\":\"");
        line_time(l);
        snprintf(text, sizeof text,
            "\",\"level\":\"%s\",\"process\":\"%s\",\"instance\":%d,\"pid\":%d,\"event\":", levels[level].word,
            state.process, state.instance, (int)getpid());
        log_line_str(l, text);
        log_line_value(l, event, strlen(event));
        return;
    }
    if (state.to != LOG_TO_SYSLOG) {
        line_time(l);
        log_line_str(l, " ");
        log_line_str(l, levels[level].word);
        log_line_str(l, " ");
    }
    snprintf(text, sizeof text, "%s[%d] ", state.process, state.instance);
    log_line_str(l, text);
    log_line_value(l, event, strlen(event));
}

/* --- where lines go --- */

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* Whether pipe_fd is still what was opened: descriptors may be closed and used again behind our back. */
static bool
own_pipe_is_open(void)
{
    struct stat st;

    return state.pipe_fd >= 0 && fstat(state.pipe_fd, &st) == 0 && same_file(&st, &state.pipe_stat);
}

/* Whether pipe_fd leads where stderr does. */
static bool
pipe_is_ours(void)
{
    struct stat st;

    return own_pipe_is_open() && fstat(STDERR_FILENO, &st) == 0 && same_file(&st, &state.pipe_stat);
}

/* Opens the pipe on stderr for us alone. Setting O_NONBLOCK on stderr itself would set it for everybody who shares the
 * pipe's end: the shell, the other programs of a pipeline. */
static void
open_pipe(void)
{
    struct stat st;

    if (pipe_is_ours()) {
        return;
    }
    if (own_pipe_is_open()) {
        close(state.pipe_fd);
    }
    state.pipe_fd = -1;
    if (fstat(STDERR_FILENO, &state.pipe_stat) < 0 || !S_ISFIFO(state.pipe_stat.st_mode)) {
        return;
    }
    state.pipe_fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (state.pipe_fd >= 0 && !(fstat(state.pipe_fd, &st) == 0 && same_file(&st, &state.pipe_stat))) {
        close(state.pipe_fd);
        state.pipe_fd = -1;
    }
}

/* Writes what goes without waiting. */
static ssize_t
write_some(const char *bytes, size_t n)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t r;

    if (pipe_is_ours()) {
        return write(state.pipe_fd, bytes, n);
    }
    r = send(STDERR_FILENO, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (r >= 0 || errno != ENOTSOCK) {
        return r;
    }
    if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) {
        return -1;
    }
    return write(STDERR_FILENO, bytes, n);
}

/* Writes a whole line (with its newline), or remembers the end of one that went in part. False: nothing of it was
 * written. */
static bool
write_line(const char *bytes, size_t n)
{
    ssize_t r;

    if (state.rest_len != 0) {
        r = write_some(state.rest, state.rest_len);
        if (r > 0) {
            memmove(state.rest, state.rest + r, state.rest_len - (size_t)r);
            state.rest_len -= (size_t)r;
        }
        if (state.rest_len != 0) {
            return false;
        }
    }
    r = write_some(bytes, n);
    if (r <= 0) {
        return false;
    }
    state.rest_len = n - (size_t)r;
    memcpy(state.rest, bytes + r, state.rest_len);
    return true;
}

static bool
line_out(struct log_line *l, enum log_level level)
{
    log_line_finish(l);
    if (state.to == LOG_TO_SYSLOG) {
        syslog((int)level, "%s", l->text);
        return true;
    }
    l->text[l->len++] = '\n';
    return write_line(l->text, l->len);
}

/* Tells of the lines that were lost, as soon as one can be written again. */
static bool
report_dropped(void)
{
    struct log_line l;
    char count[32];

    if (state.unreported == 0) {
        return true;
    }
    line_begin(&l, LOG_LVL_WARNING, "log-dropped");
    log_line_key(&l, "count", 5);
    snprintf(count, sizeof count, "%lu", state.unreported);
    log_line_value(&l, count, strlen(count));
    if (!line_out(&l, LOG_LVL_WARNING)) {
        return false;
    }
    state.unreported = 0;
    return true;
}

/* --- for the others --- */

void
log_init(const char *process, int instance, enum log_target to, enum log_format format, enum log_level level)
{
    int saved = errno;

    state.process = process;
    state.instance = instance;
    state.to = to;
    state.format = format;
    state.level = level;
    if (to == LOG_TO_SYSLOG) {
        openlog("holdline", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    } else {
        open_pipe();
    }
    errno = saved;
}

int
log_level_parse(const char *word)
{
    if (strncasecmp(word, "LOG_", 4) == 0) {
        word += 4;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcasecmp(word, levels[i].word) == 0) {
            return levels[i].level;
        }
    }
    return -FAIL_CONF;
}

bool
log_enabled(enum log_level level)
{
    return level <= state.level;
}

void
log_set_level(enum log_level level)
{
    state.level = level;
}

/* Sends a finished line, after word of the lost ones. */
static void
send_or_drop(struct log_line *l, enum log_level level)
{
    if (!report_dropped() || !line_out(l, level)) {
        state.dropped++;
        state.unreported++;
    }
}

void
log_event(enum log_level level, const char *event, const char *pairs, ...)
{
    int saved = errno;
    struct log_line l;
    va_list args;

    if (log_enabled(level)) {
        line_begin(&l, level, event);
        va_start(args, pairs);
        log_line_pairs(&l, pairs, &args);
        va_end(args);
        send_or_drop(&l, level);
    }
    errno = saved;
}

void
log_plain(enum log_level level, const char *event)
{
    int saved = errno;
    struct log_line l;

    if (log_enabled(level)) {
        line_begin(&l, level, event);
        send_or_drop(&l, level);
    }
    errno = saved;
}

unsigned long
log_dropped(void)
{
    return state.dropped;
}
