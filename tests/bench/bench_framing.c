#include "bench_framing.h"
#include "bench_scan.h"
#include "bench_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_FRAMING "urn:ietf:params:xml:ns:xmpp-framing"

struct bench_framing {
    struct bench_session s; /* first */
    struct bench_ws ws;
    bool opened;    /* the server's <open/> has come for this stream */
    uint64_t since; /* when we last said something in the log-in or at the end */
};

static struct bench_bytes bench_framing_text; /* the message under construction */

static void bench_framing_on_open(struct bench_ws *c);
static void bench_framing_on_text(struct bench_ws *c, const char *p, size_t len);
static void bench_framing_on_quiet(struct bench_ws *c);
static void bench_framing_on_end(struct bench_ws *c, const char *why);

static struct bench_framing *
bench_framing_of(struct bench_session *s)
{
    return (struct bench_framing *)(void *)s;
}

static void
bench_framing_init(struct bench_session *s)
{
    static const struct bench_ws_events events = {
        bench_framing_on_open, bench_framing_on_text, bench_framing_on_quiet, bench_framing_on_end};
    struct bench_framing *f = bench_framing_of(s);
    bench_ws_attach(&events);
    f->ws.target = s->common->target;
    f->ws.owner = f;
    f->ws.source = s->index;
}

static void
bench_framing_start(struct bench_session *s)
{
    struct bench_framing *f = bench_framing_of(s);
    f->since = bench_now_us();
    bench_ws_start(&f->ws);
}

static void
bench_framing_say(struct bench_session *s, const char *element)
{
    struct bench_framing *f = bench_framing_of(s);
    f->since = bench_now_us();
    bench_ws_say(&f->ws, element, strlen(element));
}

static void
bench_framing_open(struct bench_session *s)
{
    char text[320];
    bench_framing_of(s)->opened = false;
    snprintf(
        text, sizeof text, "<open xmlns='" NS_FRAMING "' to='%s' version='1.0' xml:lang='en'/>", s->common->domain);
    bench_framing_say(s, text);
}

static void
bench_framing_pump(struct bench_session *s)
{
    struct bench_framing *f = bench_framing_of(s);
    if (s->state != BENCH_READY)
        return;
    if (s->raw != NULL)
        bench_ws_say(&f->ws, s->raw, strlen(s->raw));
    free(s->raw);
    s->raw = NULL;
    while (s->queue_len > 0) {
        bench_framing_text.len = 0;
        bench_session_compose(s, &bench_framing_text);
        bench_ws_say(&f->ws, bench_framing_text.data, bench_framing_text.len);
    }
    bench_ws_flush(&f->ws);
}

static void
bench_framing_terminate(struct bench_session *s)
{
    bench_framing_pump(s);
    if (s->state != BENCH_READY)
        return;
    s->state = BENCH_ENDING;
    bench_framing_say(s, "<presence xmlns='jabber:client' type='unavailable'/>");
    bench_framing_say(s, "<close xmlns='" NS_FRAMING "'/>");
    bench_ws_flush(&bench_framing_of(s)->ws);
}

static void
bench_framing_hang_up(struct bench_session *s)
{
    bench_ws_abort(&bench_framing_of(s)->ws);
}

static bool
bench_framing_at_rest(const struct bench_session *s)
{
    const struct bench_framing *f = (const struct bench_framing *)(const void *)s;
    return s->state == BENCH_READY && f->ws.out.len == 0 && f->ws.in.len == 0;
}

static uint64_t
bench_framing_oldest(const struct bench_session *s)
{
    const struct bench_framing *f = (const struct bench_framing *)(const void *)s;
    return s->state == BENCH_NEW || s->state == BENCH_READY || s->state == BENCH_FAILED ? 0 : f->since;
}

static void
bench_framing_release(struct bench_session *s)
{
    bench_ws_free(&bench_framing_of(s)->ws);
}

/* ---- what comes ---- */

static bool
bench_framing_starts(const char *p, size_t len, const char *text)
{
    size_t n = strlen(text);
    return len > n && memcmp(p, text, n) == 0;
}

static void
bench_framing_on_open(struct bench_ws *c)
{
    struct bench_framing *f = c->owner;
    f->s.state = BENCH_FEATURES;
    bench_framing_open(&f->s);
}

/** The server's <open/>. Returns what is wrong with it, NULL when nothing is. */
static const char *
bench_framing_opened(struct bench_framing *f, const char *p, size_t len)
{
    char ns[64], from[256], id[256], version[8];
    bench_session_attr(p, len, "xmlns", ns, sizeof ns);
    bench_session_attr(p, len, "from", from, sizeof from);
    bench_session_attr(p, len, "id", id, sizeof id);
    bench_session_attr(p, len, "version", version, sizeof version);
    if (f->opened || (f->s.state != BENCH_FEATURES && f->s.state != BENCH_RESTART))
        return "an <open/> that nobody asked for";
    f->opened = true;
    if (strcmp(ns, NS_FRAMING) != 0 || strcmp(from, f->s.common->domain) != 0 || id[0] == '\0' ||
        strcmp(version, "1.0") != 0)
        return "an <open/> without the right xmlns, from, id or version";
    return NULL;
}

/** Is it one whole element that can be parsed on its own? */
static bool
bench_framing_whole(const char *p, size_t len)
{
    size_t used, n;
    if (bench_scan(p, len, &used) != BENCH_SCAN_ELEMENT || used != len)
        return false;
    return bench_scan_attr(p, len, bench_framing_starts(p, len, "<stream:") ? "xmlns:stream" : "xmlns", &n) != NULL;
}

static void
bench_framing_on_text(struct bench_ws *c, const char *p, size_t len)
{
    struct bench_framing *f = c->owner;
    char why[400];
    const char *wrong = NULL;
    if (!bench_framing_whole(p, len))
        wrong = "not one element of its own";
    else if (bench_framing_starts(p, len, "<open "))
        wrong = bench_framing_opened(f, p, len);
    else if (bench_framing_starts(p, len, "<close ") && f->s.state == BENCH_ENDING)
        bench_ws_close(c);
    else if (bench_framing_starts(p, len, "<close "))
        wrong = "a <close/> that nobody asked for";
    else if (bench_framing_starts(p, len, "<stream:error"))
        wrong = "a stream error";
    else if (!f->opened)
        wrong = "an element before <open/>";
    else
        bench_session_step(&f->s, p, len);
    if (wrong == NULL)
        return;
    snprintf(why, sizeof why, "%s: %.*s", wrong, (int)(len < 300 ? len : 300), p);
    bench_session_fail(&f->s, why);
}

static void
bench_framing_on_quiet(struct bench_ws *c)
{
    struct bench_framing *f = c->owner;
    bench_framing_pump(&f->s);
}

static void
bench_framing_on_end(struct bench_ws *c, const char *why)
{
    struct bench_framing *f = c->owner;
    if (why == NULL && f->s.state != BENCH_ENDING)
        why = "the server closed the WebSocket";
    if (why != NULL) {
        bench_session_fail(&f->s, why);
        return;
    }
    f->s.state = BENCH_NEW;
    f->s.common->events.ended(&f->s);
}

static bool
bench_framing_option(struct bench_session_common *common, const char *name, const char *value)
{
    (void)common, (void)name, (void)value;
    return false;
}

static int
bench_framing_selfcheck(void)
{
    int failed = bench_wire_selfcheck();
    static const char *const whole[] = {"<a xmlns='b'/>", "<a xmlns='b'><b>x</b></a>",
        "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>"};
    static const char *const broken[] = {"<a/>", "<a xmlns='b'/> ", " <a xmlns='b'/>", "<a xmlns='b'/><a xmlns='b'/>",
        "<a xmlns='b'>", "text", "", "<stream:features xmlns='b'/>"};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        failed += bench_check(bench_framing_whole(whole[i], strlen(whole[i])), whole[i], __FILE__, __LINE__);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        failed += bench_check(!bench_framing_whole(broken[i], strlen(broken[i])), broken[i], __FILE__, __LINE__);
    return failed;
}

const struct bench_kind bench_framing_kind = {
    .name = "ws_load",
    .size = sizeof(struct bench_framing),
    .patience = 0, /* the 60 s of `wait` are enough */
    .websocket = true,
    .options_help = "  --tls             wss\n"
                    "  --lenient         forgive a second close frame (ejabberd 23.01 sends one)\n"
                    "  --resume          TLS sessions are resumed with the ticket of the one before\n",
    .option = bench_framing_option,
    .init = bench_framing_init,
    .start = bench_framing_start,
    .say = bench_framing_say,
    .restart = bench_framing_open,
    .pump = bench_framing_pump,
    .terminate = bench_framing_terminate,
    .hang_up = bench_framing_hang_up,
    .at_rest = bench_framing_at_rest,
    .oldest = bench_framing_oldest,
    .release = bench_framing_release,
    .selfcheck = bench_framing_selfcheck,
};
