#include "bench_load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct load load;

static void load_enter(enum load_phase phase);

struct bench_session *
bench_load_session(unsigned i)
{
    return (struct bench_session *)(void *)(load.sessions + i * load.common.kind->size);
}

/** Counts an error, keeps the first one's text; `s` is the session it happened to, or NULL. */
static void
load_error(const struct bench_session *s, const char *why)
{
    if (load.errors++ != 0)
        return;
    if (s != NULL)
        snprintf(load.first_error, sizeof load.first_error, "session %u: %s", s->index, why);
    else
        snprintf(load.first_error, sizeof load.first_error, "%s", why);
}

static bool
load_busy_phase(void)
{
    return load.phase == PHASE_WARM || load.phase == PHASE_MEASURE;
}

/* ---- what the sessions say ---- */

static void
load_open_more(void)
{
    while (load.opened < load.goal && load.opened - load.ready < load.parallel)
        bench_session_start(bench_load_session(load.opened++));
    if (load.ready == load.goal && load.phase == PHASE_OPEN)
        load_enter(PHASE_STAGE);
}

static void
load_on_ready(struct bench_session *s)
{
    if (load.mode == MODE_SETUP && load_busy_phase()) {
        bench_session_terminate(s);
        return;
    }
    load.ready++;
    load_open_more();
}

static void
load_on_message(struct bench_session *s, const struct bench_mark *m)
{
    uint64_t now = bench_now_us();
    if (m->tag != s->tag) {
        load.foreign++;
        return;
    }
    if (!bench_tally_see(&s->tally, m->seq, load.mode == MODE_PUSH ? load.push_total : s->sent))
        return;
    if (load.phase == PHASE_MEASURE) {
        load.ops++;
        bench_hist_add(&load.hist, now > m->us ? now - m->us : 0);
    }
    if (load.mode == MODE_ECHO && load_busy_phase())
        bench_session_say(s, now);
}

static void
load_on_damaged(struct bench_session *s)
{
    (void)s;
    load.damaged++;
}

static void
load_end_more(void)
{
    while (load.ending < LOAD_ENDING && load.next_end < load.total) {
        struct bench_session *s = bench_load_session(load.next_end++);
        if (s->state != BENCH_READY)
            continue;
        load.ending++;
        bench_session_terminate(s);
    }
    if (load.ending == 0 && load.next_end == load.total)
        load_enter(PHASE_DONE);
}

static void
load_on_ended(struct bench_session *s)
{
    if (load.mode == MODE_SETUP && load_busy_phase()) {
        if (load.phase == PHASE_MEASURE) {
            load.ops++;
            bench_hist_add(&load.hist, bench_now_us() - s->began);
        }
        bench_session_start(s);
        s->began = bench_now_us();
        return;
    }
    if (load.phase == PHASE_END) {
        load.ending--;
        load_end_more();
    }
}

static void
load_on_failed(struct bench_session *s, const char *why)
{
    load_error(s, why);
    if (load.phase == PHASE_OPEN || load.phase == PHASE_STAGE)
        load_enter(PHASE_DONE); /* without its sessions there is nothing to measure */
    else if (load.phase == PHASE_END) {
        load.ending--;
        load_end_more();
    }
}

/* ---- clocks ---- */

/** User and system CPU of a process so far, microseconds; 0 when it is gone. */
static uint64_t
load_cpu(pid_t pid)
{
    clockid_t clock;
    struct timespec ts;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
        return 0;
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void
load_window(bool begin)
{
    for (unsigned i = 0; i < load.npids; i++) {
        uint64_t cpu = load_cpu(load.pids[i]);
        if (cpu == 0)
            load_error(NULL, "a measured process is gone");
        load.cpu_us[i] = begin ? cpu : cpu - load.cpu_us[i];
    }
    uint64_t own = load_cpu(getpid()), now = bench_now_us();
    load.own_us = begin ? own : own - load.own_us;
    load.window_us = begin ? now : now - load.window_us;
    load.requests = begin ? load.target.requests : load.target.requests - load.requests;
    load.connects = begin ? load.target.connects : load.target.connects - load.connects;
    load.resumed = begin ? load.target.resumed : load.target.resumed - load.resumed;
}

/* ---- phases ---- */

static void
load_push_start(struct bench_session *s)
{
    char text[512];
    snprintf(text, sizeof text,
        "<message xmlns='jabber:client' to='%s' type='chat'><body>push %llu %g %llu</body></message>", s->jid,
        (unsigned long long)load.push_total, load.rate, (unsigned long long)s->tag);
    bench_session_raw(s, text);
    bench_session_pump(s);
}

/** Open loop: sends what is due, whatever was answered. */
static void
load_pace(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)w, (void)events;
    if (!load_busy_phase())
        return;
    uint64_t now = bench_now_us();
    double all = load.mode == MODE_PUSH ? load.rate * load.active : load.rate;
    uint64_t due = (uint64_t)((double)(now - load.started) * 1e-6 * all);
    for (; load.said < due; load.said++) {
        if (load.mode == MODE_PUSH && load.said >= load.active)
            return;
        struct bench_session *s = bench_load_session(load.idle + load.said % load.active);
        if (load.mode == MODE_PUSH) {
            load_push_start(s);
            continue;
        }
        if (!bench_session_say(s, load.started + (uint64_t)((double)(load.said + 1) * 1e6 / all)))
            load.overrun++;
        bench_session_pump(s);
    }
}

static void
load_begin_work(void)
{
    load.started = bench_now_us();
    if (load.mode == MODE_RATE || load.mode == MODE_PUSH) {
        ev_timer_init(&load.pace, load_pace, 0.0005, 0.0005);
        ev_timer_start(load.loop, &load.pace);
    }
    for (unsigned i = load.idle; i < load.total; i++) {
        struct bench_session *s = bench_load_session(i);
        if (load.mode == MODE_SETUP) {
            bench_session_start(s);
            s->began = bench_now_us();
            continue;
        }
        for (unsigned n = 0; load.mode == MODE_ECHO && n < load.inflight; n++)
            bench_session_say(s, load.started);
        bench_session_pump(s);
    }
}

static void
load_event(const char *name)
{
    printf("{\"event\": \"%s\", \"ready\": %u}\n", name, load.ready);
    fflush(stdout);
}

static void
load_enter(enum load_phase phase)
{
    load.phase = phase;
    load.phase_since = bench_now_us();
    switch (phase) {
    case PHASE_OPEN:
        load_open_more();
        break;
    case PHASE_WARM:
        load_begin_work();
        break;
    case PHASE_MEASURE:
        load_event("window");
        load_window(true);
        break;
    case PHASE_DRAIN:
        load_window(false);
        ev_timer_stop(load.loop, &load.pace);
        break;
    case PHASE_END:
        load_end_more();
        break;
    case PHASE_DONE:
        ev_break(load.loop, EVBREAK_ALL);
        break;
    default:
        break;
    }
}

/** The next goal after `ready` sessions: the next stage of idle ones, then all. */
static void
load_next_goal(void)
{
    if (load.stage < load.nstages)
        load.goal = load.stages[load.stage++];
    else if (load.goal < load.idle)
        load.goal = load.idle;
    else if (load.mode == MODE_IDLE)
        load.goal = 0;
    else if (load.mode != MODE_SETUP && load.goal < load.total)
        load.goal = load.total;
    else
        load.goal = 0;
    if (load.goal == 0)
        load_enter(load.mode == MODE_IDLE ? PHASE_END : PHASE_WARM);
    else
        load_enter(PHASE_OPEN);
}

/** A second after the last one opened: every session is at rest. */
static void
load_settled(void)
{
    for (unsigned i = 0; i < load.goal; i++) {
        const struct bench_session *s = bench_load_session(i);
        if (!load.common.kind->at_rest(s))
            load_error(s, "an idle session is not at rest");
    }
    if (load.stage == 0 || load.goal != load.stages[load.stage - 1]) {
        load_next_goal();
        return;
    }
    load_event("stage");
    ev_io_start(load.loop, &load.input);
    load.phase_since = UINT64_MAX / 2; /* until the caller says so */
}

static void
load_input(struct ev_loop *loop, ev_io *w, int events)
{
    char text[64];
    (void)events;
    if (read(0, text, sizeof text) <= 0)
        load_error(NULL, "the caller is gone");
    ev_io_stop(loop, w);
    load_next_goal();
}

static bool
load_drained(void)
{
    for (unsigned i = load.idle; i < load.total; i++) {
        const struct bench_session *s = bench_load_session(i);
        if (load.mode == MODE_SETUP
                ? s->state != BENCH_NEW && s->state != BENCH_READY && s->state != BENCH_FAILED
                : s->state == BENCH_READY &&
                      (s->queue_len > 0 || s->tally.got < (load.mode == MODE_PUSH ? load.push_total : s->sent)))
            return false;
    }
    return true;
}

static void
load_overdue(uint64_t now)
{
    for (unsigned i = 0; i < load.total; i++) {
        struct bench_session *s = bench_load_session(i);
        uint64_t oldest = load.common.kind->oldest(s);
        if (oldest != 0 && now > oldest + (load.common.wait + load.common.kind->patience) * 1000000ull) {
            load_error(NULL, "the server has owed an answer for too long");
            load_enter(PHASE_DONE);
            return;
        }
    }
}

static void
load_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    static unsigned count;
    (void)loop, (void)w, (void)events;
    uint64_t now = bench_now_us();
    double in = now > load.phase_since ? (double)(now - load.phase_since) * 1e-6 : 0;
    if (load.phase == PHASE_STAGE && in >= (load.goal <= load.idle && load.idle > 0 ? 1.0 : 0.1))
        load_settled();
    else if (load.phase == PHASE_WARM && in >= load.warmup)
        load_enter(PHASE_MEASURE);
    else if (load.phase == PHASE_MEASURE && in >= load.seconds)
        load_enter(PHASE_DRAIN);
    else if (load.phase == PHASE_DRAIN && (load_drained() || in >= load.drain))
        load_enter(PHASE_END);
    else if (load.phase == PHASE_END && in >= load.drain * 3) {
        load_error(NULL, "sessions did not end in time");
        load_enter(PHASE_DONE);
    }
    if (++count % 100 == 0)
        load_overdue(now);
    if (count >= load.deadline * 100) {
        load_error(NULL, "the whole run took longer than its deadline");
        load_enter(PHASE_DONE);
    }
}

int
bench_load(int argc, char **argv, const struct bench_kind *kind)
{
    bench_net_raise_files();
    bench_load_options(argc, argv, kind);
    load.loop = ev_default_loop(0);
    load.target.loop = load.loop;
    load.common.target = &load.target;
    load.common.events = (struct bench_session_events){.ready = load_on_ready,
        .message = load_on_message,
        .damaged = load_on_damaged,
        .ended = load_on_ended,
        .failed = load_on_failed};
    load.total = load.active + load.idle;
    load.push_total = (uint64_t)ceil(load.rate * (load.warmup + load.seconds + 1));
    load.sessions = bench_alloc((load.total + 1) * kind->size);
    uint64_t run = bench_now_us() / 1000 % 1000000007u;
    for (unsigned i = 0; i < load.total; i++)
        bench_session_init(bench_load_session(i), &load.common, i, run << 20 | i);
    ev_timer_init(&load.tick, load_tick, 0.01, 0.01);
    ev_timer_start(load.loop, &load.tick);
    ev_io_init(&load.input, load_input, 0, EV_READ);
    load_next_goal();
    if (load.phase != PHASE_DONE)
        ev_run(load.loop, 0);
    int rc = bench_load_report();
    for (unsigned i = 0; i < load.total; i++)
        bench_session_free(bench_load_session(i));
    free(load.sessions);
    return rc;
}
