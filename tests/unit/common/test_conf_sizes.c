/* Sizes that may be configured are sizes that can be kept: what is allowed fits between the processes. */
#include "common/conf.h"
#include "common/link_proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct conf *
parse(const char *group, const char *key, long value, struct conf_errors *errors)
{
    char text[200];

    snprintf(text, sizeof text, "domains: { a.example: {} }\n%s: { %s: %ld }\n", group, key, value);
    return conf_parse("t.yaml", text, strlen(text), errors);
}

static void
test_sizes_end_where_frames_do(void **state)
{
    static const struct {
        const char *group, *key;
        size_t offset;
    } sizes[] = {{"bosh", "max_body", offsetof(struct conf, bosh.max_body)},
        {"websocket", "max_message", offsetof(struct conf, websocket.max_message)},
        {"upstream", "max_element", offsetof(struct conf, upstream.max_element)}};

    (void)state;
    assert_int_equal(LINK_MAX_ELEMENT, 2097152);
    assert_true(LINK_MAX_FRAME / 2 > LINK_MAX_ELEMENT + 65536);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct conf_errors errors;
        struct conf *c = parse(sizes[i].group, sizes[i].key, LINK_MAX_ELEMENT, &errors);
        int got;

        assert_non_null(c);
        memcpy(&got, (const char *)c + sizes[i].offset, sizeof got);
        assert_int_equal(got, LINK_MAX_ELEMENT);
        conf_free(&c);
        c = parse(sizes[i].group, sizes[i].key, LINK_MAX_ELEMENT + 1, &errors);
        assert_null(c);
        assert_int_equal(errors.count, 1);
        assert_non_null(strstr(errors.text, sizes[i].key));
        assert_non_null(strstr(errors.text, "2097152"));
        conf_errors_free(&errors);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes_end_where_frames_do)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
