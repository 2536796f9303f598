/**
 * The load generator: opens sessions over any transport, says numbered messages (or has them pushed), counts what came,
 * came twice, came out of order or never came, and prints the account as one line of JSON.
 *
 * Phases: idle sessions are opened (in stages, with a pause after each for the caller), then the active ones; warm-up;
 * the measured window, at whose two ends the CPU clocks of the given processes are read; drain; orderly termination.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench_session.h"

/** The whole program of one transport; `--help` lists the options. Returns the exit status. */
int bench_load(int argc, char **argv, const struct bench_kind *kind);

/* ---- between bench_load.c and bench_load_options.c ---- */

enum load_mode { MODE_ECHO, MODE_RATE, MODE_PUSH, MODE_SETUP, MODE_IDLE };
enum load_phase { PHASE_OPEN, PHASE_STAGE, PHASE_WARM, PHASE_MEASURE, PHASE_DRAIN, PHASE_END, PHASE_DONE };
enum { LOAD_PIDS = 64, LOAD_STAGES = 16, LOAD_ENDING = 64 };

struct load {
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
    char *sessions; /* idle ones first; see bench_load_session */
    unsigned total, opened, ready, goal, stage, ending, next_end;
    uint64_t push_total, said;
    uint64_t phase_since, window_us, started;
    /* account */
    struct bench_hist hist;
    uint64_t ops, requests, connects, resumed, overrun, foreign, damaged, errors;
    uint64_t cpu_us[LOAD_PIDS], own_us; /* over the window: of each process, of this one */
    char first_error[512];
    ev_timer tick, pace;
    ev_io input;
};

extern struct load load;

struct bench_session *bench_load_session(unsigned i);

/** Fills the state from the command line; ends the program when it makes no sense. */
void bench_load_options(int argc, char **argv, const struct bench_kind *kind);

/** Prints the account. Returns the exit status: 0 when nothing is wrong with it. */
int bench_load_report(void);

#endif
