/* conf: the configuration, read from YAML by one table (conf_table.c).
 *
 * Every setting is declared once: path, type, default, minimum, maximum, one line of help. From that table come the
 * parser, `holdline -t` and the manual page. Errors are exact: `holdline.yaml:12:7: bosh.wiat: unknown key (did you
 * mean "wait"?)`.
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf_listen { /* http.listen[], websocket.listen[] */
    char *address;
    int port;
    bool tls;
    bool proxy_protocol;
};

struct conf_list { /* a list of strings */
    char **items;
    size_t count;
};

struct conf_certificate {
    char *certificate;
    char *key;
};

struct conf_link { /* discovery.links[] */
    char *rel;
    char *href;
};

enum conf_tls { CONF_TLS_STARTTLS, CONF_TLS_DIRECT, CONF_TLS_OPTIONAL, CONF_TLS_NONE };
enum conf_send_proxy { CONF_PROXY_OFF, CONF_PROXY_V1, CONF_PROXY_V2 };
enum conf_overactivity { CONF_OVERACTIVITY_ENFORCE, CONF_OVERACTIVITY_LOG };

struct conf_domain {          /* domains: <name>: {...} in the order of the file */
    char *name;               /* "example.com", "*.example.org" or "*"; A-labels in lower case */
    struct conf_list servers; /* "host:port", "[::1]:5222", "host" (5222, or 5223 with tls: direct); empty: DNS */
    enum conf_tls tls;
    bool gone; /* no longer served: host-gone */
    bool verify;
    char *ca_file; /* PEM; NULL: the system's trust store */
    enum conf_send_proxy send_proxy;
    bool keep_channel_binding;
};

struct conf {
    char *file; /* name for messages */
    char *user; /* workers run as this user when started as root */
    char *run_dir;

    struct {
        int bosh, bridge, connector; /* `auto` is one per core */
    } processes;

    struct {
        struct conf_listen *listen;
        size_t listen_count;
        struct conf_list trusted_proxies; /* addresses or CIDR */
        struct conf_list allowed_origins; /* patterns with * and ? */
        int header_timeout;               /* seconds for a whole request header */
        int body_timeout;                 /* seconds for a whole request body */
        int keepalive_timeout;            /* seconds an idle connection is kept */
        int header_size;                  /* bytes of memory for a connection and its header */
        int max_connections;
        int max_connections_per_address;
        bool gzip;
        int gzip_min; /* bytes of body below which nothing is compressed */
    } http;

    struct {
        char *path;
        int max_wait; /* seconds */
        int max_hold;
        int inactivity; /* seconds */
        int max_pause;  /* seconds */
        int polling;    /* seconds */
        int max_body;   /* bytes */
        int max_streams;
        int max_depth;     /* nesting of elements */
        int max_repeats;   /* of one rid */
        int features_wait; /* milliseconds the first answer waits for the stream's features */
        enum conf_overactivity overactivity;
        bool allow_route;
        char *see_other_uri; /* plain sessions are sent there; NULL: they are served */
        bool ack;            /* use acknowledgements (XEP-0124 9) when the client does */
    } bosh;

    struct {
        struct conf_listen *listen;
        size_t listen_count;
        char *path;
        struct conf_list allowed_hosts, allowed_origins;
        bool require_origin;
        int ping_interval; /* seconds */
        int max_message;   /* bytes */
        bool compression;
        char *see_other_uri; /* where clients go at shutdown; NULL: nowhere in particular */
    } websocket;

    struct { /* host-meta (RFC 6415, XEP-0156) */
        bool enabled;
        char *bosh;      /* URL; NULL: derived from the request */
        char *websocket; /* URL; NULL: derived from the request */
        struct conf_link *links;
        size_t link_count;
        bool insecure; /* http and ws too */
    } discovery;

    struct {
        struct conf_certificate *certificates;
        size_t certificate_count;
        char *priorities; /* gnutls priority string; NULL: our default */
    } tls;

    struct conf_domain *domains;
    size_t domain_count;

    struct {
        int connect_timeout;        /* seconds for one connection attempt */
        int dns_timeout;            /* seconds for a whole look-up */
        int open_timeout;           /* seconds from OPEN to the stream's features, everything included */
        int stall_timeout;          /* seconds that an upstream may refuse to read */
        int max_element;            /* bytes of one element from a server */
        struct conf_list resolvers; /* "ip" or "ip:port"; empty: /etc/resolv.conf */
    } upstream;

    struct {
        int sessions;
        int sessions_per_address; /* IPv6 counted by /64 */
        int new_sessions_per_second;
    } limits;

    struct {
        char *address;
        int port; /* 0: no status endpoint */
    } status;

    struct {
        int level;  /* enum log_level */
        int to;     /* enum log_target */
        int format; /* enum log_format */
    } log;

    int shutdown_timeout; /* seconds that an orderly end may take */
};

/** A message of the parser: one line, "file:line:col: path: text". */
struct conf_errors {
    char *text; /* all messages, each with its newline; owned; NULL when there are none */
    size_t len;
    int count;
};

/** Parses and checks a whole file's text. `file` is its name in messages. On success returns the configuration
 * (conf_free()); otherwise NULL, and errors->text says why (up to 20 messages). Never half a configuration. */
struct conf *conf_parse(const char *file, const char *text, size_t len, struct conf_errors *errors);
/** Reads a file (at most 1 MiB) and parses it. A file that cannot be read gives one message. */
struct conf *conf_load(const char *file, struct conf_errors *errors);
/** The same, and checks that every file that it names (certificates, keys, ca_file) can be read: for `-t` and the
 * start. */
struct conf *conf_load_for_start(const char *file, struct conf_errors *errors);
/** Reads a whole file descriptor from its start and parses it. */
struct conf *conf_load_fd(const char *file, int fd, struct conf_errors *errors);
void conf_errors_free(struct conf_errors *errors);
void conf_free(struct conf **c);

/** The route of a domain (lower case A-labels): exact name, else the longest matching `*.` pattern, else `"*"`, else
 * NULL (closed by default). `*.example.org` matches any number of labels, not example.org itself. */
const struct conf_domain *conf_route(const struct conf *c, const char *domain);

/** Whether a domain is served: 0, -FAIL_HOST_UNKNOWN, or -FAIL_HOST_GONE (XEP-0124 17.2). */
int conf_serves(const struct conf *c, const char *domain);

/** Writes the configuration in force as YAML with every default filled in (`-t`), no secrets. */
void conf_print(const struct conf *c, FILE *out);
/** Writes the manual page's list of settings (mdoc/man macros) from the table. */
void conf_print_manual(FILE *out);

#endif
