/* What of HTTP is decided from text: header lines, targets, lists of codings, patterns, what proxies say. The lines of
 * the input are fed in turn. */
#include "cm/bosh/http_rules.h"
#include "common/address.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
feed(struct http_head *head, char *line)
{
    char *colon = strchr(line, ':');
    const char *value = colon ? colon + 1 : "";

    http_rules_header(head, line, colon ? (size_t)(colon - line) : strlen(line), value, strlen(value));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    const char *const pattern[] = {text};
    const struct http_rules rules = {.path = "/http-bind", .origins = pattern, .origin_count = 1, .max_body = 1000};
    struct address_net net = {.bits = 96};
    struct address_nets nets = {&net, 1};
    struct address_route route = {.trusted = &nets};
    struct http_head head = {0};
    struct address a;
    char out[ADDRESS_TEXT];

    memcpy(text, data, size);
    text[size] = '\0';
    (void)address_net(&net, text);
    address_forwarded(&route, text, size);
    address_forwarded_for(&route, text, size);
    (void)address_proto(text, size);
    (void)http_rules_gzip(text);
    (void)http_rules_echo(text);
    if (address_parse(&a, text, size)) {
        address_print(&a, out);
        assert(address_parse(&route.client, out, strlen(out)));
        assert(memcmp(&a, &route.client, sizeof a) == 0);
    }
    if (size < 200) { /* whatever stars and question marks it holds, a pattern matches itself */
        assert(http_rules_origin(&rules, text));
    }
    for (char *line = strtok_r(text, "\n", &text); line; line = strtok_r(NULL, "\n", &text)) {
        feed(&head, line);
        (void)http_rules_decide(&rules, &head, "HTTP/1.1", "POST", line);
    }
    free((void *)(uintptr_t)pattern[0]);
    return 0;
}
