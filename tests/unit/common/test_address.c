/* Addresses, networks, and what trusted proxies say. */
#include "common/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct address_net nets[4];
static const struct address_nets trusted = {nets, 4};

static int
setup(void **state)
{
    (void)state;
    return address_net(&nets[0], "127.0.0.1") || address_net(&nets[1], "::1") || address_net(&nets[2], "10.0.0.0/9") ||
           address_net(&nets[3], "2001:db8:1::/47");
}

static bool
inside(const char *text)
{
    struct address a;

    assert_true(address_parse(&a, text, strlen(text)));
    return address_within(&trusted, &a);
}

static void
test_networks(void **state)
{
    static const char *const bad[] = {"", "x", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/8x", "::/129",
        "/8", "1.2.3.4:80", "[::1]", "01.2.3.4 "};
    struct address_net n;
    struct address_nets all = {&n, 1};
    struct address a;

    (void)state;
    assert_true(inside("127.0.0.1"));
    assert_false(inside("127.0.0.2"));
    assert_true(inside("::ffff:127.0.0.1"));
    assert_true(inside("::1"));
    assert_false(inside("::2"));
    assert_true(inside("10.127.255.255"));
    assert_false(inside("10.128.0.0"));
    assert_true(inside("2001:db8:1::5"));
    assert_true(inside("2001:db8:0:ffff::"));
    assert_false(inside("2001:db8:2::"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (address_net(&n, bad[i]) == 0) {
            fail_msg("taken: %s", bad[i]);
        }
    }
    assert_int_equal(address_net(&n, "0.0.0.0/0"), 0);
    assert_true(address_parse(&a, "9.9.9.9", 7));
    assert_true(address_within(&all, &a));
    assert_true(address_parse(&a, "2001::", 6));
    assert_false(address_within(&all, &a));
    assert_int_equal(address_net(&n, "::/0"), 0);
    assert_true(address_within(&all, &a));
}

static void
test_texts(void **state)
{
    static const struct {
        const char *in, *out;
    } all[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1:8080", "192.0.2.1"},
        {"2001:DB8::1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:443", "2001:db8::1"},
        {"::ffff:192.0.2.9", "192.0.2.9"},
        {"::1", "::1"},
        {"", NULL},
        {"unknown", NULL},
        {"_hidden", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:123456", NULL},
        {"192.0.2.1:8x", NULL},
        {"192.0.2", NULL},
        {"[192.0.2.1", NULL},
        {"[::1]x", NULL},
        {"[::1]:", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct address a;
        char out[ADDRESS_TEXT];
        bool read = address_parse(&a, all[i].in, strlen(all[i].in));

        if (read != (all[i].out != NULL)) {
            fail_msg("%s: %d", all[i].in, read);
        }
        if (read) {
            address_print(&a, out);
            assert_string_equal(out, all[i].out);
        }
    }
}

static void
test_ipv6_is_counted_by_its_64(void **state)
{
    struct address a;
    struct address b;
    struct address x;
    struct address y;

    (void)state;
    assert_true(address_parse(&a, "2001:db8:1:2:3::4", 17));
    assert_true(address_parse(&b, "2001:db8:1:2:ffff::", 19));
    address_subscriber(&x, &a);
    address_subscriber(&y, &b);
    assert_memory_equal(&x, &y, sizeof x);
    assert_true(address_parse(&a, "192.0.2.1", 9));
    assert_true(address_parse(&b, "192.0.2.2", 9));
    address_subscriber(&x, &a);
    address_subscriber(&y, &b);
    assert_memory_not_equal(&x, &y, sizeof x);
}

/* The client by several headers, separated by | */
static const char *
client(void (*take)(struct address_route *, const char *, size_t), const char *headers, struct address_route *r)
{
    static char out[ADDRESS_TEXT];
    memset(r, 0, sizeof *r);
    r->trusted = &trusted;
    while (*headers != '\0') {
        size_t len = strcspn(headers, "|");

        char *one = malloc(len); /* of its exact size: what reads beyond is seen */

        memcpy(one, headers, len);
        take(r, one, len);
        free(one);
        headers += len + (headers[len] == '|');
    }
    if (!r->known) {
        return r->any ? "?" : "";
    }
    address_print(&r->client, out);
    return out;
}

static void
test_x_forwarded_for(void **state)
{
    struct address_route r;

    (void)state;
    assert_string_equal(client(address_forwarded_for, "192.0.2.1", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded_for, " 192.0.2.1 ,\t10.1.1.1", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded_for, "192.0.2.1|10.1.1.1", &r), "192.0.2.1");
    /* what the client invented stands left of what a proxy saw */
    assert_string_equal(client(address_forwarded_for, "1.1.1.1, 192.0.2.1, 10.1.1.1", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded_for, "1.1.1.1|192.0.2.1", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded_for, "garbage, 192.0.2.1", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded_for, "192.0.2.1, unknown", &r), "?");
    assert_string_equal(client(address_forwarded_for, "192.0.2.1, unknown, 10.1.1.1", &r), "?");
    /* only our own proxies: the outermost of them */
    assert_string_equal(client(address_forwarded_for, "10.1.1.1, 10.2.2.2", &r), "10.1.1.1");
    assert_string_equal(client(address_forwarded_for, "[2001:db8:9::1]:4711", &r), "2001:db8:9::1");
    assert_string_equal(client(address_forwarded_for, " , ,", &r), "");
}

static void
test_rfc7239_forwarded(void **state)
{
    struct address_route r;

    (void)state;
    assert_string_equal(client(address_forwarded, "for=192.0.2.1;proto=https", &r), "192.0.2.1");
    assert_true(r.stated && r.secure);
    assert_string_equal(client(address_forwarded, "proto=http; For=\"[2001:db8:9::1]:4711\"", &r), "2001:db8:9::1");
    assert_true(r.stated && !r.secure);
    assert_string_equal(
        client(address_forwarded, "for=192.0.2.1;proto=https, for=10.1.1.1;proto=http", &r), "192.0.2.1");
    assert_true(r.secure);
    assert_string_equal(
        client(address_forwarded, "for=1.1.1.1;proto=https, for=192.0.2.1;proto=http", &r), "192.0.2.1");
    assert_false(r.secure);
    assert_string_equal(client(address_forwarded, "for=192.0.2.1|for=10.1.1.1", &r), "192.0.2.1");
    assert_false(r.stated);
    assert_string_equal(client(address_forwarded, "by=\"a,b;for=6.6.6.6\";for=192.0.2.1;host=x", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded, "for=unknown", &r), "?");
    assert_string_equal(client(address_forwarded, "for=\"_x\\\"y\"", &r), "?");
    assert_string_equal(client(address_forwarded, "for=\"192.0.2.1", &r), "192.0.2.1");
    assert_string_equal(client(address_forwarded, "for", &r), "");
    assert_string_equal(client(address_forwarded, "for=", &r), "?");
    assert_string_equal(client(address_forwarded, "=;=,;,\"", &r), "");
    assert_string_equal(client(address_forwarded, "proto=https", &r), "");
}

static bool
says_https(const char *value)
{
    return address_proto(value, strlen(value));
}

static void
test_x_forwarded_proto(void **state)
{
    (void)state;
    assert_true(says_https("https"));
    assert_true(says_https(" HTTPS "));
    assert_true(says_https("wss"));
    assert_true(says_https("http, https"));
    assert_false(says_https("https, http"));
    assert_false(says_https("http"));
    assert_false(says_https(""));
    assert_false(says_https("https,"));
    assert_false(says_https("httpsx"));
}

static void
test_address_of_a_socket(void **state)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(4711)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(5)};
    struct sockaddr local = {.sa_family = AF_UNIX};
    char text[ADDRESS_TEXT];
    struct address a;
    uint16_t port = 1;

    (void)state;
    inet_pton(AF_INET, "192.0.2.7", &four.sin_addr);
    inet_pton(AF_INET6, "2001:db8::7", &six.sin6_addr);
    assert_true(address_of(&a, &port, (struct sockaddr *)&four));
    address_print(&a, text);
    assert_string_equal(text, "192.0.2.7");
    assert_int_equal(port, 4711);
    assert_true(address_of(&a, &port, (struct sockaddr *)&six));
    address_print(&a, text);
    assert_string_equal(text, "2001:db8::7");
    assert_int_equal(port, 5);
    assert_true(address_of(&a, NULL, (struct sockaddr *)&six));
    assert_false(address_of(&a, &port, &local));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_ipv6_is_counted_by_its_64),
        cmocka_unit_test(test_x_forwarded_for),
        cmocka_unit_test(test_rfc7239_forwarded),
        cmocka_unit_test(test_x_forwarded_proto),
        cmocka_unit_test(test_address_of_a_socket),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
