#include "conf_table.h"

#include "conf.h"
#include "conf_value.h"
#include "link_proto.h"
#include "log.h"

#define AT(member) offsetof(struct conf, member)
#define NUMBER(name, where, preset, least, most, units, text)                                                          \
    {                                                                                                                  \
        .key = name, .type = CONF_INT, .offset = where, .fallback = preset, .min = least, .max = most, .unit = units,  \
        .help = text                                                                                                   \
    }
#define SWITCH(name, where, preset, text)                                                                              \
    {                                                                                                                  \
        .key = name, .type = CONF_BOOL, .offset = where, .fallback = preset, .help = text                              \
    }
#define STRING(name, where, preset, checked, text)                                                                     \
    {                                                                                                                  \
        .key = name, .type = CONF_STRING, .offset = where, .fallback = preset, .check = checked, .help = text          \
    }
#define STRINGS(name, where, preset, checked, text)                                                                    \
    {                                                                                                                  \
        .key = name, .type = CONF_STRINGS, .offset = where, .fallback = preset, .check = checked, .help = text         \
    }
#define WORD(name, where, preset, list, text)                                                                          \
    {                                                                                                                  \
        .key = name, .type = CONF_WORD, .offset = where, .fallback = preset, .words = list, .help = text               \
    }
#define SECTION(name, items, text)                                                                                     \
    {                                                                                                                  \
        .key = name, .type = CONF_SECTION, .fields = items, .help = text                                               \
    }
#define END                                                                                                            \
    {                                                                                                                  \
        .key = NULL                                                                                                    \
    }

static const struct conf_word tls_words[] = {{"starttls", CONF_TLS_STARTTLS}, {"direct", CONF_TLS_DIRECT},
    {"optional", CONF_TLS_OPTIONAL}, {"none", CONF_TLS_NONE}, {NULL, 0}};
static const struct conf_word proxy_words[] = {
    {"off", CONF_PROXY_OFF}, {"v1", CONF_PROXY_V1}, {"v2", CONF_PROXY_V2}, {NULL, 0}};
static const struct conf_word binding_words[] = {{"strip", false}, {"keep", true}, {NULL, 0}};
static const struct conf_word overactivity_words[] = {
    {"enforce", CONF_OVERACTIVITY_ENFORCE}, {"log", CONF_OVERACTIVITY_LOG}, {NULL, 0}};
static const struct conf_word level_words[] = {{"emerg", LOG_LVL_EMERG}, {"alert", LOG_LVL_ALERT},
    {"crit", LOG_LVL_CRIT}, {"error", LOG_LVL_ERROR}, {"warning", LOG_LVL_WARNING}, {"notice", LOG_LVL_NOTICE},
    {"info", LOG_LVL_INFO}, {"debug", LOG_LVL_DEBUG}, {NULL, 0}};
static const struct conf_word target_words[] = {{"stderr", LOG_TO_STDERR}, {"syslog", LOG_TO_SYSLOG}, {NULL, 0}};
static const struct conf_word format_words[] = {{"text", LOG_FORMAT_TEXT}, {"json", LOG_FORMAT_JSON}, {NULL, 0}};

static const struct conf_item process_items[] = {
    {.key = "bosh",
        .type = CONF_COUNT,
        .offset = AT(processes.bosh),
        .fallback = "1",
        .min = 1,
        .max = 1,
        .above = "sessions live in one web process; more than one is not supported yet",
        .help = "Processes that serve BOSH. Sessions live in one web process, so this is 1 for now."},
    {.key = "bridge",
        .type = CONF_COUNT,
        .offset = AT(processes.bridge),
        .fallback = "1",
        .min = 0,
        .max = 16,
        .help = "Processes that serve WebSocket; 0: it is not served, on no port."},
    {.key = "connector",
        .type = CONF_COUNT,
        .offset = AT(processes.connector),
        .fallback = "1",
        .min = 1,
        .max = 16,
        .help = "Processes that talk to XMPP servers."},
    END,
};

static const struct conf_item listen_items[] = {
    STRING("address", offsetof(struct conf_listen, address), "\"::\"", conf_value_address,
        "IP address to listen on; \"::\" is all, IPv4 included."),
    {.key = "port",
        .type = CONF_INT,
        .offset = offsetof(struct conf_listen, port),
        .min = 1,
        .max = 65535,
        .missing = "a port is needed, such as `port: 5280`",
        .help = "TCP port."},
    SWITCH("tls", offsetof(struct conf_listen, tls), "false", "Speak TLS here (needs tls.certificates)."),
    SWITCH("proxy_protocol", offsetof(struct conf_listen, proxy_protocol), "false",
        "Connections begin with a PROXY protocol header; believed from trusted_proxies only."),
    END,
};

static const struct conf_item http_items[] = {
    {.key = "listen",
        .type = CONF_LIST,
        .offset = AT(http.listen),
        .count_offset = AT(http.listen_count),
        .size = sizeof(struct conf_listen),
        .fallback = "[ { address: \"::\", port: 5280 } ]",
        .max = 64,
        .fields = listen_items,
        .help = "Where BOSH is served."},
    STRINGS("trusted_proxies", AT(http.trusted_proxies), "[ 127.0.0.1, \"::1\" ]", conf_value_network,
        "Addresses or networks whose X-Forwarded-For, Forwarded and PROXY protocol are believed."),
    STRINGS("allowed_origins", AT(http.allowed_origins), "[ \"*\" ]", conf_value_not_empty,
        "Web origins that may use BOSH from a browser (CORS); patterns with * and ?."),
    NUMBER("header_timeout", AT(http.header_timeout), "10", 1, 300, "seconds", "Time for a whole request header."),
    NUMBER("body_timeout", AT(http.body_timeout), "30", 1, 600, "seconds", "Time for a whole request body."),
    NUMBER("keepalive_timeout", AT(http.keepalive_timeout), "75", 1, 3600, "seconds",
        "How long a connection without a request is kept."),
    NUMBER("header_size", AT(http.header_size), "8192", 2048, 65536, "bytes",
        "Memory of a connection; a request header must fit in it."),
    NUMBER(
        "max_connections", AT(http.max_connections), "20000", 1, 1000000, NULL, "HTTP connections open at one time."),
    NUMBER("max_connections_per_address", AT(http.max_connections_per_address), "1000", 1, 1000000, NULL,
        "HTTP connections open at one time from one address (trusted proxies aside)."),
    SWITCH("gzip", AT(http.gzip), "true", "Compress answers for clients that ask for it."),
    NUMBER("gzip_min", AT(http.gzip_min), "512", 0, 1048576, "bytes", "Answers smaller than this are not compressed."),
    END,
};

static const struct conf_item bosh_items[] = {
    STRING("path", AT(bosh.path), "/http-bind", conf_value_url_path, "Path of the BOSH URL."),
    NUMBER("max_wait", AT(bosh.max_wait), "60", 1, 3600, "seconds", "Longest time that a request is held."),
    NUMBER("max_hold", AT(bosh.max_hold), "2", 1, 10, NULL, "Most requests held at one time in a session."),
    NUMBER("inactivity", AT(bosh.inactivity), "90", 1, 86400, "seconds",
        "A session without a request for so long ends; throttled browser tabs wake once a minute."),
    NUMBER("max_pause", AT(bosh.max_pause), "120", 0, 86400, "seconds", "Longest pause that a client may ask for."),
    NUMBER("polling", AT(bosh.polling), "5", 0, 3600, "seconds", "Shortest time between two polls."),
    NUMBER("max_body", AT(bosh.max_body), "262144", 1024, LINK_MAX_ELEMENT, "bytes", "Largest request body."),
    NUMBER("max_streams", AT(bosh.max_streams), "4", 1, 16, NULL, "Most streams in one session."),
    NUMBER("max_depth", AT(bosh.max_depth), "256", 8, 10000, NULL, "Deepest nesting of elements."),
    NUMBER("max_repeats", AT(bosh.max_repeats), "20", 1, 1000, NULL, "How often one request may be repeated."),
    NUMBER("features_wait", AT(bosh.features_wait), "1000", 0, 30000, "milliseconds",
        "How long the first answer waits for the stream's features."),
    WORD("overactivity", AT(bosh.overactivity), "enforce", overactivity_words,
        "What happens to clients that make more requests at one time than allowed: enforce ends the session."),
    STRING("see_other_uri", AT(bosh.see_other_uri), NULL, conf_value_not_empty,
        "URI that clients are sent to when they ask for a session in plain HTTP (XEP-0124 17.2); none: they are "
        "served."),
    SWITCH("allow_route", AT(bosh.allow_route), "false", "Let clients choose the server with a route attribute."),
    SWITCH("ack", AT(bosh.ack), "true", "Use acknowledgements when the client does."),
    END,
};

static const struct conf_item websocket_items[] = {
    {.key = "listen",
        .type = CONF_LIST,
        .offset = AT(websocket.listen),
        .count_offset = AT(websocket.listen_count),
        .size = sizeof(struct conf_listen),
        .max = 64,
        .fields = listen_items,
        .help = "Where WebSocket is served. The plain listeners of http.listen serve it too."},
    STRING("path", AT(websocket.path), "/xmpp-websocket", conf_value_url_path, "Path of the WebSocket URL."),
    STRINGS("allowed_hosts", AT(websocket.allowed_hosts), NULL, conf_value_not_empty,
        "Values of the Host header that are served; empty: any."),
    STRINGS("allowed_origins", AT(websocket.allowed_origins), "[ \"*\" ]", conf_value_not_empty,
        "Web origins that are served; patterns with * and ?."),
    SWITCH("require_origin", AT(websocket.require_origin), "false",
        "Refuse clients without an Origin header (those that are not browsers)."),
    NUMBER("ping_interval", AT(websocket.ping_interval), "25", 0, 3600, "seconds",
        "Time between pings to a silent client; 0: none. Common proxies cut after 60."),
    NUMBER("max_message", AT(websocket.max_message), "262144", 1024, LINK_MAX_ELEMENT, "bytes", "Largest message."),
    SWITCH("compression", AT(websocket.compression), "off",
        "Compress messages for clients that offer permessage-deflate; costs CPU, saves about a quarter of the bytes."),
    STRING("see_other_uri", AT(websocket.see_other_uri), NULL, conf_value_not_empty,
        "WebSocket URI that clients are sent to when Holdline is being shut down (RFC 7395 3.6.1)."),
    END,
};

static const struct conf_item link_items[] = {
    {.key = "rel",
        .type = CONF_STRING,
        .offset = offsetof(struct conf_link, rel),
        .check = conf_value_rel,
        .missing = "a relation is needed, such as `rel: \"urn:xmpp:alt-connections:xbosh\"`",
        .help = "What the link is."},
    {.key = "href",
        .type = CONF_STRING,
        .offset = offsetof(struct conf_link, href),
        .check = conf_value_url,
        .missing = "a URL is needed, such as `href: \"https://b.example.com/http-bind\"`",
        .help = "Where it leads."},
    END,
};

static const struct conf_item discovery_items[] = {
    SWITCH("enabled", AT(discovery.enabled), "true",
        "Serve /.well-known/host-meta and host-meta.json (XEP-0156) where BOSH is served."),
    STRING("bosh", AT(discovery.bosh), NULL, conf_value_url,
        "URL of BOSH as clients reach it; absent: from the Host header, if an https address follows from it."),
    STRING("websocket", AT(discovery.websocket), NULL, conf_value_url,
        "URL of WebSocket as clients reach it; absent: from the Host header, if a wss address follows from it."),
    {.key = "links",
        .type = CONF_LIST,
        .offset = AT(discovery.links),
        .count_offset = AT(discovery.link_count),
        .size = sizeof(struct conf_link),
        .max = 32,
        .fields = link_items,
        .help = "More links, written behind those two in this order."},
    SWITCH("insecure", AT(discovery.insecure), "false",
        "Tell http and ws addresses too, which XEP-0156 forbids: for demonstrations."),
    END,
};

static const struct conf_item certificate_items[] = {
    {.key = "certificate",
        .type = CONF_STRING,
        .offset = offsetof(struct conf_certificate, certificate),
        .check = conf_value_file,
        .missing = "a file is needed, such as `certificate: /etc/holdline/tls/fullchain.pem`",
        .help = "PEM file of the certificate, followed by its intermediates."},
    {.key = "key",
        .type = CONF_STRING,
        .offset = offsetof(struct conf_certificate, key),
        .check = conf_value_file,
        .missing = "a file is needed, such as `key: /etc/holdline/tls/privkey.pem`",
        .help = "PEM file of the private key."},
    END,
};

static const struct conf_item tls_items[] = {
    {.key = "certificates",
        .type = CONF_LIST,
        .offset = AT(tls.certificates),
        .count_offset = AT(tls.certificate_count),
        .size = sizeof(struct conf_certificate),
        .max = 256,
        .fields = certificate_items,
        .help = "Certificates of the listeners with tls; of several, the client's SNI chooses."},
    STRING("priorities", AT(tls.priorities), NULL, conf_value_not_empty,
        "GnuTLS priority string; absent: Holdline's own choice."),
    END,
};

static const struct conf_item domain_items[] = {
    STRINGS("servers", offsetof(struct conf_domain, servers), NULL, conf_value_server,
        "Servers, tried in order: host, host:port or \"[IPv6]:port\"; absent: SRV records, then A and AAAA."),
    WORD("tls", offsetof(struct conf_domain, tls), "starttls", tls_words,
        "starttls: required; direct: TLS from the first byte; optional: STARTTLS if offered; none: plain."),
    SWITCH(
        "verify", offsetof(struct conf_domain, verify), "true", "Verify the server's certificate against the domain."),
    SWITCH("gone", offsetof(struct conf_domain, gone), "false", "No longer served: clients are told host-gone."),
    STRING("ca_file", offsetof(struct conf_domain, ca_file), NULL, conf_value_file,
        "PEM file of the issuers to trust; absent: the system's."),
    WORD("send_proxy", offsetof(struct conf_domain, send_proxy), "off", proxy_words,
        "Begin connections with a PROXY protocol header. Not supported by this version: leave it off."),
    {.key = "channel_binding",
        .type = CONF_WORD,
        .offset = offsetof(struct conf_domain, keep_channel_binding),
        .fallback = "strip",
        .words = binding_words,
        .is_bool = true,
        .help = "strip: hide the server's channel-binding offers, which cannot hold through a connection manager."},
    END,
};

static const struct conf_item upstream_items[] = {
    NUMBER("connect_timeout", AT(upstream.connect_timeout), "5", 1, 120, "seconds", "Time for one connection attempt."),
    NUMBER("dns_timeout", AT(upstream.dns_timeout), "5", 1, 60, "seconds", "Time for all DNS queries of a domain."),
    NUMBER("open_timeout", AT(upstream.open_timeout), "15", 1, 300, "seconds",
        "Time from a client's request to the server's stream features, everything included."),
    NUMBER(
        "stall_timeout", AT(upstream.stall_timeout), "60", 1, 3600, "seconds", "How long a server may refuse to read."),
    NUMBER("max_element", AT(upstream.max_element), "262144", 1024, LINK_MAX_ELEMENT, "bytes",
        "Largest element from a server."),
    STRINGS("resolvers", AT(upstream.resolvers), NULL, conf_value_resolver,
        "DNS servers, address or address:port; empty: those of /etc/resolv.conf."),
    END,
};

static const struct conf_item limit_items[] = {
    NUMBER("sessions", AT(limits.sessions), "100000", 1, 10000000, NULL, "Sessions at one time."),
    NUMBER("sessions_per_address", AT(limits.sessions_per_address), "100", 1, 10000000, NULL,
        "Sessions at one time from one address (IPv6: one /64)."),
    NUMBER("new_sessions_per_second", AT(limits.new_sessions_per_second), "500", 1, 1000000, NULL,
        "Sessions created in a second."),
    END,
};

static const struct conf_item status_items[] = {
    STRING("address", AT(status.address), "127.0.0.1", conf_value_address, "IP address of the status endpoint."),
    NUMBER("port", AT(status.port), "5290", 0, 65535, NULL, "TCP port of the status endpoint; 0: none."),
    END,
};

static const struct conf_item log_items[] = {
    {.key = "level",
        .type = CONF_LEVEL,
        .offset = AT(log.level),
        .fallback = "info",
        .words = level_words,
        .help = "Least important lines that are written: emerg, alert, crit, error, warning, notice, info or debug. "
                "LOG_DEBUG and the like are understood."},
    WORD("to", AT(log.to), "stderr", target_words, "Where lines go."),
    WORD("format", AT(log.format), "text", format_words, "How lines look; json: one object per line."),
    END,
};

const struct conf_item conf_table[] = {
    STRING("user", AT(user), "holdline", conf_value_user, "User that the workers run as when started as root."),
    STRING("run_dir", AT(run_dir), "/run/holdline", conf_value_run_dir, "Directory of the processes' own sockets."),
    NUMBER("shutdown_timeout", AT(shutdown_timeout), "10", 1, 600, "seconds", "Time that an orderly end may take."),
    SECTION("processes", process_items, "Processes of each kind: a number, or auto (one per core)."),
    SECTION("http", http_items, "The web side of BOSH."),
    SECTION("bosh", bosh_items, "BOSH sessions (XEP-0124, XEP-0206)."),
    SECTION("websocket", websocket_items, "WebSocket (RFC 7395)."),
    SECTION("discovery", discovery_items, "How clients find the addresses of BOSH and WebSocket (XEP-0156)."),
    SECTION("tls", tls_items, "TLS towards clients."),
    {.key = "domains",
        .type = CONF_DOMAINS,
        .offset = AT(domains),
        .count_offset = AT(domain_count),
        .size = sizeof(struct conf_domain),
        .fields = domain_items,
        .missing = "no domain is configured: add `domains: { example.com: {} }`",
        .help =
            "The XMPP domains that clients may reach: a name, \"*.name\" for all below it, or \"*\" for all others. "
            "What is not listed is refused (host-unknown)."},
    SECTION("upstream", upstream_items, "Connections to XMPP servers."),
    SECTION("limits", limit_items, "Bounds for all clients together and for each."),
    SECTION("status", status_items, "The status endpoint for operators (HTTP)."),
    SECTION("log", log_items, "The log."),
    END,
};
