/* Owners of links that note what happens to them: for test_link.c. */
#ifndef TESTS_LINK_RIG_H
#define TESTS_LINK_RIG_H

#include "common/link.h"

#include "common/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct ev_loop *loop;

struct end {
    struct link *l;
    unsigned ups, frames, downs;
    int cause;
    uint16_t type; /* of the last frame */
    uint64_t stream;
    struct buf got; /* bytes of SEND and ELEMENT */
    int answer;     /* what frame() returns */
    bool free_in_up, free_in_frame, free_in_down, echo;
    unsigned until; /* frames after which the loop stops */
};

static void
on_up(struct link *l, void *arg, const struct link_hello *peer)
{
    struct end *e = arg;

    ev_break(loop, EVBREAK_ALL);
    assert_true(link_is_up(l));
    assert_ptr_equal(link_peer(l), peer);
    assert_int_equal(peer->magic, LINK_MAGIC);
    e->ups++;
    if (e->free_in_up) {
        link_free(&e->l, false);
    }
}

static int
on_frame(struct link *l, void *arg, const struct link_frame *f)
{
    struct end *e = arg;

    assert_int_equal(e->ups, 1);
    e->frames++;
    e->type = f->h.type;
    e->stream = f->h.stream;
    if (e->free_in_frame) {
        link_free(&e->l, true);
    }
    if (f->h.type == LINK_SEND || f->h.type == LINK_ELEMENT) {
        if (e->echo) {
            link_put_element(link_out(l), f->h.stream, 0, e->frames, f->u.data.bytes, f->u.data.len);
            link_wrote(l);
        } else {
            buf_clear(&e->got);
            buf_append(&e->got, f->u.data.bytes, f->u.data.len); /* after the free: slices stay valid */
        }
    }
    if (e->frames >= e->until) {
        ev_break(loop, EVBREAK_ALL);
    }
    return e->answer;
}

static void
on_down(struct link *l, void *arg, int cause)
{
    struct end *e = arg;

    ev_break(loop, EVBREAK_ALL);
    assert_false(link_is_up(l));
    e->downs++;
    e->cause = cause;
    if (e->free_in_down) {
        link_free(&e->l, false);
    }
}

static const struct link_events events = {.up = on_up, .frame = on_frame, .down = on_down};

static void
give_up(struct ev_loop *l, ev_timer *w, int revents)
{
    (void)revents;
    ev_break(l, EVBREAK_ALL);
    *(bool *)w->data = true;
}

static void
until(const unsigned *number, unsigned n)
{
    bool late = false;
    ev_timer guard;

    ev_now_update(loop);
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

#endif
