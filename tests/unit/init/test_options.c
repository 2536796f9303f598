#include "init/options.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char said[8192]; /* on standard output and error */

/* Parses a command line of words separated by blanks. */
static int
parse(const char *line, struct options *o)
{
    char words[512], *argv[16] = {NULL};
    int argc = 0, saved[2] = {dup(1), dup(2)};
    FILE *f = tmpfile();

    assert_non_null(f);
    snprintf(words, sizeof words, "%s", line);
    for (char *rest = words; rest;)
        argv[argc++] = strsep(&rest, " ");
    fflush(NULL);
    dup2(fileno(f), 1);
    dup2(fileno(f), 2);
    optind = 0; /* from the beginning */
    int r = options_parse(argc, argv, o);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    rewind(f);
    said[fread(said, 1, sizeof said - 1, f)] = '\0';
    fclose(f);
    return r;
}

static void
test_defaults(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(parse("holdline", &o), -1);
    assert_string_equal(o.config, HOLDLINE_SYSCONF "/holdline.yaml");
    assert_false(o.daemon || o.test || o.manual);
    assert_string_equal(said, "");
}

static void
test_short_and_long_forms(void **state)
{
    static const char *const lines[] = {"holdline -c a.yaml -d -t", "holdline -dtca.yaml",
        "holdline --config a.yaml --daemon --test", "holdline --config=a.yaml --nodaemon --daemon --test",
        "holdline -n -d -t -c b.yaml -c a.yaml"};
    struct options o;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(parse(lines[i], &o), -1);
        assert_string_equal(o.config, "a.yaml");
        assert_true(o.daemon && o.test);
    }
    assert_int_equal(parse("holdline -d -n", &o), -1); /* the last word counts */
    assert_false(o.daemon);
    assert_int_equal(parse("holdline --print-settings", &o), -1);
    assert_true(o.manual);
}

static void
test_version_and_help(void **state)
{
    static const char *const names[] = {"--config", "--daemon", "--nodaemon", "--test", "--version", "--help"};
    struct options o;

    (void)state;
    assert_int_equal(parse("holdline -v", &o), 0);
    assert_string_equal(said, "holdline " HOLDLINE_VERSION "\n");
    assert_int_equal(parse("holdline --version", &o), 0);
    assert_int_equal(parse("holdline -h", &o), 0);
    assert_int_equal(parse("holdline --help", &o), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(strstr(said, names[i]));
}

static void
test_mistakes_are_named(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(parse("holdline -x", &o), 64);
    assert_non_null(strstr(said, "--help"));
    assert_int_equal(parse("holdline --daemonize", &o), 64);
    assert_non_null(strstr(said, "daemonize"));
    assert_int_equal(parse("holdline -c", &o), 64);
    assert_int_equal(parse("holdline holdline.yaml", &o), 64);
    assert_non_null(strstr(said, "holdline.yaml"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_short_and_long_forms),
        cmocka_unit_test(test_version_and_help),
        cmocka_unit_test(test_mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
