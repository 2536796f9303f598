/* The HTTP front behind its own TLS. */
#include "http_rig.h"

#include "common/tls.h"

#include <time.h>

static struct rig rig;
static char directory[] = "/tmp/holdline-http-tls-XXXXXX";
static char certificate[64];
static char key[64];
static struct conf_certificate pair = {certificate, key};
static struct tls_client *client_side;

struct tls_peer {
    struct client *c; /* its socket; the plain text goes to c->in */
    struct tls *tls;
    bool ready;
};

static int
make_certificate(void **state)
{
    char command[512];
    char error[256];

    (void)state;
    if (tls_setup() < 0 || !mkdtemp(directory)) {
        return -1;
    }
    snprintf(certificate, sizeof certificate, "%s/cert.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    snprintf(command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout %s -out %s 2>%s/log",
        key, certificate, directory);
    if (system(command) != 0) {
        return -1;
    }
    client_side = tls_client_new(false, NULL, NULL, error, sizeof error);
    return client_side ? 0 : -1;
}

static int
remove_certificate(void **state)
{
    char log[64];

    (void)state;
    snprintf(log, sizeof log, "%s/log", directory);
    unlink(log);
    unlink(certificate);
    unlink(key);
    tls_client_free(&client_side);
    return rmdir(directory);
}

static int
start(void **state)
{
    (void)state;
    rig_conf(&rig);
    rig.listen.tls = true;
    rig.conf.tls.certificates = &pair;
    rig.conf.tls.certificate_count = 1;
    rig_start(&rig);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static void
on_event(struct ev_loop *loop, ev_io *w, int revents)
{
    struct tls_peer *p = w->data;
    char piece[4096];
    ssize_t n;

    (void)revents;
    if (!p->ready) {
        int r = tls_handshake(p->tls);

        assert_true(r >= 0);
        p->ready = r == 1;
        return;
    }
    while ((n = tls_read(p->tls, piece, sizeof piece)) > 0) {
        p->c->in = realloc(p->c->in, p->c->len + (size_t)n + 1);
        memcpy(p->c->in + p->c->len, piece, (size_t)n);
        p->c->len += (size_t)n;
        p->c->in[p->c->len] = '\0';
    }
    if (n < 0) {
        p->c->eof = true;
        ev_io_stop(loop, w);
    }
}

static struct tls_peer *
peer_new(void)
{
    struct tls_peer *p = calloc(1, sizeof *p);

    p->c = client_new(&rig);
    fcntl(p->c->io.fd, F_SETFL, O_NONBLOCK);
    ev_io_stop(rig.loop, &p->c->io);
    ev_io_init(&p->c->io, on_event, p->c->io.fd, EV_READ);
    p->c->io.data = p;
    ev_io_start(rig.loop, &p->c->io);
    p->tls = tls_new_client(client_side, p->c->io.fd, "localhost", NULL);
    assert_non_null(p->tls);
    assert_int_equal(tls_handshake(p->tls), 0);
    WAIT(&rig, p->ready);
    return p;
}

static void
peer_free(struct tls_peer **peer)
{
    tls_free(&(*peer)->tls);
    client_free(&(*peer)->c);
    free(*peer);
    *peer = NULL;
}

static void
peer_post(struct tls_peer *p, const char *body, size_t len)
{
    char head[128];

    snprintf(head, sizeof head, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
    assert_int_equal(tls_write(p->tls, head, strlen(head)), (ssize_t)strlen(head));
    for (size_t i = 0; i < len;) {
        ssize_t n = tls_write(p->tls, body + i, len - i);

        assert_true(n >= 0);
        i += (size_t)n;
        ev_run(rig.loop, EVRUN_NOWAIT); /* the other side may have to read first */
    }
}

static void
test_keep_alive(void **state)
{
    struct tls_peer *p = peer_new();
    char *big = malloc(60000);

    (void)state;
    for (int i = 0; i < 5; i++) {
        peer_post(p, "<body/>", 7);
        client_expect(p->c, 200, "<body/>");
        assert_true(rig.last_secure);
    }
    /* a body of several records, and an answer of as many */
    rig.conf.http.gzip = false;
    memset(big, 'b', 60000);
    peer_post(p, big, 60000);
    WAIT(&rig, client_has(p->c) > 60000);
    assert_memory_equal(strstr(p->c->in, "\r\n\r\n") + 4, big, 60000);
    free(big);
    peer_free(&p);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
on_answer_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
    rig_answer(&rig, rig_take(&rig, 0), "<body/>");
}

static void
test_held_and_answered_from_a_timer(void **state)
{
    struct tls_peer *p = peer_new();
    ev_timer t;

    (void)state;
    rig.way = RIG_HOLD;
    for (int i = 0; i < 3; i++) {
        ev_tstamp begin = ev_time();

        peer_post(p, "x", 1);
        WAIT(&rig, rig.held_count == 1);
        ev_now_update(rig.loop);
        ev_timer_init(&t, on_answer_timer, 0.1, 0);
        ev_timer_start(rig.loop, &t);
        client_expect(p->c, 200, "<body/>");
        assert_true(ev_time() - begin < 0.5);
    }
    peer_free(&p);
}

static void
test_pipelined_in_one_record(void **state)
{
    static const char text[] = "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
                               "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n2";
    struct tls_peer *p = peer_new();

    (void)state;
    rig.way = RIG_HOLD;
    assert_int_equal(tls_write(p->tls, text, sizeof text - 1), sizeof text - 1);
    for (int i = 1; i <= 2; i++) {
        WAIT(&rig, rig.held_count == 1);
        rig_answer(&rig, rig_take(&rig, 0), i == 1 ? "one" : "two");
        client_expect(p->c, 200, i == 1 ? "one" : "two");
    }
    peer_free(&p);
}

static void
test_a_held_client_that_leaves_is_gone(void **state)
{
    struct tls_peer *p = peer_new();

    (void)state;
    rig.way = RIG_HOLD;
    peer_post(p, "x", 1);
    WAIT(&rig, rig.held_count == 1);
    peer_free(&p);
    WAIT(&rig, rig.gone == 1);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_plain_http_on_the_tls_port(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    client_post(c, "x");
    WAIT(&rig, c->eof);
    assert_int_equal(rig.raised, 0);
    client_free(&c);
    WAIT(&rig, http_connections(rig.http) == 0);
}

/* One that says nothing, and one that stops in its first record: their time is the header's, and waiting for them costs
 * nothing. */
static void
test_a_handshake_that_stops(void **state)
{
    struct client *silent;
    struct client *half;
    clock_t begin;

    (void)state;
    rig_stop(&rig);
    rig_conf(&rig);
    rig.listen.tls = true;
    rig.conf.tls.certificates = &pair;
    rig.conf.tls.certificate_count = 1;
    rig.conf.http.header_timeout = 1;
    rig_start(&rig);
    silent = client_new(&rig);
    half = client_new(&rig);
    client_send(half, "\x16\x03\x01\x02\x01\x01");
    begin = clock();
    WAIT(&rig, silent->eof && half->eof);
    assert_true(clock() - begin < CLOCKS_PER_SEC / 5);
    client_free(&silent);
    client_free(&half);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_the_certificate_is_checked_at_the_start(void **state)
{
    static const struct http_events events = {rig_on_request, rig_on_gone};
    char nowhere[] = "/nonexistent";
    struct conf_certificate bad = {nowhere, nowhere};
    struct conf conf = rig.conf;

    (void)state;
    conf.tls.certificates = &bad;
    assert_null(http_new(rig.loop, &conf, &rig.listen_fd, 1, &events, &rig));
    conf.tls.certificate_count = 0;
    assert_null(http_new(rig.loop, &conf, &rig.listen_fd, 1, &events, &rig));
}

int
main(void)
{
#define ONE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        ONE(test_keep_alive),
        ONE(test_held_and_answered_from_a_timer),
        ONE(test_pipelined_in_one_record),
        ONE(test_a_held_client_that_leaves_is_gone),
        ONE(test_plain_http_on_the_tls_port),
        ONE(test_a_handshake_that_stops),
        ONE(test_the_certificate_is_checked_at_the_start),
    };

    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
