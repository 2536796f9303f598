/* Sessions under random clients, servers and clocks, the same ones each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RIG_CHECK(condition) assert_true(condition)
#include "bosh_random.h"

enum { SESSIONS = 3000, BYTES = 401 };

static uint64_t seed;

static uint8_t
random_byte(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint8_t)(seed >> 32);
}

/* Steps that let a session live: rids near the next, no ends, short silences. */
static void
calm_down(uint8_t *op, uint8_t *arg)
{
    if (*op % 8 > 3) {
        *op = (uint8_t)(4 + *op % 3 + 8 * (*op / 8 < 24 ? *op / 8 % 11 : 16));
        if (*arg > 253 || *arg % 13 == 4)
            *arg = 1;
    } else if (*op % 8 == 3 && *arg > 200) {
        *arg = (uint8_t)(*arg - 100);
    } else if (*op % 8 == 2) {
        *arg = (uint8_t)(*arg % 8 == 1 ? 1 : 2);
    } else if (*op % 8 == 1) {
        *arg %= 30;
    }
}

static void
run_sessions(bool calm)
{
    static struct rig r;
    uint8_t bytes[BYTES];
    uint64_t elements = 0;
    seed = 88172645463325252;
    for (unsigned n = 0; n < SESSIONS; n++) {
        for (unsigned i = 0; i < BYTES; i++)
            bytes[i] = random_byte();
        for (unsigned i = 1; calm && i + 1 < BYTES; i += 2)
            calm_down(&bytes[i], &bytes[i + 1]);
        if (calm)
            bytes[0] |= 3; /* as fast as it likes */
        random_session(&r, bytes, sizeof bytes);
        elements += r.seen[0];
    }
    assert_true(elements > (calm ? 3U * SESSIONS : SESSIONS / 2)); /* something was told */
    print_message("%u sessions, %u elements told\n", SESSIONS, (unsigned)elements);
}

static void
test_wild_sessions(void **state)
{
    (void)state;
    run_sessions(false);
}

static void
test_calm_sessions(void **state)
{
    (void)state;
    run_sessions(true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wild_sessions),
        cmocka_unit_test(test_calm_sessions),
    };
    return cmocka_run_group_tests_name("bosh_random", tests, NULL, NULL);
}
