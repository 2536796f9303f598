#include "common/fail.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

/* stderr is a pipe while a test runs; what was logged is read from its other end. */
static int real_stderr, reader;
static char got[300000];

static void
replace_stderr(int fd)
{
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);
}

static int
begin(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    reader = fds[0];
    real_stderr = dup(STDERR_FILENO);
    replace_stderr(fds[1]);
    log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LVL_DEBUG);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(reader);
    return 0;
}

/* Everything that was logged since the last call. */
static const char *
logged(void)
{
    size_t n = 0;
    ssize_t r;

    while (n < sizeof got - 1 && (r = read(reader, got + n, sizeof got - 1 - n)) > 0) {
        n += (size_t)r;
    }
    got[n] = '\0';
    return got;
}

/* The line's part after time, level and process; there must be exactly one line. */
static const char *
pairs_of(const char *line)
{
    const char *p = strstr(line, "unit[3] ");

    assert_non_null(p);
    assert_non_null(strchr(line, '\n'));
    assert_string_equal(strchr(line, '\n'), "\n");
    got[strlen(got) - 1] = '\0';
    return p + strlen("unit[3] ");
}

#define LOGGED(expected, ...)                                                                                          \
    do {                                                                                                               \
        log_event(LOG_LVL_INFO, __VA_ARGS__);                                                                          \
        assert_string_equal(pairs_of(logged()), expected);                                                             \
    } while (0)

static void
test_shape_of_a_text_line(void **state)
{
    regex_t re;

    (void)state;
    log_event(LOG_LVL_WARNING, "session-end", "sid=%.8s cause=%s in=%u", "4f2a99aabbccdd", fail_word(FAIL_IO), 12U);
    assert_int_equal(
        regcomp(&re,
            "^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9][.][0-9][0-9][0-9]Z warning "
            "unit\\[3\\] session-end sid=4f2a99aa cause=io in=12\n$",
            REG_EXTENDED),
        0);
    assert_int_equal(regexec(&re, logged(), 0, NULL, 0), 0);
    regfree(&re);
    log_plain(LOG_LVL_INFO, "ready");
    assert_string_equal(pairs_of(logged()), "ready");
}

static void
test_conversions(void **state)
{
    int n = 5;

    (void)state;
    LOGGED("e a=-1 b=7 c=z", "e", "a=%d b=%i c=%c", -1, 7, 'z');
    LOGGED("e a=4294967295 b=ff c=FF d=17", "e", "a=%u b=%x c=%X d=%o", 4294967295U, 255U, 255U, 15U);
    LOGGED("e a=-5 b=5 c=-6 d=6", "e", "a=%ld b=%lu c=%lld d=%llu", -5L, 5UL, -6LL, 6ULL);
    LOGGED("e a=18446744073709551615 b=-9223372036854775808", "e", "a=%llu b=%lld", 18446744073709551615ULL,
        (long long)INT64_MIN);
    LOGGED("e a=1 b=-2 c=3 d=4", "e", "a=%zu b=%zd c=%ju d=%td", (size_t)1, (ssize_t)-2, (uintmax_t)3, (ptrdiff_t)4);
    LOGGED("e a=255 b=-1 c=65535", "e", "a=%hhu b=%hd c=%hu", 255, -1, 65535);
    LOGGED("e a=0007 b=+5 c=0x1f d=1.50", "e", "a=%04d b=%+d c=%#x d=%.2f", 7, 5, 31U, 1.5);
    LOGGED("e a=abc b=ab c=\"\" d=x", "e", "a=%.*s b=%.2s c=%s d=%s", 3, "abcdef", "abcdef", "", "x");
    LOGGED("e a=007 b=\"    7\" c=\"7    \"", "e", "a=%.3d b=%*d c=%-5d", 7, n, 7, 7);
    LOGGED("e a=100% b=literal", "e", "a=%d%% b=literal", 100);
    LOGGED("e address=::1.5222 x=a-b", "e", "address=%s.%d x=%s-%s", "::1", 5222, "a", "b");
}

static void
test_precision_reads_no_further(void **state)
{
    char *four = malloc(4); /* without a terminator: a sanitizer sees a step too far */

    (void)state;
    memcpy(four, "abcd", 4);
    LOGGED("e a=abcd b=ab", "e", "a=%.4s b=%.*s", four, 2, four);
    free(four);
}

static void
test_null_string(void **state)
{
    const char *volatile none = NULL;

    (void)state;
    LOGGED("e a=- b=x", "e", "a=%s b=%s", none, "x");
}

static void
test_values_are_quoted_when_needed(void **state)
{
    (void)state;
    LOGGED("e a=\"\"", "e", "a=%s", "");
    LOGGED("e a=\"two words\" b=1", "e", "a=%s b=%d", "two words", 1);
    LOGGED("e a=\"say \\\"hi\\\"\"", "e", "a=%s", "say \"hi\"");
    LOGGED("e a=\"back\\\\slash\"", "e", "a=%s", "back\\slash");
    LOGGED("e a=\"k=v\"", "e", "a=%s", "k=v");
    LOGGED("e a=\" \" b=\" \"", "e", "a=%s b=%c", " ", ' ');
    LOGGED("e a=it's<ok>&,;:!/@", "e", "a=%s", "it's<ok>&,;:!/@");
}

static void
test_nothing_forges_a_line(void **state)
{
    (void)state;
    LOGGED("e a=\"x\\n2026-01-01T00:00:00.000Z info bosh[0] login user=\\\"root\\\"\"", "e", "a=%s",
        "x\n2026-01-01T00:00:00.000Z info bosh[0] login user=\"root\"");
    LOGGED("e a=\"\\r\\n\\t\\u001b[2J\\u0008\\u007f\\u0001\"", "e", "a=%s", "\r\n\t\x1b[2J\b\x7f\x01");
    LOGGED("e a=\"\\u0085\\u2028\\u2029\\u202e\\u2066\\u200f\\ufeff\\u00ad\"", "e", "a=%s",
        "\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xef\xbb\xbf\xc2\xad");
    LOGGED("e a=\"\\udb40\\udc41\"", "e", "a=%s", "\xf3\xa0\x81\x81");
    LOGGED("e a=\"\\n\"", "e", "a=%c", '\n');
}

static void
test_utf8(void **state)
{
    (void)state;
    LOGGED("e a=\"b\xc3\xbc"
           "cher \xe6\x97\xa5 \xf0\x9f\x98\x80\"",
        "e", "a=%s",
        "b\xc3\xbc"
        "cher \xe6\x97\xa5 \xf0\x9f\x98\x80");
    /* not UTF-8: lone bytes, overlong forms, a surrogate, beyond the end of Unicode, cut short */
    LOGGED("e a=\"\\xff\\x80\\xc0\\x80\"", "e", "a=%s", "\xff\x80\xc0\x80");
    LOGGED("e a=\"\\xe0\\x80\\x80\\xf0\\x80\\x80\\x80\"", "e", "a=%s", "\xe0\x80\x80\xf0\x80\x80\x80");
    LOGGED("e a=\"\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80\"", "e", "a=%s", "\xed\xa0\x80\xf4\x90\x80\x80");
    LOGGED("e a=\"\\xe6\\x97\"", "e", "a=%s", "\xe6\x97");
    LOGGED("e a=\"\\xe6\\x97x\"", "e", "a=%.3s", "\xe6\x97x");
    LOGGED("e a=\"\\xe6\"", "e", "a=%.1s", "\xe6\x97\xa5");
}

static json_t *
json_logged(void)
{
    const char *text = logged();
    json_error_t error;
    json_t *o;

    assert_non_null(strchr(text, '\n'));
    assert_string_equal(strchr(text, '\n'), "\n");
    o = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!o) {
        print_error("%s\n%s\n", error.text, text);
    }
    assert_non_null(o);
    return o;
}

static const char *
member(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    assert_non_null(s);
    return s;
}

static void
test_json(void **state)
{
    json_t *o;

    (void)state;
    log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_JSON, LOG_LVL_DEBUG);
    log_event(LOG_LVL_NOTICE, "hello", "a=%s b=%d c=%s", "q\"\\\n\x01\x7f\xc3\xbc", -3, "");
    o = json_logged();
    assert_int_equal(json_object_size(o), 9);
    assert_int_equal(strlen(member(o, "time")), 24);
    assert_string_equal(member(o, "level"), "notice");
    assert_string_equal(member(o, "process"), "unit");
    assert_int_equal(json_integer_value(json_object_get(o, "instance")), 3);
    assert_int_equal(json_integer_value(json_object_get(o, "pid")), getpid());
    assert_string_equal(member(o, "event"), "hello");
    assert_string_equal(member(o, "a"), "q\"\\\n\x01\x7f\xc3\xbc");
    assert_string_equal(member(o, "b"), "-3");
    assert_string_equal(member(o, "c"), "");
    json_decref(o);
    log_plain(LOG_LVL_DEBUG, "plain");
    o = json_logged();
    assert_int_equal(json_object_size(o), 6);
    json_decref(o);
}

static void
test_json_of_anything(void **state)
{
    char text[3] = {0};
    json_t *o;

    (void)state;
    log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_JSON, LOG_LVL_DEBUG);
    for (int i = 1; i < 256; i++) {
        for (int k = 0; k < 256; k += 5) {
            text[0] = (char)i;
            text[1] = (char)k;
            log_event(LOG_LVL_INFO, "any", "value=%s next=%s", text, "kept");
            o = json_logged();
            assert_string_equal(member(o, "next"), "kept");
            assert_int_equal(json_object_size(o), 8);
            json_decref(o);
        }
    }
    log_event(LOG_LVL_INFO, "bytes", "value=%s", "\xff");
    o = json_logged();
    assert_string_equal(member(o, "value"), "\xef\xbf\xbd");
    json_decref(o);
}

static void
test_json_keys_stand_once(void **state)
{
    json_t *o;

    (void)state;
    log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_JSON, LOG_LVL_DEBUG);
    log_event(LOG_LVL_INFO, "worker", "pid=%d process=%s instance=%d", 99, "bosh", 1);
    o = json_logged();
    assert_string_equal(member(o, "process"), "unit");
    assert_string_equal(member(o, "_process"), "bosh");
    assert_string_equal(member(o, "_pid"), "99");
    assert_string_equal(member(o, "_instance"), "1");
    json_decref(o);
}

static void
test_long_lines_stay_whole(void **state)
{
    static const char *const fillers[] = {"x", "\n", "\"", "\xc3\xbc", "\xff", "\xf3\xa0\x81\x81", "\\"};
    char text[6000];

    (void)state;
    for (size_t f = 0; f < sizeof fillers / sizeof *fillers; f++) {
        for (size_t len = 600; len < sizeof text; len += 97) {
            size_t n = strlen(fillers[f]);
            json_t *o;

            for (size_t i = 0; i + n <= len; i += n) {
                memcpy(text + i, fillers[f], n);
            }
            text[len / n * n] = '\0';
            log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LVL_DEBUG);
            log_event(LOG_LVL_INFO, "long", "a=%s b=%s c=%s", text, text, text);
            assert_true(strlen(logged()) <= 4096);
            assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
            log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_JSON, LOG_LVL_DEBUG);
            log_event(LOG_LVL_INFO, "long", "a=%s b=%s c=%s", text, text, text);
            o = json_logged();
            assert_true(strlen(got) <= 4096);
            if (len > 2000) {
                assert_string_equal(member(o, "truncated"), "yes");
            }
            json_decref(o);
        }
    }
}

static void
test_levels(void **state)
{
    (void)state;
    log_set_level(LOG_LVL_WARNING);
    assert_true(log_enabled(LOG_LVL_EMERG));
    assert_true(log_enabled(LOG_LVL_WARNING));
    assert_false(log_enabled(LOG_LVL_NOTICE));
    log_event(LOG_LVL_NOTICE, "quiet", "a=%d", 1);
    log_plain(LOG_LVL_DEBUG, "quiet");
    assert_string_equal(logged(), "");
    log_plain(LOG_LVL_WARNING, "loud");
    assert_non_null(strstr(logged(), " warning unit[3] loud\n"));
}

static void
test_level_words(void **state)
{
    (void)state;
    assert_int_equal(log_level_parse("emerg"), LOG_LVL_EMERG);
    assert_int_equal(log_level_parse("alert"), LOG_LVL_ALERT);
    assert_int_equal(log_level_parse("crit"), LOG_LVL_CRIT);
    assert_int_equal(log_level_parse("err"), LOG_LVL_ERROR);
    assert_int_equal(log_level_parse("error"), LOG_LVL_ERROR);
    assert_int_equal(log_level_parse("warn"), LOG_LVL_WARNING);
    assert_int_equal(log_level_parse("warning"), LOG_LVL_WARNING);
    assert_int_equal(log_level_parse("notice"), LOG_LVL_NOTICE);
    assert_int_equal(log_level_parse("Info"), LOG_LVL_INFO);
    assert_int_equal(log_level_parse("DEBUG"), LOG_LVL_DEBUG);
    assert_int_equal(log_level_parse("LOG_DEBUG"), LOG_LVL_DEBUG);
    assert_int_equal(log_level_parse("log_err"), LOG_LVL_ERROR);
    assert_int_equal(log_level_parse("LOG_"), -FAIL_CONF);
    assert_int_equal(log_level_parse(""), -FAIL_CONF);
    assert_int_equal(log_level_parse("debugg"), -FAIL_CONF);
    assert_int_equal(log_level_parse("LOG_LOG_DEBUG"), -FAIL_CONF);
}

static void
test_errno_is_kept(void **state)
{
    (void)state;
    errno = ENOENT;
    log_event(LOG_LVL_INFO, "e", "a=%s", "b");
    assert_int_equal(errno, ENOENT);
    log_plain(LOG_LVL_INFO, "e");
    assert_int_equal(errno, ENOENT);
}

/* The sum of the counts of all `log-dropped` lines. */
static unsigned long
told(const char *text)
{
    unsigned long sum = 0;

    while ((text = strstr(text, " warning unit[3] log-dropped count=")) != NULL) {
        text = strchr(text, '=') + 1;
        sum += strtoul(text, NULL, 10);
    }
    return sum;
}

static void
test_full_pipe_drops_and_tells(void **state)
{
    unsigned long before = log_dropped(), lost, counted;
    const char *p;
    unsigned long lines = 0;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        log_event(LOG_LVL_INFO, "fill", "n=%d text=%0100d", i, 0);
    }
    lost = log_dropped() - before;
    assert_true(lost > 0 && lost < 3000);
    for (p = logged(); (p = strstr(p, "] fill n=")) != NULL; p++) {
        assert_int_equal(strspn(strstr(p, "text=") + 5, "0"), 100); /* whole lines only */
        lines++;
    }
    assert_int_equal(lines, 3000 - lost);
    counted = told(got); /* the short line may have found room where a long one did not */
    log_event(LOG_LVL_INFO, "after", "a=%d", 1);
    counted += told(logged());
    assert_int_equal(counted, lost);
    assert_non_null(strstr(got, " unit[3] after a=1\n"));
    assert_true(strstr(got, "log-dropped") < strstr(got, "after"));
    log_plain(LOG_LVL_INFO, "once");
    assert_null(strstr(logged(), "log-dropped"));
}

static void
test_stderr_of_others_stays_blocking(void **state)
{
    (void)state;
    log_plain(LOG_LVL_INFO, "e");
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

static void
test_stderr_replaced_behind_our_back(void **state)
{
    int fds[2];

    (void)state;
    log_plain(LOG_LVL_INFO, "first");
    assert_non_null(strstr(logged(), "first"));
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    replace_stderr(fds[1]);
    log_plain(LOG_LVL_INFO, "second");
    close(reader);
    reader = fds[0];
    assert_non_null(strstr(logged(), "second"));
    assert_null(strstr(got, "first"));
}

static void
test_regular_file(void **state)
{
    char name[] = "/tmp/holdline-test-log-XXXXXX";
    int fd = mkstemp(name);
    int again;

    (void)state;
    assert_true(fd >= 0);
    again = open(name, O_RDONLY);
    unlink(name);
    close(reader);
    reader = again;
    replace_stderr(fd);
    log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LVL_DEBUG);
    LOGGED("e a=1", "e", "a=%d", 1);
    LOGGED("e a=2", "e", "a=%d", 2);
}

/* As under systemd: stderr is a stream socket, which may take a part of a line. */
static void
test_stream_socket_gets_whole_lines(void **state)
{
    int fds[2], small = 4096, next = 0, expected = 0;
    unsigned long before = log_dropped();
    static char all[4000000];
    size_t n = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    close(reader);
    reader = fds[0];
    replace_stderr(fds[1]);
    log_init("unit", 3, LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LVL_DEBUG);
    for (int i = 0; i < 2000; i++) {
        log_event(LOG_LVL_INFO, "fill", "text=%01000d n=%d end=here", 0, i);
        if (i % 37 == 0) {
            n += (size_t)snprintf(all + n, sizeof all - n, "%s", logged());
        }
    }
    for (int i = 0; i < 10; i++) { /* what is left of a line goes out with a later one */
        log_plain(LOG_LVL_INFO, "flush");
        n += (size_t)snprintf(all + n, sizeof all - n, "%s", logged());
    }
    assert_true(log_dropped() > before);
    for (char *p = all, *line_end; (line_end = strchr(p, '\n')) != NULL; p = line_end + 1) {
        const char *mark = strstr(p, " n=");

        *line_end = '\0';
        assert_true(strncmp(p, "20", 2) == 0);
        if (strstr(p, " fill ")) {
            assert_string_equal(p + strlen(p) - 9, " end=here");
            next = atoi(mark + 3);
            assert_true(next >= expected);
            expected = next + 1;
        }
    }
    assert_true(expected > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shape_of_a_text_line, begin, end),
        cmocka_unit_test_setup_teardown(test_conversions, begin, end),
        cmocka_unit_test_setup_teardown(test_precision_reads_no_further, begin, end),
        cmocka_unit_test_setup_teardown(test_null_string, begin, end),
        cmocka_unit_test_setup_teardown(test_values_are_quoted_when_needed, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_forges_a_line, begin, end),
        cmocka_unit_test_setup_teardown(test_utf8, begin, end),
        cmocka_unit_test_setup_teardown(test_json, begin, end),
        cmocka_unit_test_setup_teardown(test_json_of_anything, begin, end),
        cmocka_unit_test_setup_teardown(test_json_keys_stand_once, begin, end),
        cmocka_unit_test_setup_teardown(test_long_lines_stay_whole, begin, end),
        cmocka_unit_test_setup_teardown(test_levels, begin, end),
        cmocka_unit_test_setup_teardown(test_level_words, begin, end),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_full_pipe_drops_and_tells, begin, end),
        cmocka_unit_test_setup_teardown(test_stderr_of_others_stays_blocking, begin, end),
        cmocka_unit_test_setup_teardown(test_stderr_replaced_behind_our_back, begin, end),
        cmocka_unit_test_setup_teardown(test_regular_file, begin, end),
        cmocka_unit_test_setup_teardown(test_stream_socket_gets_whole_lines, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
