/* Owners of connections that note what happens to them, and turns of the loop: for test_conn.c and test_conn_tls.c. */
#ifndef TESTS_CONN_RIG_H
#define TESTS_CONN_RIG_H

#include "common/conn.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct ev_loop *loop;

/* What happened to one connection, and what its owner does. */
struct owner {
    struct conn *c;
    struct buf got;
    unsigned events[CONN_ERROR + 1];
    int cause;
    enum conn_event last;
    bool close_on[CONN_ERROR + 1], free_on[CONN_ERROR + 1];
    bool pause_on_data;
    struct owner *free_other;
    struct tls_client *secure_on_connect;
    char words[300];
};

static void
handle(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info)
{
    struct owner *o = arg;

    assert_ptr_equal(c, o->c);
    ev_break(loop, EVBREAK_ALL); /* an event of the flush comes before the loop goes to sleep */
    o->events[event]++;
    o->last = event;
    if (event == CONN_DATA) {
        assert_true(info->len > 0);
        assert_int_equal(buf_append(&o->got, info->data, info->len), 0);
        if (o->pause_on_data) {
            conn_read(c, false);
        }
        if (o->free_other) {
            conn_free(&o->free_other->c);
        }
    }
    if (event == CONN_ERROR) {
        o->cause = info->cause;
        if (conn_tls(c)) {
            snprintf(o->words, sizeof o->words, "%s", tls_error(conn_tls(c)));
        }
    }
    if (event == CONN_CONNECTED && o->secure_on_connect) {
        assert_int_equal(conn_secure(c, o->secure_on_connect, "example.test", "xmpp-client"), 0);
    }
    if (o->close_on[event]) {
        conn_close(c, false);
        conn_close(c, true);
    }
    if (o->free_on[event]) {
        conn_free(&o->c);
    }
}

static void
forget(struct owner *o)
{
    conn_free(&o->c);
    conn_free(&o->c);
    buf_free(&o->got);
}

static void
give_up(struct ev_loop *l, ev_timer *w, int revents)
{
    (void)w;
    (void)revents;
    ev_break(l, EVBREAK_ALL);
    *(bool *)w->data = true;
}

/* Turns the loop until the number is at least `n`. */
static void
until(const unsigned *number, unsigned n)
{
    bool late = false;
    ev_timer guard;

    ev_timer_init(&guard, give_up, 10., 0.);
    guard.data = &late;
    ev_timer_start(loop, &guard);
    while (*number < n && !late) {
        ev_run(loop, 0);
    }
    ev_timer_stop(loop, &guard);
    assert_false(late);
}

static void
turn(double seconds)
{
    bool over = false;
    ev_timer timer;

    ev_now_update(loop);
    ev_timer_init(&timer, give_up, seconds, 0.);
    timer.data = &over;
    ev_timer_start(loop, &timer);
    while (!over) {
        ev_run(loop, EVRUN_ONCE);
    }
}

/* A connection over one end of a socketpair; the other end is *peer, blocking. */
static void
attach(struct owner *o, int *peer)
{
    int sv[2];

    memset(o, 0, sizeof *o);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    fcntl(sv[0], F_SETFL, O_NONBLOCK);
    *peer = sv[1];
    o->c = conn_new(loop, sv[0], handle, o);
    assert_non_null(o->c);
}

#endif
