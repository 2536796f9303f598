/**
 * Load generator for any BOSH server: opens sessions, says numbered messages (or has them pushed), counts what came,
 * came twice, came out of order or never came, and prints the account as one line of JSON. `--help` lists the options.
 *
 * Phases: idle sessions are opened (in stages, with a pause after each for the caller), then the active ones; warm-up;
 * the measured window, at whose two ends the CPU clocks of the given processes are read; drain; orderly termination.
 */
#include "bench_selfcheck.h"
#include "bench_session.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum load_mode { MODE_ECHO, MODE_RATE, MODE_PUSH, MODE_SETUP, MODE_IDLE };
enum load_phase { PHASE_OPEN, PHASE_STAGE, PHASE_WARM, PHASE_MEASURE, PHASE_DRAIN, PHASE_END, PHASE_DONE };
enum { LOAD_PIDS = 64, LOAD_STAGES = 16, LOAD_ENDING = 64 };

static const char *const load_mode_names[] = {"echo", "rate", "push", "setup", "idle"};

static struct load {
    struct ev_loop *loop;
    struct bench_target target;
    struct bench_session_common common;
    /* options */
    enum load_mode mode;
    unsigned active, idle, inflight, parallel, warmup, seconds, drain, deadline;
    double rate; /* all sessions together (rate), or of each session (push) */
    unsigned stages[LOAD_STAGES], nstages;
    pid_t pids[LOAD_PIDS];
    unsigned npids;
    /* state */
    enum load_phase phase;
    struct bench_session *sessions; /* idle ones first */
    unsigned total, opened, ready, goal, stage, ending, next_end;
    uint64_t push_total, said;
    uint64_t phase_since, window_us, started;
    /* account */
    struct bench_hist hist;
    uint64_t ops, requests, connects, overrun, foreign, damaged, errors;
    uint64_t cpu_us[LOAD_PIDS], own_us; /* over the window: of each process, of this one */
    char first_error[512];
    ev_timer tick, pace;
    ev_io input;
} load;

static void load_enter(enum load_phase phase);

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
        bench_session_start(&load.sessions[load.opened++]);
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
        struct bench_session *s = &load.sessions[load.next_end++];
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
            bench_hist_add(&load.hist, bench_now_us() - s->queue[0]);
        }
        bench_session_start(s);
        s->queue[0] = bench_now_us();
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
        struct bench_session *s = &load.sessions[load.idle + load.said % load.active];
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
        struct bench_session *s = &load.sessions[i];
        if (load.mode == MODE_SETUP) {
            bench_session_start(s);
            s->queue[0] = bench_now_us();
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

/** A second after the last one opened: every session holds exactly one request, after two answers at least. */
static void
load_settled(void)
{
    for (unsigned i = 0; i < load.goal; i++) {
        const struct bench_session *s = &load.sessions[i];
        if (s->state != BENCH_READY || bench_session_outstanding(s) != 1 || s->answered < 2)
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
        const struct bench_session *s = &load.sessions[i];
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
        struct bench_session *s = &load.sessions[i];
        uint64_t oldest = bench_session_oldest(s);
        if (oldest != 0 && now > oldest + (load.common.wait + 5) * 1000000ull) {
            load_error(NULL, "a request was not answered within wait");
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

/* ---- report and options ---- */

static int
load_report(void)
{
    uint64_t sent = 0, got = 0, doubled = 0, reordered = 0, cpu = 0;
    for (unsigned i = 0; i < load.total; i++) {
        struct bench_session *s = &load.sessions[i];
        bool pushed = load.mode == MODE_PUSH && i >= load.idle && load.said > i - load.idle;
        sent += pushed ? load.push_total : s->sent;
        got += s->tally.got;
        doubled += s->tally.doubled;
        reordered += s->tally.reordered;
        load.foreign += s->tally.foreign;
    }
    printf("{\"mode\": \"%s\", \"sessions\": %u, \"idle\": %u, \"ready\": %u, \"ops\": %llu, \"wall_s\": %.3f, ",
        load_mode_names[load.mode], load.active, load.idle, load.ready, (unsigned long long)load.ops,
        (double)load.window_us * 1e-6);
    printf("\"http_requests\": %llu, \"connects\": %llu, \"latency_ms\": {\"median\": %.3f, \"p99\": %.3f}, ",
        (unsigned long long)load.requests, (unsigned long long)load.connects,
        bench_hist_quantile(&load.hist, 0.5) / 1000, bench_hist_quantile(&load.hist, 0.99) / 1000);
    printf("\"cpu_us\": {");
    for (unsigned i = 0; i < load.npids; i++) {
        cpu += load.cpu_us[i];
        printf("%s\"%d\": %llu", i != 0 ? ", " : "", (int)load.pids[i], (unsigned long long)load.cpu_us[i]);
    }
    printf("}, \"generator_us\": %llu, \"us_per_op\": %.3f, ", (unsigned long long)load.own_us,
        load.ops != 0 ? (double)cpu / (double)load.ops : 0);
    printf("\"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"doubled\": %llu, \"reordered\": %llu, ",
        (unsigned long long)sent, (unsigned long long)got, (unsigned long long)(sent - got),
        (unsigned long long)doubled, (unsigned long long)reordered);
    printf("\"foreign\": %llu, \"damaged\": %llu, \"overrun\": %llu, \"errors\": %llu, \"repeated\": %llu, ",
        (unsigned long long)load.foreign, (unsigned long long)load.damaged, (unsigned long long)load.overrun,
        (unsigned long long)load.errors, (unsigned long long)load.common.repeated);
    printf("\"crossed\": %llu, \"first_error\": \"", (unsigned long long)load.common.crossed);
    for (const char *p = load.first_error; *p != '\0'; p++) {
        if (*p != '"' && *p != '\\' && *p >= ' ')
            putchar(*p);
    }
    printf("\"}\n");
    return sent != got || doubled + reordered + load.foreign + load.damaged + load.overrun + load.errors != 0;
}

static void
load_usage(void)
{
    fputs("usage: bosh_load [options] ADDRESS:PORT/PATH\n"
          "  --mode echo|rate|push|setup|idle  closed loop; open loop; server pushes; log in and out; only hold\n"
          "  --domain D        the 'to' of the sessions (bench.example)\n"
          "  --anonymous       SASL ANONYMOUS instead of PLAIN (users u0, u1, ...; password secret)\n"
          "  --sessions N      active sessions (100)\n"
          "  --idle N          idle sessions, one held request each, opened before the others (0)\n"
          "  --stages A,B,..   stop after so many idle sessions, say so, wait for a line on stdin\n"
          "  --inflight N      messages under way for each session in echo mode (1)\n"
          "  --per-body N      stanzas in one body at most (64)\n"
          "  --rate R          rate: messages a second in all; push: for each session\n"
          "  --wait S          'wait' asked for (60)\n"
          "  --parallel N      sessions opened at the same time (32)\n"
          "  --warmup S --seconds S --drain S --deadline S    (1, 5, 10, 300)\n"
          "  --sources N       spread over N source addresses 127.1.x.y (0: the system chooses)\n"
          "  --pids P,P,..     processes whose CPU time is measured over the window\n"
          "  --self-check      prove that the accounts can fail, then exit\n",
        stderr);
}

static unsigned
load_numbers(char *text, unsigned *out, unsigned max)
{
    unsigned n = 0;
    char *save = NULL;
    for (char *p = strtok_r(text, ",", &save); p != NULL && n < max; p = strtok_r(NULL, ",", &save))
        out[n++] = (unsigned)strtoul(p, NULL, 10);
    return n;
}

static void
load_mode_option(const char *name)
{
    for (unsigned i = 0; i <= MODE_IDLE; i++) {
        if (strcmp(name, load_mode_names[i]) == 0) {
            load.mode = (enum load_mode)i;
            return;
        }
    }
    bench_die("no such mode: %s", name);
}

static void
load_option(const char *name, char *value)
{
    static const struct {
        const char *name;
        unsigned *value;
    } numbers[] = {{"sessions", &load.active}, {"idle", &load.idle}, {"inflight", &load.inflight},
        {"per-body", &load.common.per_body}, {"wait", &load.common.wait}, {"parallel", &load.parallel},
        {"warmup", &load.warmup}, {"seconds", &load.seconds}, {"drain", &load.drain}, {"deadline", &load.deadline},
        {"sources", &load.target.sources}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].value = (unsigned)strtoul(value, NULL, 10);
            return;
        }
    }
    unsigned pids[LOAD_PIDS];
    if (strcmp(name, "mode") == 0)
        load_mode_option(value);
    else if (strcmp(name, "domain") == 0)
        load.common.domain = value;
    else if (strcmp(name, "anonymous") == 0)
        load.common.anonymous = true;
    else if (strcmp(name, "rate") == 0)
        load.rate = strtod(value, NULL);
    else if (strcmp(name, "stages") == 0)
        load.nstages = load_numbers(value, load.stages, LOAD_STAGES);
    else if (strcmp(name, "pids") == 0) {
        load.npids = load_numbers(value, pids, LOAD_PIDS);
        for (unsigned i = 0; i < load.npids; i++)
            load.pids[i] = (pid_t)pids[i];
    }
}

static void
load_options(int argc, char **argv)
{
    static const struct option options[] = {{"mode", 1, 0, 0}, {"domain", 1, 0, 0}, {"anonymous", 0, 0, 0},
        {"sessions", 1, 0, 0}, {"idle", 1, 0, 0}, {"stages", 1, 0, 0}, {"inflight", 1, 0, 0}, {"per-body", 1, 0, 0},
        {"rate", 1, 0, 0}, {"wait", 1, 0, 0}, {"parallel", 1, 0, 0}, {"warmup", 1, 0, 0}, {"seconds", 1, 0, 0},
        {"drain", 1, 0, 0}, {"deadline", 1, 0, 0}, {"sources", 1, 0, 0}, {"pids", 1, 0, 0}, {"self-check", 0, 0, 's'},
        {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
    int c, index;
    load.active = 100, load.inflight = 1, load.parallel = 32, load.warmup = 1, load.seconds = 5, load.drain = 10;
    load.deadline = 300, load.rate = 200;
    load.common = (struct bench_session_common){.domain = "bench.example", .wait = 60, .per_body = BENCH_QUEUE};
    while ((c = getopt_long(argc, argv, "h", options, &index)) != -1) {
        if (c == 's')
            exit(bench_selfcheck() != 0);
        if (c != 0) {
            load_usage();
            exit(c == 'h' ? 0 : 2);
        }
        load_option(options[index].name, optarg);
    }
    char *slash = optind == argc - 1 ? strchr(argv[optind], '/') : NULL;
    if (slash == NULL) {
        load_usage();
        exit(2);
    }
    load.target.path = strdup(slash);
    *slash = '\0';
    load.target.host = argv[optind];
    if (!bench_parse_addr(argv[optind], &load.target.addr))
        bench_die("not ADDRESS:PORT/PATH: %s", argv[optind]);
}

int
main(int argc, char **argv)
{
    load_options(argc, argv);
    if (load.mode == MODE_IDLE)
        load.active = 0;
    if (load.inflight > BENCH_QUEUE || load.common.per_body == 0 || (load.mode != MODE_IDLE && load.active == 0))
        bench_die("--inflight is at most %d, --per-body and --sessions at least 1", BENCH_QUEUE);
    load.loop = ev_default_loop(0);
    load.target.loop = load.loop;
    bench_session_attach(&load.target);
    load.common.target = &load.target;
    load.common.events = (struct bench_session_events){.ready = load_on_ready,
        .message = load_on_message,
        .damaged = load_on_damaged,
        .ended = load_on_ended,
        .failed = load_on_failed};
    load.total = load.active + load.idle;
    load.push_total = (uint64_t)ceil(load.rate * (load.warmup + load.seconds + 1));
    load.sessions = bench_alloc((load.total + 1) * sizeof load.sessions[0]);
    uint64_t run = bench_now_us() / 1000 % 1000000007u;
    for (unsigned i = 0; i < load.total; i++)
        bench_session_init(&load.sessions[i], &load.common, i, run << 20 | i);
    ev_timer_init(&load.tick, load_tick, 0.01, 0.01);
    ev_timer_start(load.loop, &load.tick);
    ev_io_init(&load.input, load_input, 0, EV_READ);
    load_next_goal();
    if (load.phase != PHASE_DONE)
        ev_run(load.loop, 0);
    int rc = load_report();
    for (unsigned i = 0; i < load.total; i++)
        bench_session_free(&load.sessions[i]);
    free(load.sessions);
    return rc;
}
