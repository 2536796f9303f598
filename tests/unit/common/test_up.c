#include "common/up.h"

#include "common/conn.h"
#include "common/fail.h"
#include "common/link.h"
#include "common/log.h"
#include "common/proc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A connector of our own behind the path that the front end dials: notes frames, answers what the test says. */
struct fake {
    int listener;
    ev_io io;
    struct link *link;
    char seen[4096]; /* a word for each frame */
    uint64_t last_stream;
    size_t sent_bytes;
    uint32_t owed;
    bool down;
};

/* What the owner of streams was told. */
struct owner {
    int opened, elements, closed, cause, unblocked;
    size_t bytes;
};

struct rig {
    struct ev_loop *loop;
    struct conf conf;
    char dir[64];
    struct fake fake[2];
    struct ups *ups;
};

static void
on_fake_up(struct link *l, void *arg, const struct link_hello *peer)
{
    (void)l;
    (void)arg;
    assert_int_equal(peer->role, LINK_ROLE_BOSH);
}

static int
on_fake_frame(struct link *l, void *arg, const struct link_frame *f)
{
    static const char *const words[LINK_TYPES] = {"", "HELLO", "OPEN", "OPENED", "SEND", "ELEMENT", "ANSWERED", "DONE",
        "RESTART", "CREDIT", "CLOSE", "ABORT", "CLOSED", "ADOPT", "GOAWAY", "PING", "PONG"};
    struct fake *k = arg;
    size_t n = strlen(k->seen);
    (void)l;
    snprintf(k->seen + n, sizeof k->seen - n, "%s ", words[f->h.type]);
    k->last_stream = f->h.stream;
    if (f->h.type == LINK_SEND) {
        k->sent_bytes += f->u.data.len;
        k->owed += (uint32_t)f->u.data.len;
    }
    return 0;
}

static void
on_fake_down(struct link *l, void *arg, int cause)
{
    struct fake *k = arg;
    (void)l;
    (void)cause;
    k->down = true;
    link_free(&k->link, false);
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
    static const struct link_events events = {on_fake_up, on_fake_frame, on_fake_down};
    struct fake *k = w->data;
    (void)revents;
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    k->down = false;
    k->link = link_accept(loop, fd, LINK_ROLE_CONNECTOR, 0, 262144, &events, k);
    assert_non_null(k->link);
}

static void
fake_listen(struct rig *r, unsigned i)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct fake *k = &r->fake[i];
    char path[PROC_PATH_MAX];
    proc_connector_path(&r->conf, i, path, sizeof path);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    unlink(path);
    k->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(k->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(k->listener, 5), 0);
    ev_io_init(&k->io, on_accept, k->listener, EV_READ);
    k->io.data = k;
    ev_io_start(r->loop, &k->io);
}

static void
on_opened(void *owner, unsigned index, const char *id, const char *from, const char *version, const char *lang)
{
    struct owner *o = owner;
    (void)index;
    assert_string_equal(id, "the-id");
    assert_string_equal(from, "example.test");
    assert_string_equal(version, "1.0");
    assert_string_equal(lang, "");
    o->opened++;
}

static void
on_element(void *owner, unsigned index, uint16_t flags, uint64_t number, const uint8_t *bytes, size_t len)
{
    struct owner *o = owner;
    (void)index;
    (void)flags;
    (void)bytes;
    o->elements++;
    o->bytes += len;
    assert_int_equal(number, o->elements);
}

static void
on_closed(void *owner, unsigned index, int cause)
{
    struct owner *o = owner;
    (void)index;
    o->closed++;
    o->cause = cause;
}

static void
on_blocked(void *owner, unsigned index, bool blocked)
{
    struct owner *o = owner;
    (void)index;
    assert_false(blocked);
    o->unblocked++;
}

static bool
turn(struct rig *r, bool done, int *left)
{
    if (!done && *left > 0) {
        ev_run(r->loop, EVRUN_ONCE);
        --*left;
    }
    return done;
}

/* Runs the loop until the condition holds; a tick each 20 ms keeps it from sleeping for ever. */
#define UNTIL(r, condition)                                                                                            \
    do {                                                                                                               \
        int left_ = 1000;                                                                                              \
        while (!turn(r, (condition), &left_) && left_ > 0) {                                                           \
        }                                                                                                              \
        assert_true(condition);                                                                                        \
    } while (0)

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static ev_timer tick;

static int
setup_with(void **state, int connectors, bool listening)
{
    static const struct up_events events = {on_opened, on_element, on_closed, on_blocked};
    struct rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    log_init("test", 0, LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LVL_CRIT);
    r->loop = ev_default_loop(EVFLAG_AUTO);
    snprintf(r->dir, sizeof r->dir, "/tmp/holdline-test-up-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    r->conf.run_dir = r->dir;
    r->conf.processes.connector = connectors;
    conn_setup(r->loop);
    ev_timer_init(&tick, on_tick, 0.02, 0.02);
    ev_timer_start(r->loop, &tick);
    for (unsigned i = 0; listening && i < (unsigned)connectors; i++)
        fake_listen(r, i);
    r->ups = ups_new(r->loop, &r->conf, LINK_ROLE_BOSH, 0, 262144, &events);
    assert_non_null(r->ups);
    *state = r;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(state, 1, true);
}

static int
setup_two(void **state)
{
    return setup_with(state, 2, true);
}

static int
setup_deaf(void **state)
{
    return setup_with(state, 1, false);
}

static int
teardown(void **state)
{
    struct rig *r = *state;
    char path[PROC_PATH_MAX];
    ups_free(&r->ups);
    for (unsigned i = 0; i < 2; i++) {
        link_free(&r->fake[i].link, false);
        if (ev_is_active(&r->fake[i].io)) {
            ev_io_stop(r->loop, &r->fake[i].io);
            close(r->fake[i].listener);
        }
        proc_connector_path(&r->conf, i, path, sizeof path);
        unlink(path);
    }
    ev_timer_stop(r->loop, &tick);
    ev_run(r->loop, EVRUN_NOWAIT);
    rmdir(r->dir);
    free(r);
    return 0;
}

static struct up *
open_one(struct rig *r, struct owner *o)
{
    const struct link_open m = {.domain = link_str("example.test"), .to = link_str("example.test")};
    struct up *u = up_open(r->ups, o, 0, &m);
    assert_non_null(u);
    return u;
}

static void
give_credit(struct fake *k, uint64_t stream)
{
    link_put_credit(link_out(k->link), stream, k->owed);
    link_wrote(k->link);
    k->owed = 0;
}

/* Sends until the stream waits for credit; returns the bytes taken. */
static size_t
fill(struct up *u)
{
    static char big[30000];
    size_t sent = 0;
    memset(big, 'x', sizeof big);
    while (!up_is_blocked(u)) {
        assert_int_equal(up_send(u, 7, big, sizeof big), 0);
        sent += sizeof big;
        assert_true(sent < 1000000);
    }
    return sent;
}

static void
test_open_element_and_credit_back(void **state)
{
    struct rig *r = *state;
    struct fake *k = &r->fake[0];
    struct owner o = {0};
    struct up *u = open_one(r, &o);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    const struct link_opened opened = {
        .id = link_str("the-id"), .from = link_str("example.test"), .version = link_str("1.0")};
    link_put_opened(link_out(k->link), k->last_stream, &opened);
    link_wrote(k->link);
    static char element[40000];
    memset(element, 'e', sizeof element);
    link_put_element(link_out(k->link), k->last_stream, 0, 1, element, sizeof element);
    link_wrote(k->link);
    UNTIL(r, o.opened == 1 && o.elements == 1);
    assert_int_equal(o.bytes, sizeof element);
    assert_null(strstr(k->seen, "CREDIT"));
    up_answered(u, 9, 1, sizeof element); /* over half a window: credit goes back */
    UNTIL(r, strstr(k->seen, "ANSWERED CREDIT ") != NULL);
    up_close(&u, FAIL_CLIENT_TERMINATE);
    assert_null(u);
    UNTIL(r, strstr(k->seen, "CLOSE ") != NULL);
    assert_int_equal(o.closed, 0);
}

static void
test_without_credit_the_stream_waits(void **state)
{
    struct rig *r = *state;
    struct fake *k = &r->fake[0];
    struct owner o = {0};
    struct up *u = open_one(r, &o);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    size_t sent = fill(u);
    UNTIL(r, k->sent_bytes == sent - 30000); /* all but the one without credit; one may overdraw */
    assert_int_equal(o.unblocked, 0);
    give_credit(k, k->last_stream);
    UNTIL(r, o.unblocked == 1);
    UNTIL(r, k->sent_bytes == sent);
    assert_false(up_is_blocked(u));
    up_close(&u, FAIL_NONE);
}

/* XEP-0124 13: the payloads of the terminate request MUST be forwarded, also to a congested server. */
static void
test_xep0124_13_last_words_wait_for_credit_and_then_the_end_comes(void **state)
{
    struct rig *r = *state;
    struct fake *k = &r->fake[0];
    struct owner o = {0};
    struct up *u = open_one(r, &o);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    size_t sent = fill(u);
    assert_int_equal(up_send(u, 8, "<presence type='unavailable'/>", 30), 0);
    up_close(&u, FAIL_CLIENT_TERMINATE);
    UNTIL(r, k->sent_bytes == sent - 30000);
    assert_null(strstr(k->seen, "CLOSE"));
    give_credit(k, k->last_stream);
    UNTIL(r, strstr(k->seen, "CLOSE ") != NULL);
    assert_int_equal(k->sent_bytes, sent + 30);
    assert_int_equal(o.closed + o.unblocked, 0); /* the owner has gone */
}

static void
test_abort_does_not_wait(void **state)
{
    struct rig *r = *state;
    struct fake *k = &r->fake[0];
    struct owner o = {0};
    struct up *u = open_one(r, &o);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    fill(u);
    up_abort(&u, FAIL_CLIENT_GONE);
    UNTIL(r, strstr(k->seen, "ABORT ") != NULL);
}

static void
test_a_lost_link_ends_its_streams_and_is_dialled_again(void **state)
{
    struct rig *r = *state;
    struct fake *k = &r->fake[0];
    struct owner o = {0}, p = {0};
    open_one(r, &o);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    link_free(&k->link, false);
    k->seen[0] = '\0';
    UNTIL(r, o.closed == 1);
    assert_int_equal(o.cause, FAIL_LINK_LOST);
    struct up *u = open_one(r, &p);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    up_close(&u, FAIL_NONE);
}

static void
test_the_connector_with_the_fewest_streams_gets_the_next(void **state)
{
    struct rig *r = *state;
    struct owner o[6] = {{0}};
    struct up *u[6];
    UNTIL(r, r->fake[0].link != NULL && r->fake[1].link != NULL && link_is_up(r->fake[0].link) &&
                 link_is_up(r->fake[1].link));
    u[0] = open_one(r, &o[0]);
    UNTIL(r, strlen(r->fake[0].seen) + strlen(r->fake[1].seen) == 5);
    for (int i = 1; i < 6; i++)
        u[i] = open_one(r, &o[i]);
    UNTIL(r, strlen(r->fake[0].seen) == 15 && strlen(r->fake[1].seen) == 15);
    for (int i = 0; i < 6; i++)
        up_close(&u[i], FAIL_NONE);
}

static void
test_goaway_means_no_new_streams(void **state)
{
    struct rig *r = *state;
    struct owner o[3] = {{0}};
    struct up *u[3];
    UNTIL(r, r->fake[0].link != NULL && r->fake[1].link != NULL && link_is_up(r->fake[0].link) &&
                 link_is_up(r->fake[1].link));
    link_put_cause(link_out(r->fake[0].link), LINK_GOAWAY, 0, FAIL_DRAINING);
    link_wrote(r->fake[0].link);
    for (int i = 0; i < 10; i++)
        ev_run(r->loop, EVRUN_ONCE);
    for (int i = 0; i < 3; i++)
        u[i] = open_one(r, &o[i]);
    UNTIL(r, strlen(r->fake[1].seen) == 15);
    assert_string_equal(r->fake[0].seen, "");
    for (int i = 0; i < 3; i++)
        up_close(&u[i], FAIL_NONE);
}

static void
test_a_stream_waits_for_a_connector_that_comes(void **state)
{
    struct rig *r = *state;
    struct owner o = {0};
    struct up *u = open_one(r, &o);
    assert_int_equal(up_send(u, 5, "<a/>", 4), 0);
    assert_true(up_is_blocked(u));
    for (int i = 0; i < 5; i++)
        ev_run(r->loop, EVRUN_ONCE);
    assert_int_equal(o.closed, 0);
    fake_listen(r, 0);
    UNTIL(r, strstr(r->fake[0].seen, "OPEN SEND ") != NULL);
    UNTIL(r, o.unblocked == 1);
    up_close(&u, FAIL_NONE);
}

static void
test_a_frame_for_a_closed_stream_is_ignored(void **state)
{
    struct rig *r = *state;
    struct fake *k = &r->fake[0];
    struct owner o = {0}, p = {0};
    struct up *u = open_one(r, &o);
    UNTIL(r, strstr(k->seen, "OPEN ") != NULL);
    uint64_t old = k->last_stream;
    up_close(&u, FAIL_NONE);
    u = open_one(r, &p); /* takes the same slot */
    UNTIL(r, strstr(k->seen, "CLOSE OPEN ") != NULL);
    assert_true((uint32_t)old == (uint32_t)k->last_stream && old != k->last_stream);
    link_put_element(link_out(k->link), old, 0, 1, "<late/>", 7);
    link_put_closed(link_out(k->link), old, FAIL_UPSTREAM_CLOSED, "");
    link_put_element(link_out(k->link), k->last_stream, 0, 1, "<mine/>", 7);
    link_wrote(k->link);
    UNTIL(r, p.elements == 1);
    assert_int_equal(o.elements + o.closed + p.closed, 0);
    up_close(&u, FAIL_NONE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open_element_and_credit_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_credit_the_stream_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_xep0124_13_last_words_wait_for_credit_and_then_the_end_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_link_ends_its_streams_and_is_dialled_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_connector_with_the_fewest_streams_gets_the_next, setup_two, teardown),
        cmocka_unit_test_setup_teardown(test_goaway_means_no_new_streams, setup_two, teardown),
        cmocka_unit_test_setup_teardown(test_a_stream_waits_for_a_connector_that_comes, setup_deaf, teardown),
        cmocka_unit_test_setup_teardown(test_a_frame_for_a_closed_stream_is_ignored, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
