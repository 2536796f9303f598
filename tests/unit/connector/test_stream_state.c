#include "cm/connector/stream_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
path(const enum stream_state *states, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (!stream_state_may(states[i], states[i + 1]))
            fail_msg("%s -> %s is refused", stream_state_word(states[i]), stream_state_word(states[i + 1]));
}
#define PATH(...)                                                                                                      \
    path((const enum stream_state[]){__VA_ARGS__},                                                                     \
        sizeof((const enum stream_state[]){__VA_ARGS__}) / sizeof(enum stream_state))

static void
test_ways_to_an_open_stream(void **state)
{
    (void)state;
    PATH(STREAM_NEW, STREAM_RESOLVING, STREAM_CONNECTING, STREAM_HEADER, STREAM_FEATURES, STREAM_STARTTLS, STREAM_TLS,
        STREAM_HEADER, STREAM_FEATURES, STREAM_OPEN, STREAM_HEADER, STREAM_FEATURES, STREAM_OPEN, STREAM_CLOSING,
        STREAM_DONE);
    PATH(STREAM_NEW, STREAM_RESOLVING, STREAM_CONNECTING, STREAM_TLS, STREAM_HEADER, STREAM_OPEN, STREAM_CLOSING);
}

static void
test_a_failed_attempt_goes_to_the_next_target(void **state)
{
    (void)state;
    for (int from = STREAM_CONNECTING; from < STREAM_OPEN; from++)
        assert_true(stream_state_may((enum stream_state)from, STREAM_RESOLVING));
    assert_false(stream_state_may(STREAM_OPEN, STREAM_RESOLVING));
    assert_false(stream_state_may(STREAM_CLOSING, STREAM_RESOLVING));
}

static void
test_every_state_can_end_and_none_comes_back(void **state)
{
    (void)state;
    for (int from = STREAM_NEW; from < STREAM_CLOSING; from++)
        assert_true(stream_state_may((enum stream_state)from, STREAM_CLOSING));
    for (int to = STREAM_NEW; to < STREAM_STATES; to++) {
        assert_int_equal(stream_state_may(STREAM_CLOSING, (enum stream_state)to), to == STREAM_DONE);
        assert_false(stream_state_may(STREAM_DONE, (enum stream_state)to));
        assert_false(stream_state_may(STREAM_STATES, (enum stream_state)to));
    }
}

/* Nothing passes in the clear between <starttls/> and TLS, and no stream is open before its header came. */
static void
test_no_way_around_tls(void **state)
{
    (void)state;
    assert_false(stream_state_may(STREAM_STARTTLS, STREAM_OPEN));
    assert_false(stream_state_may(STREAM_STARTTLS, STREAM_HEADER));
    assert_false(stream_state_may(STREAM_TLS, STREAM_OPEN));
    assert_false(stream_state_may(STREAM_CONNECTING, STREAM_OPEN));
}

static void
test_words(void **state)
{
    (void)state;
    assert_string_equal(stream_state_word(STREAM_STARTTLS), "starttls");
    for (int i = 0; i < STREAM_STATES; i++)
        assert_non_null(stream_state_word((enum stream_state)i));
    assert_string_equal(stream_state_word(STREAM_STATES), "?");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways_to_an_open_stream),
        cmocka_unit_test(test_a_failed_attempt_goes_to_the_next_target),
        cmocka_unit_test(test_every_state_can_end_and_none_comes_back),
        cmocka_unit_test(test_no_way_around_tls),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
