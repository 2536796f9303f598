#include "bench_load.h"
#include "bench_selfcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const load_mode_names[] = {"echo", "rate", "push", "setup", "idle"};

int
bench_load_report(void)
{
    uint64_t sent = 0, got = 0, doubled = 0, reordered = 0, cpu = 0;
    for (unsigned i = 0; i < load.total; i++) {
        struct bench_session *s = bench_load_session(i);
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
    printf("\"requests\": %llu, \"connects\": %llu, \"latency_ms\": {\"median\": %.3f, \"p99\": %.3f}, ",
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
    printf("\"resumed\": %llu, ", (unsigned long long)load.resumed);
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
    fprintf(stderr,
        "usage: %s [options] ADDRESS:PORT/PATH\n"
        "  --mode echo|rate|push|setup|idle  closed loop; open loop; server pushes; log in and out; only hold\n"
        "  --domain D        the 'to' of the sessions (bench.example)\n"
        "  --anonymous       SASL ANONYMOUS instead of PLAIN (users u0, u1, ...; password secret)\n"
        "  --sessions N      active sessions (100)\n"
        "  --idle N          idle sessions, opened before the others (0)\n"
        "  --stages A,B,..   stop after so many idle sessions, say so, wait for a line on stdin\n"
        "  --inflight N      messages under way for each session in echo mode (1)\n"
        "  --rate R          rate: messages a second in all; push: for each session\n"
        "  --parallel N      sessions opened at the same time (32)\n"
        "  --warmup S --seconds S --drain S --deadline S    (1, 5, 10, 300)\n"
        "  --sources N       spread over N source addresses 127.1.x.y (0: the system chooses)\n"
        "  --pids P,P,..     processes whose CPU time is measured over the window\n"
        "%s"
        "  --self-check      prove that the accounts can fail, then exit\n",
        load.common.kind->name, load.common.kind->options_help);
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

static bool
load_number_option(const char *name, const char *value)
{
    static const struct {
        const char *name;
        unsigned *value;
    } numbers[] = {{"sessions", &load.active}, {"idle", &load.idle}, {"inflight", &load.inflight},
        {"parallel", &load.parallel}, {"warmup", &load.warmup}, {"seconds", &load.seconds}, {"drain", &load.drain},
        {"deadline", &load.deadline}, {"sources", &load.target.sources}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i].name) != 0)
            continue;
        *numbers[i].value = (unsigned)strtoul(value, NULL, 10);
        return true;
    }
    return false;
}

/** Returns false when there is no such option; `value` is what follows it ("" at the end of the line). */
static bool
load_option(const char *name, char *value)
{
    unsigned pids[LOAD_PIDS];
    if (load_number_option(name, value))
        return true;
    if (strcmp(name, "mode") == 0)
        load_mode_option(value);
    else if (strcmp(name, "domain") == 0)
        load.common.domain = load.target.server_name = value;
    else if (strcmp(name, "rate") == 0)
        load.rate = strtod(value, NULL);
    else if (strcmp(name, "stages") == 0)
        load.nstages = load_numbers(value, load.stages, LOAD_STAGES);
    else if (strcmp(name, "pids") == 0) {
        load.npids = load_numbers(value, pids, LOAD_PIDS);
        for (unsigned i = 0; i < load.npids; i++)
            load.pids[i] = (pid_t)pids[i];
    } else {
        return load.common.kind->option(&load.common, name, value);
    }
    return true;
}

/** Options without a value. */
static bool
load_switch(const char *name)
{
    if (strcmp(name, "anonymous") == 0)
        load.common.anonymous = true;
    else if (strcmp(name, "tls") == 0 && load.common.kind->websocket)
        load.target.tls = true;
    else if (strcmp(name, "lenient") == 0 && load.common.kind->websocket)
        load.target.lenient = true;
    else if (strcmp(name, "resume") == 0 && load.common.kind->websocket)
        load.target.resume = true;
    else
        return false;
    return true;
}

static void
load_help(int status)
{
    load_usage();
    exit(status);
}

static void
load_where(char *where)
{
    char *slash = strchr(where, '/');
    if (slash == NULL)
        bench_die("not ADDRESS:PORT/PATH: %s", where);
    load.target.path = strdup(slash);
    *slash = '\0';
    load.target.host = where;
    if (!bench_parse_addr(where, &load.target.addr))
        bench_die("not ADDRESS:PORT/PATH: %s", where);
}

void
bench_load_options(int argc, char **argv, const struct bench_kind *kind)
{
    load.active = 100, load.inflight = 1, load.parallel = 32, load.warmup = 1, load.seconds = 5, load.drain = 10;
    load.deadline = 300, load.rate = 200;
    load.common = (struct bench_session_common){
        .kind = kind, .target = &load.target, .domain = "bench.example", .wait = 60, .per_body = BENCH_QUEUE};
    load.target.server_name = load.common.domain;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--self-check") == 0)
            exit(bench_selfcheck() + kind->selfcheck() != 0);
        if (strcmp(name, "--help") == 0)
            load_help(0);
        if (strncmp(name, "--", 2) != 0 && load.target.path == NULL)
            load_where(argv[i]);
        else if (strncmp(name, "--", 2) != 0 ||
                 (!load_switch(name + 2) && (i + 1 == argc || !load_option(name + 2, argv[++i]))))
            load_help(2);
    }
    if (load.target.path == NULL)
        load_help(2);
    if (load.mode == MODE_IDLE)
        load.active = 0;
    if (load.inflight > BENCH_QUEUE || (load.mode != MODE_IDLE && load.active == 0))
        bench_die("--inflight is at most %d, --sessions at least 1", BENCH_QUEUE);
}
