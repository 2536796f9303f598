#include "conf_read.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is checked between settings. Each check passes over values that were not read: they have their message. */

enum { LISTENERS_MAX = 130 };

struct listener {
    char path[CONF_PATH_SIZE];
    unsigned char address[16];
    int port;
};

static void
add_listener(struct listener *list, size_t *n, const char *path, const char *address, int port)
{
    struct listener *l = &list[*n];

    if (!address || port == 0 || *n == LISTENERS_MAX) {
        return;
    }
    *l = (struct listener){.port = port};
    snprintf(l->path, sizeof l->path, "%s", path);
    if (inet_pton(AF_INET6, address, l->address) != 1) {
        l->address[10] = 0xff; /* as a v4-mapped address */
        l->address[11] = 0xff;
        inet_pton(AF_INET, address, l->address + 12);
    }
    (*n)++;
}

static void
add_listeners(struct listener *list, size_t *n, const char *path, const struct conf_listen *listen, size_t count)
{
    char element[CONF_PATH_SIZE];

    for (size_t i = 0; i < count; i++) {
        conf_path_index(element, path, i);
        add_listener(list, n, element, listen[i].address, listen[i].port);
    }
}

static void
report_twice(struct conf_report *r, const char *path, const char *other)
{
    struct conf_place first = conf_report_place(r, other);
    char where[60] = "by default";

    if (conf_report_stands(r, other)) {
        snprintf(where, sizeof where, "line %lu, column %lu", first.line, first.column);
    }
    conf_report_at(
        r, conf_report_place(r, path), path, "listens on the same address and port as %s (%s)", other, where);
}

static void
check_listeners(const struct conf *c, struct conf_report *r)
{
    struct listener list[LISTENERS_MAX];
    size_t n = 0;

    add_listeners(list, &n, "http.listen", c->http.listen, c->http.listen_count);
    add_listeners(list, &n, "websocket.listen", c->websocket.listen, c->websocket.listen_count);
    add_listener(list, &n, "status", c->status.address, c->status.port);
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (list[i].port == list[j].port && memcmp(list[i].address, list[j].address, 16) == 0) {
                report_twice(r, list[i].path, list[j].path);
                break;
            }
        }
    }
}

static void
check_tls(const struct conf *c, const char *path, const struct conf_listen *listen, size_t count, struct conf_report *r)
{
    char element[CONF_PATH_SIZE], full[CONF_PATH_SIZE];

    for (size_t i = 0; i < count && c->tls.certificate_count == 0; i++) {
        if (listen[i].tls) {
            conf_path_index(element, path, i);
            conf_path_key(full, element, "tls");
            conf_report_at(r, conf_report_place(r, full), full,
                "no certificate is configured: add "
                "`tls: { certificates: [ { certificate: FILE, key: FILE } ] }`");
        }
    }
}

static void
refuse(struct conf_report *r, const char *path, const char *what)
{
    conf_report_at(r, conf_report_place(r, path), path, "%s", what);
}

/* Settings that the schema knows already, but that this version cannot honour. */
static void
check_unsupported(const struct conf *c, struct conf_report *r)
{
    char element[CONF_PATH_SIZE], full[CONF_PATH_SIZE];

    if (c->websocket.listen_count != 0 && c->processes.bridge == 0) {
        refuse(r, "websocket.listen", "nobody would serve it: processes.bridge is 0");
    }
    for (size_t i = 0; i < c->domain_count; i++) {
        if (c->domains[i].send_proxy != CONF_PROXY_OFF) {
            conf_path_key(element, "domains", c->domains[i].name);
            conf_path_key(full, element, "send_proxy");
            refuse(r, full, "not supported by this version; leave it off");
        }
    }
}

static bool
begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* XEP-0156 2.2: https and wss only. What kind a link must be follows from its relation; NULL: either. */
static void
check_url(const struct conf *c, struct conf_report *r, const char *path, const char *url, const char *kind)
{
    bool web = url && (begins(url, "https:") || begins(url, "http:"));

    if (!url) {
        return;
    }
    if (kind && web != (strcmp(kind, "https") == 0)) {
        conf_report_at(
            r, conf_report_place(r, path), path, "must be a URL that begins with %s://, found \"%s\"", kind, url);
    } else if (!c->discovery.insecure && (begins(url, "http:") || begins(url, "ws:"))) {
        conf_report_at(r, conf_report_place(r, path), path,
            "must begin with https:// or wss://, found \"%s\" (discovery.insecure allows it)", url);
    }
}

static void
check_discovery(const struct conf *c, struct conf_report *r)
{
    char element[CONF_PATH_SIZE], full[CONF_PATH_SIZE];

    check_url(c, r, "discovery.bosh", c->discovery.bosh, "https");
    check_url(c, r, "discovery.websocket", c->discovery.websocket, "wss");
    for (size_t i = 0; i < c->discovery.link_count; i++) {
        const struct conf_link *l = &c->discovery.links[i];
        const char *rel = l->rel ? l->rel : "";

        conf_path_index(element, "discovery.links", i);
        conf_path_key(full, element, "href");
        check_url(c, r, full, l->href,
            strcmp(rel, "urn:xmpp:alt-connections:xbosh") == 0       ? "https"
            : strcmp(rel, "urn:xmpp:alt-connections:websocket") == 0 ? "wss"
                                                                     : NULL);
    }
}

void
conf_check(const struct conf *c, struct conf_report *r)
{
    check_listeners(c, r);
    check_tls(c, "http.listen", c->http.listen, c->http.listen_count, r);
    check_tls(c, "websocket.listen", c->websocket.listen, c->websocket.listen_count, r);
    check_discovery(c, r);
    check_unsupported(c, r);
}

static void
check_file(struct conf_report *r, const char *element, const char *key, const char *file)
{
    char full[CONF_PATH_SIZE];
    int fd = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd >= 0) {
        close(fd);
    } else if (file) {
        int error = errno;

        conf_path_key(full, element, key);
        conf_report_at(r, conf_report_place(r, full), full, "%s cannot be read: %s", file, strerror(error));
    }
}

void
conf_check_files(const struct conf *c, struct conf_report *r)
{
    char element[CONF_PATH_SIZE];

    for (size_t i = 0; i < c->tls.certificate_count; i++) {
        conf_path_index(element, "tls.certificates", i);
        check_file(r, element, "certificate", c->tls.certificates[i].certificate);
        check_file(r, element, "key", c->tls.certificates[i].key);
    }
    for (size_t i = 0; i < c->domain_count; i++) {
        conf_path_key(element, "domains", c->domains[i].name);
        check_file(r, element, "ca_file", c->domains[i].ca_file);
    }
}
