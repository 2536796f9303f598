/* The first bytes of a connection, over real sockets: PROXY headers; and host-meta. */
#include "http_first_rig.h"

#include "common/proxy_header.h"

/* ---- PROXY headers ---- */

static void
send_header(struct client *c, int version, const char *source, bool local, bool secure)
{
    struct proxy_header header = {.source_port = 4711, .destination_port = 80, .local = local, .secure = secure};
    struct buf b;

    snprintf(header.source, sizeof header.source, "%s", source);
    snprintf(header.destination, sizeof header.destination, "%s", strchr(source, ':') ? "2001:db8::9" : "192.0.2.9");
    buf_init(&b, 0);
    assert_int_equal(proxy_header_put(&b, version, &header), 0);
    for (size_t i = 0; i < b.len; i++) { /* in two pieces, the cut is anywhere */
        if (i == b.len / 2) {
            rig_idle(&rig, 0.002);
        }
        assert_int_equal(send(c->io.fd, buf_head(&b) + i, 1, MSG_NOSIGNAL), 1);
    }
    buf_free(&b);
}

static void
expect_client(struct client *c, const char *address, int port, bool secure)
{
    client_post(c, "x");
    client_expect(c, 200, "x");
    assert_string_equal(rig.last_address, address);
    assert_int_equal(rig.last_port, port);
    assert_int_equal(rig.last_secure, secure);
}

static void
test_a_proxy_header_tells_the_client(void **state)
{
    (void)state;
    begin_behind_a_proxy(true);
    for (int version = 1; version <= 2; version++) {
        struct client *c = client_new(&rig);

        send_header(c, version, "192.0.2.7", false, false);
        expect_client(c, "192.0.2.7", 4711, false);
        /* the client's own words are not believed */
        client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
                       "Content-Length: 1\r\n\r\nz");
        client_expect(c, 200, "z");
        assert_string_equal(rig.last_address, "192.0.2.7");
        assert_false(rig.last_secure);
        client_free(&c);
        c = client_new(&rig);
        send_header(c, version, "2001:db8::7", false, true);
        expect_client(c, "2001:db8::7", 4711, version == 2);
        client_free(&c);
        /* a check of the proxy's own: it is the client, and its headers count */
        c = client_new(&rig);
        send_header(c, version, "192.0.2.7", true, false);
        client_send(
            c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.8\r\nContent-Length: 1\r\n\r\nz");
        client_expect(c, 200, "z");
        assert_string_equal(rig.last_address, "192.0.2.8");
        client_free(&c);
    }
}

static void
test_a_chain_of_proxies(void **state)
{
    struct client *c;

    (void)state;
    begin_behind_a_proxy(true);
    c = client_new(&rig);
    send_header(c, 2, "127.9.9.9", false, false); /* a trusted proxy too */
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.8\r\nContent-Length: 1\r\n\r\nz");
    client_expect(c, 200, "z");
    assert_string_equal(rig.last_address, "192.0.2.8");
    client_free(&c);
}

static void
test_a_proxy_header_of_anybody_is_not_believed(void **state)
{
    struct client *c;

    (void)state;
    begin_behind_a_proxy(false);
    for (int version = 1; version <= 2; version++) {
        c = client_new(&rig);
        send_header(c, version, "192.0.2.7", false, true);
        client_post(c, "x");
        client_expect(c, 200, "x");
        assert_string_equal(rig.last_address, "127.0.0.1");
        assert_true(rig.last_port != 4711);
        assert_false(rig.last_secure);
        client_free(&c);
    }
}

static void
test_an_upgrade_behind_a_proxy_header(void **state)
{
    struct client *c;

    (void)state;
    begin_behind_a_proxy(true);
    for (int version = 1; version <= 2; version++) {
        c = client_new(&rig);
        send_header(c, version, "2001:db8::7", false, version == 2);
        client_send(c, UPGRADE);
        expect_handed_over(c, UPGRADE);
        assert_string_equal(got.note.address, "2001:db8::7");
        assert_int_equal(got.note.port, 4711);
        assert_int_equal(got.note.secure, version == 2);
        assert_false(got.note.trusted);
        client_free(&c);
    }
}

static void
test_clients_behind_a_proxy_header_are_counted_one_by_one(void **state)
{
    struct client *c[4];
    static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.1"};

    (void)state;
    rig.conf.http.max_connections_per_address = 2;
    begin_behind_a_proxy(true);
    for (int i = 0; i < 4; i++) {
        c[i] = client_new(&rig);
        send_header(c[i], 1, addresses[i], false, false);
        client_post(c[i], "x");
        client_expect(c[i], i < 3 ? 200 : 503, i < 3 ? "x" : NULL);
    }
    client_free(&c[0]);
    WAIT(&rig, http_connections(rig.http) == 2);
    client_free(&c[3]);
    c[3] = client_new(&rig);
    send_header(c[3], 1, "192.0.2.1", false, false);
    expect_client(c[3], "192.0.2.1", 4711, false);
    for (int i = 1; i < 4; i++) {
        client_free(&c[i]);
    }
}

static void
test_a_missing_or_bad_proxy_header(void **state)
{
    static const char *const all[] = {"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", UPGRADE,
        "PROXY TCP4 1.2.3.4\r\nGET / HTTP/1.1\r\n", "\r\n\r\nX"};

    (void)state;
    begin_behind_a_proxy(true);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct client *c = client_new(&rig);

        client_send(c, all[i]);
        expect_refusal(c, 400, "begin with a PROXY protocol header");
    }
    assert_false(receive());
    assert_int_equal(rig.raised, 0);
}

/* ---- host-meta ---- */

static void
fetch(struct client *c, const char *text, int status, char *head, size_t head_size, char *body, size_t size)
{
    client_send(c, text);
    WAIT(&rig, strstr(c->in, "\r\n\r\n") && (client_has(c) || strncmp(text, "HEAD", 4) == 0));
    if (strncmp(text, "HEAD", 4) == 0) {
        snprintf(head, head_size, "%s", c->in);
        assert_int_equal(atoi(c->in + 9), status);
        c->len = 0;
        c->in[0] = '\0';
    } else {
        assert_int_equal(client_take(c, body, size, head, head_size), status);
    }
    assert_non_null(strstr(head, "\r\nAccess-Control-Allow-Origin: *\r\n"));
}

#define META "/.well-known/host-meta"

static void
test_xep0156_host_meta(void **state)
{
    struct client *c;
    char head[2000];
    char body[2000];

    (void)state;
    rig.origins[0] = (char *)(uintptr_t) "https://only.example";
    rig.conf.http.trusted_proxies = (struct conf_list){trusted, 1};
    begin();
    c = client_new(&rig);
    fetch(c, "GET " META " HTTP/1.1\r\nHost: c.example\r\nOrigin: https://a\r\nX-Forwarded-Proto: https\r\n\r\n", 200,
        head, sizeof head, body, sizeof body);
    assert_string_equal(body,
        "<?xml version='1.0' encoding='utf-8'?>\n"
        "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n"
        "  <Link rel=\"urn:xmpp:alt-connections:xbosh\" href=\"https://c.example/http-bind\"/>\n"
        "  <Link rel=\"urn:xmpp:alt-connections:websocket\" href=\"wss://c.example/xmpp-websocket\"/>\n"
        "</XRD>\n");
    assert_non_null(strstr(head, "\r\nContent-Type: application/xrd+xml"));
    assert_non_null(strstr(head, "\r\nCache-Control: no-store\r\n"));
    fetch(c, "GET " META ".json?x HTTP/1.1\r\nHost: c.example\r\nX-Forwarded-Proto: https\r\n\r\n", 200, head,
        sizeof head, body, sizeof body);
    assert_non_null(strstr(head, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(body, "\"https://c.example/http-bind\" },\n"));
    fetch(c, "HEAD " META ".json HTTP/1.1\r\nHost: x\r\n\r\n", 200, head, sizeof head, NULL, 0);
    assert_non_null(strstr(head, "\r\nContent-Length: 18\r\n"));
    fetch(c, "GET " META ".json HTTP/1.1\r\nHost: c.example\r\n\r\n", 200, head, sizeof head, body, sizeof body);
    assert_string_equal(body, "{\n  \"links\": []\n}\n");
    fetch(c, "OPTIONS " META " HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Headers: x-a\r\n\r\n", 204, head,
        sizeof head, body, sizeof body);
    assert_non_null(strstr(head, "\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"));
    fetch(c, "DELETE " META " HTTP/1.1\r\nHost: x\r\n\r\n", 405, head, sizeof head, body, sizeof body);
    assert_non_null(strstr(head, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    client_free(&c);
}

static void
test_a_plain_get_of_the_websocket_path(void **state)
{
    struct client *c;
    char head[2000];
    char body[2000];

    (void)state;
    begin();
    c = client_new(&rig);
    fetch(c, "GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n\r\n", 426, head, sizeof head, body, sizeof body);
    assert_non_null(strstr(head, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(body, "proxy"));
    client_post(c, "next");
    client_expect(c, 200, "next");
    client_free(&c);
}

int
main(void)
{
#define ONE(f) cmocka_unit_test_setup_teardown(f, prepare, stop)
    const struct CMUnitTest tests[] = {
        ONE(test_a_proxy_header_tells_the_client),
        ONE(test_a_chain_of_proxies),
        ONE(test_a_proxy_header_of_anybody_is_not_believed),
        ONE(test_an_upgrade_behind_a_proxy_header),
        ONE(test_clients_behind_a_proxy_header_are_counted_one_by_one),
        ONE(test_a_missing_or_bad_proxy_header),
        ONE(test_xep0156_host_meta),
        ONE(test_a_plain_get_of_the_websocket_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
